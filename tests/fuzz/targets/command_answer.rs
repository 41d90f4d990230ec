//! What a child prints is an outcome for each company, or nonsense that is named.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_consumer::score::command::read_answer;
use serde_json::Value;

const COMPANIES: usize = 2;

fuzz_target!(|line: &str| {
    match read_answer(line, "1", COMPANIES) {
        Ok(outcomes) => {
            assert_eq!(outcomes.len(), COMPANIES);
            for prediction in outcomes.into_iter().flatten() {
                // It goes into the result as it stands.
                serde_json::from_str::<&serde_json::value::RawValue>(&prediction).unwrap();
            }
        }
        Err(error) => assert!(!error.message.is_empty() || serde_json::from_str::<Value>(line).is_ok(), "{error:?}"),
    }
});
