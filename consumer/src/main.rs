//! The consumer's executable.

use std::process::ExitCode;

// All code is generated in the library, once: an async function is compiled again in each crate that calls it.
fn main() -> ExitCode {
    rollcall_consumer::process::main()
}
