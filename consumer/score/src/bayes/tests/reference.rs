//! Compares the sampler with a simple reference: one particle after another, one variable after another, with whole draws and whole tables.
//! Each version of the loops must give the same results to the last digit.

use proptest::prelude::*;

use super::super::network::resolve::Definition;
use super::super::rng::{Rng, STEP, full_draw};
use super::super::*;
use super::hostile_files::{distribution, print};

/// The probabilities of each unobserved variable's states, in the order of the network file; `None` if no particle has weight.
fn reference(network: &Network, evidence: &Evidence, seed: u64, particles: u32) -> Option<Vec<Vec<f64>>> {
    let mut sums: Vec<Vec<f64>> = network.variables.iter().map(|variable| vec![0.0; variable.states.len()]).collect();
    let mut total = 0.0;
    for (first, len) in blocks(particles) {
        let (states, likelihoods) = sample_block(network, evidence, seed, first, len);
        let largest = likelihoods.iter().copied().fold(0.0, f64::max);
        let told_apart = likelihoods.iter().any(|likelihood| *likelihood != 1.0) && largest > 0.0;
        // Gives the largest likelihood 32 bits before the point.
        let scale = if told_apart { (31.0 - largest.log2().floor()).exp2() } else { 1.0 };
        for (states, likelihood) in states.iter().zip(&likelihoods) {
            let weight = (likelihood * scale).floor() / scale;
            total += weight;
            states.iter().zip(&mut sums).for_each(|(&state, sums)| sums[usize::from(state)] += weight);
        }
    }
    (total > 0.0).then(|| {
        let unobserved = (0..sums.len()).filter(|&variable| evidence.state(variable).is_none());
        unobserved.map(|variable| sums[variable].iter().map(|sum| sum / total).collect()).collect()
    })
}

/// The state of each variable in each particle of a block, and the likelihood of the evidence in each.
fn sample_block(network: &Network, evidence: &Evidence, seed: u64, first: u32, len: usize) -> (Vec<Vec<u8>>, Vec<f64>) {
    let mut rng = Rng::new(seed, first);
    let mut states = vec![vec![0; network.variables.len()]; len];
    let mut likelihoods = vec![1.0; len];
    for &index in &network.order {
        let variable = &network.variables[index];
        let row = |states: &[u8]| variable.parents.iter().map(|parent| parent.row_offset(states[parent.variable])).sum::<u32>();
        let all_parents_observed = variable.parents.iter().all(|parent| evidence.state(parent.variable).is_some());
        if let Some(observed) = evidence.state(index) {
            for (states, likelihood) in states.iter_mut().zip(&mut likelihoods) {
                states[index] = observed;
                if !all_parents_observed {
                    *likelihood *= variable.likelihood(row(states), observed);
                }
            }
        } else if variable.states.len() > 1 {
            let high_bits = (0..len.div_ceil(STEP)).flat_map(|_| rng.step()).collect::<Vec<u16>>();
            for ((particle, states), high) in (first..).zip(&mut states).zip(high_bits) {
                let draw = full_draw(high, seed, index, particle);
                let thresholds = variable.thresholds(row(states));
                states[index] = thresholds.iter().map(|&threshold| u8::from(draw > threshold)).sum();
            }
        }
    }
    (states, likelihoods)
}

