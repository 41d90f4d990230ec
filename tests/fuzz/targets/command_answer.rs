//! A line from a command scorer is parsed as one outcome per company, or refused with an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_score::command::{Line, read_answer};

const COMPANIES: usize = 2;

fuzz_target!(|line: &[u8]| {
    match read_answer(line, "1", COMPANIES) {
        Ok(Line::Answer(outcomes)) => {
            assert_eq!(outcomes.len(), COMPANIES);
            for prediction in outcomes.into_iter().flatten() {
                // The prediction is copied into the result unchanged, so it must be valid JSON.
                serde_json::from_str::<&serde_json::value::RawValue>(prediction.json.as_str()).unwrap();
            }
        }
        Ok(Line::Failed(_) | Line::Log) => {}
        Err(error) => assert!(!error.to_string().is_empty(), "{error:?}"),
    }
});
