//! Prints what is read from files of companies, so that other programs can compare it with what they read: `tests/formats`.
//!
//! Each line of standard input is a JSON object with a `file` and, where it is not to be read as usual, a `reading` as the `opened`
//! event has it. For each comes one line with the `file`, its `rows` in order, each with `index`, `company_id` and `record` or with
//! an `error`, and `refused`, the error that ended the file.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;

use rollcall_producer::companies::{Companies, Company};
use rollcall_shared::message::Reading;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Request {
    file: PathBuf,
    #[serde(default)]
    reading: Reading,
}

#[derive(Serialize)]
struct Told {
    file: PathBuf,
    rows: Vec<Row>,
    refused: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Company { index: u32, company_id: String, record: Box<RawValue> },
    Bad { error: String },
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lines() {
        let told = read(serde_json::from_str(&line?)?)?;
        serde_json::to_writer(&mut out, &told)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Fails where a record is no JSON.
fn read(Request { file, reading }: Request) -> Result<Told, Box<dyn Error>> {
    let mut told = Told { file, rows: Vec::new(), refused: None };
    let companies = match Companies::open(&told.file, &reading.into()) {
        Ok(companies) => companies,
        Err(error) => return Ok(Told { refused: Some(error.to_string()), ..told }),
    };
    for company in companies {
        match company {
            Ok(Company { index, company_id, record }) => {
                let record = RawValue::from_string(String::from_utf8(record)?)?;
                told.rows.push(Row::Company { index, company_id, record });
            }
            Err(error) if error.ends_file() => told.refused = Some(error.to_string()),
            Err(error) => told.rows.push(Row::Bad { error: error.to_string() }),
        }
    }
    Ok(told)
}
