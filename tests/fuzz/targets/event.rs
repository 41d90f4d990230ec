//! A body is parsed as a job event that survives a round trip, or it is refused as malformed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_fuzz::assert_one_line;
use rollcall_shared::message::Event;

fuzz_target!(|body: &[u8]| {
    match Event::read(body) {
        Ok(event) => {
            let again = Event::read(&event.body().unwrap()).unwrap();
            assert_eq!(again, event);
            assert!(event.routing_key().starts_with("job."));
        }
        Err(malformed) => assert_one_line(&malformed.to_string()),
    }
});
