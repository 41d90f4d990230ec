//! Networks that other programs wrote, compared with what those programs say that they contain. `tests/formats/run networks` writes them and
//! runs this test.

use std::collections::HashMap;
use std::env;
use std::fs;

use serde::Deserialize;

use super::super::*;

/// How far from 1 the sum of a distribution may be without being normalised.
const UNNORMALISED: f64 = 1e-5;

#[derive(Deserialize)]
struct Said {
    file: String,
    variables: Vec<SaidVariable>,
}

#[derive(Deserialize)]
struct SaidVariable {
    name: String,
    states: Vec<String>,
    parents: Vec<String>,
    /// Decimal text: one row for each configuration of the parents, the last of which changes fastest.
    probabilities: Vec<Vec<String>>,
}

/// Each number must be exactly the `f64` of its text, or that divided by the sum of its row if the sum is too far from 1.
#[test]
#[ignore = "it needs the networks that tests/formats/run writes"]
fn every_network_that_a_writer_wrote_is_read_back_to_the_last_digit() {
    let folder = env::var_os("ROLLCALL_NETWORKS").expect("ROLLCALL_NETWORKS names the folder of the networks");
    let (mut networks, mut numbers, mut faults) = (0, 0, Vec::new());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let said: Said = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        match compare(&Path::new(&folder).join(&said.file), &said.variables) {
            Ok(compared) => numbers += compared,
            Err(fault) => faults.push(format!("{}: {fault}", said.file)),
        }
        networks += 1;
    }
    println!("{networks} networks, {numbers} numbers, {} differences", faults.len());
    assert!(networks > 0 && faults.is_empty(), "{networks} networks, these differ:\n{}", faults.join("\n"));
}

/// The number of probabilities that are the same.
fn compare(path: &Path, said: &[SaidVariable]) -> Result<usize, String> {
    let bytes = file::read(path).map_err(|error| error.to_string())?;
    let network = Network::parse(&bytes).map_err(|ParseError { line, message }| format!("line {line}: {message}"))?;
    if network.variables.len() != said.len() {
        return Err(format!("{} variables, and the writer says {}", network.variables.len(), said.len()));
    }
    let states: HashMap<&str, &[String]> = said.iter().map(|variable| (&variable.name[..], &variable.states[..])).collect();
    let mut numbers = 0;
    for said in said {
        let index = network.index_of(&said.name).ok_or_else(|| format!("no variable {:?}", said.name))?;
        let read = &network.variables[index];
        let parents: Vec<&str> = read.parents.iter().map(|parent| &network.variables[parent.variable].name[..]).collect();
        if read.states != said.states || parents != said.parents {
            return Err(format!(
                "{:?} has {:?} and {parents:?}, the writer says {:?} and {:?}",
                said.name, read.states, said.states, said.parents
            ));
        }
        let rows = said.parents.iter().map(|parent| states[&parent[..]].len()).product::<usize>();
        let expected: Vec<f64> = said.probabilities.iter().flat_map(|row| distribution(row)).collect();
        if rows != said.probabilities.len() || *read.likelihoods != *expected {
            return Err(format!("{:?} has {:?}, the writer says {:?}", said.name, read.likelihoods, said.probabilities));
        }
        numbers += expected.len();
    }
    Ok(numbers)
}

fn distribution(row: &[String]) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|text| text.parse::<f64>().unwrap().clamp(0.0, 1.0)).collect();
    let sum: f64 = row.iter().sum();
    if (sum - 1.0).abs() <= UNNORMALISED { row } else { row.iter().map(|probability| probability / sum).collect() }
}
