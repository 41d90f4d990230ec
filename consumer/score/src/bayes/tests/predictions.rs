//! Predictions and errors for single records.

use std::time::Instant;

use super::super::*;

const ASIA: &str = include_str!("../asia.bif");
/// Longer than any company here takes, except the one that is meant to take too long.
const TIMEOUT: Duration = Duration::from_secs(60);

fn scorer(network: &str, particles: u32) -> Bayes {
    Bayes::parse(network.as_bytes(), Settings { particles, distributions: false, timeout: TIMEOUT }).unwrap()
}

fn company(record: &str) -> Company {
    Company { record: record.as_bytes().to_vec() }
}

fn score(bayes: &mut Bayes, record: &str) -> Result<String, ScoreError> {
    bayes.score(&[company(record)]).map_err(|failed| failed.error)?.remove(0).map(|prediction| prediction.json.to_string())
}

fn cause(bayes: &mut Bayes, record: &str) -> String {
    let error = score(bayes, record).unwrap_err();
    assert!(!error.retryable && !error.message.contains('\n'), "{error:?}");
    error.cause
}

#[test]
fn every_unobserved_variable_is_predicted_in_the_order_of_the_file() {
    let prediction = score(&mut scorer(ASIA, 1000), r#"{"smoke": "yes", "xray": "", "name": "A"}"#).unwrap();
    let places = ["asia", "tub", "lung", "bronc", "either", "xray", "dysp"];
    let places = places.map(|name| prediction.find(&format!("\"{name}\":[\"")).unwrap());
    assert!(places.is_sorted() && !prediction.contains("smoke"), "{prediction}");
}

#[test]
fn distributions_hold_every_state_and_sum_to_1() {
    let settings = Settings { particles: 1000, distributions: true, timeout: TIMEOUT };
    let mut bayes = Bayes::parse(ASIA.as_bytes(), settings).unwrap();
    let prediction = score(&mut bayes, r#"{"either": "no"}"#).unwrap();
    assert!(prediction.contains(r#""tub":{"yes":0,"no":1},"#), "{prediction}");
    let parsed: serde_json::Value = serde_json::from_str(&prediction).unwrap();
    let sum: f64 = parsed["dysp"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{prediction}");
}

#[test]
fn names_from_the_file_are_escaped_in_predictions() {
    let network = "network n {} variable a\\b { type discrete [ 1 ] { \"x\ty\" }; } probability ( a\\b ) { table 1; }";
    assert_eq!(score(&mut scorer(network, 1), "{}").unwrap(), r#"{"a\\b":["x\ty",1]}"#);
}

#[test]
fn a_fully_observed_company_has_an_empty_prediction() {
    let network = "network n {} variable a { type discrete [ 2 ] { x, y }; } probability ( a ) { table 0.5, 0.5; }";
    assert_eq!(score(&mut scorer(network, 10), r#"{"a": "y"}"#).unwrap(), "{}");
}

#[test]
fn a_prediction_is_the_same_in_any_batch_order_and_instance() {
    let records = [r#"{"smoke":"yes"}"#, r#"{"dysp":"no"}"#, "{}", r#"{"smoke":"maybe"}"#];
    let companies = records.map(company);
    let mut bayes = scorer(ASIA, 1500);
    let together = bayes.score(&companies).unwrap();
    let mut other = scorer(ASIA, 1500).clone();
    for (record, expected) in records.iter().zip(&together).rev() {
        assert_eq!(score(&mut other, record), expected.clone().map(|prediction| prediction.json.to_string()));
    }
}

#[test]
fn a_prediction_is_the_same_on_every_machine() {
    let prediction = score(&mut scorer(ASIA, 1000), r#"{"smoke":"yes","dysp":"yes"}"#).unwrap();
    // Recorded once, on x86-64 Linux.
    let expected = concat!(
        r#"{"asia":["no",0.99486],"tub":["no",0.987061],"lung":["no",0.841546],"#,
        r#""bronc":["yes",0.875399],"either":["no",0.828607],"xray":["no",0.785714]}"#
    );
    assert_eq!(prediction, expected);
}

#[test]
fn record_particles_and_file_each_change_the_seed() {
    let seed = |network: &str, particles, record: &str| scorer(network, particles).model.seed(record.as_bytes());
    let comment = format!("{ASIA}// changed");
    let seeds = [seed(ASIA, 1, "{}"), seed(ASIA, 2, "{}"), seed(ASIA, 1, "{ }"), seed(&comment, 1, "{}")];
    assert!((0..4).all(|a| (0..a).all(|b| seeds[a] != seeds[b])), "{seeds:?}");
}

#[test]
fn evidence_that_cannot_happen_is_told_from_evidence_that_hardly_does() {
    let mut asia = scorer(ASIA, 10);
    assert_eq!(cause(&mut asia, r#"{"lung":"yes","tub":"no","either":"no"}"#), "impossible_evidence");
    assert_eq!(cause(&mut asia, r#"{"lung":"yes","either":"no"}"#), "impossible_evidence");
    // A chain on which b = x needs a = x, once in a million.
    let rare = "network n {} variable a { type discrete [ 2 ] { x, y }; } variable b { type discrete [ 2 ] { x, y }; }
        probability ( a ) { table 0.000001, 0.999999; } probability ( b | a ) { (x) 1, 0; (y) 0, 1; }";
    assert_eq!(cause(&mut scorer(rare, 10), r#"{"b":"x"}"#), "improbable_evidence");
    assert!(score(&mut scorer(rare, 10), r#"{"a":"x","b":"x"}"#).is_ok());
    let never = rare.replace("0.000001, 0.999999", "0, 1");
    assert_eq!(cause(&mut scorer(&never, 10), r#"{"b":"x"}"#), "impossible_evidence");
}

#[test]
fn a_company_that_fails_leaves_no_trace_in_the_next() {
    let mut bayes = scorer(ASIA, 1000);
    let alone = score(&mut bayes.clone(), "{}");
    assert_eq!(cause(&mut bayes, r#"{"lung":"yes","either":"no"}"#), "impossible_evidence");
    assert_eq!(cause(&mut bayes, r#"{"lung":1}"#), "invalid_evidence");
    assert_eq!(score(&mut bayes, "{}"), alone);
}

#[test]
fn a_company_that_takes_too_long_is_given_up_in_time_and_the_next_is_not() {
    let settings = Settings { particles: u32::MAX, distributions: false, timeout: Duration::from_millis(20) };
    let mut bayes = Bayes::parse(ASIA.as_bytes(), settings).unwrap();
    let began = Instant::now();
    let error = score(&mut bayes, "{}").unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert_eq!((error.cause.as_str(), error.retryable), ("timeout", true));
    assert!(error.message.starts_with("the scorer did not answer within 20ms; raise --score-timeout"), "{error}");
    assert_eq!(cause(&mut bayes, r#"{"lung":"yes","tub":"no","either":"no"}"#), "impossible_evidence");
}

#[test]
fn many_improbable_observations_do_not_underflow() {
    // Weights near 10^-1100, and one cause that explains them better.
    let (network, record) = symptoms(400, "0.5, 0.5", "0.002, 0.998", "0.001, 0.999");
    assert_eq!(score(&mut scorer(&network, 1200), &record).unwrap(), r#"{"cause":["x",1]}"#);
}

#[test]
fn particles_with_a_rare_cause_outweigh_whole_blocks_without_it() {
    // Some blocks draw the cause, with a weight of 10^-77: just not rescaled. Others have weights near 10^-89 only.
    let (network, record) = symptoms(77, "0.002, 0.998", "0.1, 0.9", "0.07, 0.93");
    let mut bayes = scorer(&network, 5000);
    // Each run has a seed of its own, so that blocks of either kind come first.
    for run in 0..8 {
        let record = record.replacen('{', &format!(r#"{{"run":{run},"#), 1);
        assert_eq!(score(&mut bayes, &record).unwrap(), r#"{"cause":["x",1]}"#, "run {run}");
    }
}

/// A network of one cause and `count` symptoms, and a record with all symptoms; with their distributions as BIF.
fn symptoms(count: usize, cause: &str, given_x: &str, given_y: &str) -> (String, String) {
    let states = "{ type discrete [ 2 ] { x, y }; }";
    let symptom =
        |place| format!("variable s{place} {states} probability ( s{place} | cause ) {{ (x) {given_x}; (y) {given_y}; }}");
    let symptoms: Vec<String> = (0..count).map(symptom).collect();
    let network = format!("network n {{}} variable cause {states} probability ( cause ) {{ table {cause}; }}");
    let fields: Vec<String> = (0..count).map(|place| format!(r#""s{place}":"x""#)).collect();
    (network + &symptoms.concat(), format!("{{{}}}", fields.join(",")))
}

#[test]
fn a_file_that_is_missing_or_wrong_is_named() {
    let settings = Settings { particles: 1, distributions: false, timeout: TIMEOUT };
    let missing = Bayes::load(Path::new("no-such.bif"), settings).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read the network no-such.bif: "), "{missing}");
    let no_network = Bayes::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), settings).unwrap_err();
    assert!(no_network.to_string().contains("Cargo.toml, line 1: expected 'network', found '['; "), "{no_network}");
    let none = Bayes::load(Path::new("no-such.bif"), Settings { particles: 0, ..settings }).unwrap_err();
    assert!(matches!(none, Error::NoParticles));
}
