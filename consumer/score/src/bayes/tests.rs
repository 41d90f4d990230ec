//! Tests of the whole scorer, on small networks and on those of the bnlearn repository.

mod dialects;
mod exactness;
mod hostile_files;
mod predictions;
mod reference;
mod writers;

/// Reports on the real standard error, which libtest does not capture, that this test is skipped.
fn skip(why: &str) {
    let line = format!("skipped: {}: {why}\n", std::thread::current().name().unwrap_or("a test"));
    drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
}
