//! Messages on standard error that libtest does not capture: they are shown even if the test passes.

use std::io::Write;
use std::process::exit;
use std::thread;

/// Reports that this test is skipped. libtest names a test's thread after the test.
pub fn skip(why: &str) {
    write_line(&format!("skipped: {}: {why}", thread::current().name().unwrap_or("a test")));
}

/// Ends the test process with one line and exit code 2.
pub(crate) fn give_up(error: &str) -> ! {
    write_line(&format!("error: {error}"));
    exit(2)
}

fn write_line(line: &str) {
    // In one write, so that lines of concurrent tests do not mix. If standard error is closed, the line is lost.
    drop(std::io::stderr().write_all(format!("{line}\n").as_bytes()));
}
