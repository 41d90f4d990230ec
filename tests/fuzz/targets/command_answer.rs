//! A line that a child prints is an answer with an outcome for each company, log output, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_score::command::{Line, read_answer};

const COMPANIES: usize = 2;

fuzz_target!(|line: &[u8]| {
    match read_answer(line, "1", COMPANIES) {
        Ok(Line::Answer(outcomes)) => {
            assert_eq!(outcomes.len(), COMPANIES);
            for prediction in outcomes.into_iter().flatten() {
                // The result message includes it as it is.
                serde_json::from_str::<&serde_json::value::RawValue>(prediction.json.as_str()).unwrap();
            }
        }
        Ok(Line::Failed(_) | Line::Log) => {}
        Err(error) => assert!(!error.to_string().is_empty(), "{error:?}"),
    }
});
