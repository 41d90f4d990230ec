//! A text is parsed as a set of indices, a retry policy or a tolerance that survives a round trip, or it is refused.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use rollcall_fuzz::assert_one_line;
use rollcall_shared::message::{Indices, RetryPolicy, Tolerance};

fuzz_target!(|word: &str| {
    read::<Indices>(word);
    read::<Tolerance>(word);
    if let Some(policy) = read::<RetryPolicy>(word) {
        assert_eq!(policy.delay_after(u32::MAX), None);
    }
});

fn read<T: FromStr<Err: Display + Debug> + Display + PartialEq + Debug>(word: &str) -> Option<T> {
    match word.parse::<T>() {
        Ok(read) => {
            assert_eq!(read.to_string().parse::<T>().unwrap(), read);
            Some(read)
        }
        Err(error) => {
            assert_one_line(&error.to_string());
            None
        }
    }
}
