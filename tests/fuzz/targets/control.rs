//! A body is parsed as a control message, a query or a reply that survives a round trip, or it is refused.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use rollcall_fuzz::assert_one_line;
use rollcall_shared::message::{ConsumerStatus, ControlMessage, Query, Reply, read_json};
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|body: &[u8]| {
    read::<ControlMessage>(body);
    read::<Query>(body);
    read::<Reply>(body);
    read::<ConsumerStatus>(body);
});

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    match read_json::<T>(body) {
        Ok(read) => assert_eq!(read_json(&serde_json::to_vec(&read).unwrap()), Ok(read)),
        Err(error) => assert_one_line(&error.to_string()),
    }
}
