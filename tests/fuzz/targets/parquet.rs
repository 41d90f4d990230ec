#![no_main]

use std::panic;

use libfuzzer_sys::fuzz_target;
use rollcall_producer::companies::Format;

fuzz_target!(
    init: {
        // The library panics on some damaged files, and the reader turns that into an error. Only a panic that escapes the
        // reader is a find.
        panic::set_hook(Box::new(|panicked| eprintln!("{panicked}")));
    },
    |bytes: &[u8]| rollcall_fuzz::read_companies(Format::Parquet, bytes)
);
