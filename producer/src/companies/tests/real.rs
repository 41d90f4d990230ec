use super::*;

#[test]
fn the_real_companies_all_come_out() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/companies-real.csv.gz");
    if !path.exists() {
        let thread = std::thread::current();
        let line = format!("skipped: {}: {} does not exist\n", thread.name().unwrap_or("a test"), path.display());
        drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
        return;
    }
    let mut companies = Companies::open(&path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(companies.columns().len(), 7);
    // One of its rows has no value at all.
    assert_eq!(companies.by_ref().filter(Result::is_ok).count(), 46_964);
    assert_eq!(companies.progress().blank_rows(), 1);
}
