#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall_producer::companies::Format;

fuzz_target!(|bytes: &[u8]| rollcall_fuzz::read_companies(Format::Parquet, bytes));
