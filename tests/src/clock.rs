//! Sets the clocks of processes.

use std::fs;

use crate::report::skip;

/// The library that fakes a program's clock.
#[derive(Debug)]
pub struct FakeClock(String);

impl FakeClock {
    /// The installed one. Returns `None`, and reports the test as skipped, if it is not installed.
    pub fn installed() -> Option<FakeClock> {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
        let library = libraries.into_iter().find(|library| library.exists());
        if library.is_none() {
            skip("libfaketime is not installed, and this test sets clocks");
        }
        library.map(|library| FakeClock(library.to_str().unwrap().to_owned()))
    }

    /// The environment of a program whose clock is shifted by, for example, `-1h`.
    pub fn environment<'a>(&'a self, by: &'a str) -> [(&'a str, &'a str); 4] {
        [("LD_PRELOAD", &self.0), ("FAKETIME", by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("FAKETIME_NO_CACHE", "1")]
    }
}
