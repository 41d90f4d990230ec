//! A company's record is scored, or fails with one of the causes for bad evidence.

#![no_main]

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rollcall_fuzz::assert_one_line;
use rollcall_score::bayes::{Bayes, Settings};
use rollcall_score::{Company, Scorer};
use serde_json::{Map, Value};

/// The `asia` network, and a variable whose name and states need quotes or escapes in JSON.
const NETWORK: &str = concat!(
    include_str!("../../../consumer/score/src/bayes/asia.bif"),
    r#"variable "a b" { type discrete [ 4 ] { 5, true, "größe", "q\n" }; } probability ( "a b" ) { default 0.25, 0.25, 0.25, 0.25; }"#
);

fuzz_target!(|record: &[u8]| {
    static BAYES: LazyLock<Mutex<Bayes>> = LazyLock::new(|| {
        let settings = Settings { particles: 10, distributions: false, timeout: Duration::from_secs(60) };
        Mutex::new(Bayes::parse(NETWORK.as_bytes(), settings).unwrap())
    });
    let scores = BAYES.lock().unwrap().score(&[Company { record: record.to_vec() }]).unwrap();
    match &scores[0] {
        Ok(prediction) => drop(serde_json::from_str::<Map<String, Value>>(prediction.json.as_str()).unwrap()),
        Err(error) => {
            assert!(
                ["invalid_evidence", "impossible_evidence", "improbable_evidence"].contains(&error.cause.as_str()),
                "{error}"
            );
            assert_one_line(&error.message);
        }
    }
});
