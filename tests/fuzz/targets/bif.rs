//! A network file is parsed into a network that can be sampled, or refused with a line number and a message.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rollcall_fuzz::assert_one_line;
use rollcall_score::bayes::{Bayes, Settings};
use rollcall_score::{Company, Scorer};

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings { particles: 3, distributions: true, timeout: Duration::from_secs(60) };
    match Bayes::parse(bytes, settings) {
        Ok(mut bayes) => drop(bayes.score(&[Company { record: b"{}".to_vec() }]).unwrap()),
        Err(error) => {
            assert!(error.line >= 1);
            assert_one_line(&error.message);
        }
    }
});