/// A network, its evidence, a seed and a number of particles.
fn cases() -> impl Strategy<Value = (Vec<Definition>, Vec<Option<u8>>, u64, u32)> {
    let states = prop::sample::select(vec![1_usize, 2, 3, 4, 4, 5, 6, 8, 11, 12, 13, 14, 40, 255]);
    let variable = (states, prop::collection::vec(0..12_usize, 0..4), any::<u64>(), any::<(bool, u8)>());
    let particles = prop_oneof![1..100_u32, Just(1000), Just(1024), 1000..3000_u32];
    (prop::collection::vec(variable, 1..12), any::<u64>(), particles).prop_map(|(drawn, seed, particles)| {
        let mut definitions: Vec<Definition> = Vec::new();
        let mut evidence = Vec::new();
        for (index, (count, mut parents, seed, (observed, state))) in drawn.into_iter().enumerate() {
            parents.retain(|&parent| parent < index);
            parents.sort_unstable();
            parents.dedup();
            let rows = |parents: &[usize]| parents.iter().map(|&parent| definitions[parent].states.len()).product::<usize>();
            // Three parents of 255 states each would take all of the machine's memory.
            while rows(&parents) * count > 100_000 {
                parents.pop();
            }
            let rows = rows(&parents);
            let probabilities = (0..rows).flat_map(|row| with_gaps(distribution(count, seed.wrapping_add(row as u64)))).collect();
            let states = (0..count).map(|state| format!("s{state}")).collect();
            definitions.push(Definition { name: format!("v{index}"), states, parents, probabilities, line: 0 });
            evidence.push(observed.then(|| state % u8::try_from(count).unwrap()));
        }
        (definitions, evidence, seed, particles)
    })
}

/// Removes the least probable state of about every other distribution.
fn with_gaps(mut distribution: Vec<f64>) -> Vec<f64> {
    let least = (0..distribution.len()).min_by(|&a, &b| distribution[a].total_cmp(&distribution[b])).unwrap();
    if distribution.len() > 1 && distribution[0] < 0.5 {
        distribution[least] = 0.0;
    }
    let sum: f64 = distribution.iter().sum();
    distribution.iter().map(|probability| probability / sum).collect()
}

fn record(definitions: &[Definition], evidence: &[Option<u8>], seed: u64) -> String {
    let observed = definitions
        .iter()
        .zip(evidence)
        .filter_map(|(definition, state)| Some(format!(r#""{}":"s{}""#, definition.name, (*state)?)));
    format!("{{{}}}", std::iter::once(format!(r#""seed":{seed}"#)).chain(observed).collect::<Vec<_>>().join(","))
}

fn check(network: &str, record: &str, particles: u32) {
    let settings = Settings { particles, distributions: true, timeout: Duration::MAX };
    for simd in SimdLevel::available() {
        let mut bayes = Bayes::parse(network.as_bytes(), settings).unwrap();
        bayes.sampler = Sampler::new(&bayes.model.network, simd);
        let predicted = bayes.predict(record.as_bytes(), &mut Deadline::after(Duration::MAX));
        if feasibility::contradiction(&bayes.model.network, &bayes.evidence).is_some() {
            continue;
        }
        let expected = reference(&bayes.model.network, &bayes.evidence, bayes.model.seed(record.as_bytes()), particles);
        let found = predicted.is_ok().then(|| {
            let unobserved = (0..bayes.model.network.variables.len()).filter(|&index| bayes.evidence.state(index).is_none());
            unobserved.map(|index| bayes.posterior.probabilities(index).collect::<Vec<_>>()).collect::<Vec<_>>()
        });
        assert_eq!(found, expected, "{simd:?}, {particles} particles of {record}");
    }
}

proptest! {
    #[test]
    fn every_loop_says_what_the_reference_says((definitions, evidence, seed, particles) in cases()) {
        check(&print(&definitions), &record(&definitions, &evidence, seed), particles);
    }
}

#[test]
fn on_the_questionnaire_too_every_loop_says_what_the_reference_says() {
    let loops: Vec<SimdLevel> = SimdLevel::available().collect();
    if loops.len() < 3 {
        super::skip(&format!("in part: this machine runs only the loops {loops:?}"));
    }
    let network = include_str!("../../../../../deploy/demo/questionnaire.bif");
    let facts = ["", r#""sector":"Energy","employees":"small""#, r#""has_ciso":"yes","iso_27001":"certified","soc_2":"none""#];
    for (facts, particles) in facts.into_iter().zip([1000, 3000, 5000]) {
        check(network, &format!("{{{facts}}}"), particles);
    }
}
