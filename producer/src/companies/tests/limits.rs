use super::*;
use crate::companies::MAX_COMPANIES;

#[test]
fn one_row_more_than_an_index_can_count_ends_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "a\nlast\none more\n").unwrap();
    let mut companies = Companies::open(&path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    companies.rows_read = MAX_COMPANIES - 1;
    assert_eq!(companies.next().unwrap().unwrap().index, MAX_COMPANIES - 1);
    let error = companies.next().unwrap().unwrap_err();
    assert!(error.ends_file());
    assert!(
        error.to_string().ends_with("row 4294967295: expected at most 4294967294 companies, found more; split the file"),
        "{error}"
    );
    assert!(companies.next().is_none());
}

#[test]
fn a_reading_can_move_to_another_thread() {
    fn moves<T: Send>() {}
    moves::<Companies>();
    moves::<BadInput>();
}
