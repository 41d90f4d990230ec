use super::*;

#[test]
fn an_empty_file_has_no_header() {
    assert_eq!(refusal("a.csv", ""), "a.csv: expected a header line, found an empty file; check what wrote it");
}

#[test]
fn a_header_without_companies_is_refused() {
    assert_eq!(
        refusal("a.csv", "company_id,name\n\n"),
        "a.csv: expected at least one company, found none; check what wrote the file"
    );
    assert_eq!(refusal("a.jsonl", "\n \n"), "a.jsonl: expected at least one company, found none; check what wrote the file");
}

#[test]
fn a_column_without_a_name_is_refused() {
    assert_eq!(
        refusal("a.csv", "\na,,b\n1,2,3\n"),
        "a.csv, line 2: expected a name for every column, found none for column 2; name it"
    );
}

#[test]
fn a_column_name_used_twice_is_refused() {
    assert_eq!(
        refusal("a.csv", "a,b,a\n1,2,3\n"),
        "a.csv, line 1, field \"a\": expected every column name once, found it for columns 1 and 3; rename one"
    );
}

#[test]
fn a_header_that_is_not_utf8_is_refused() {
    assert_eq!(
        refusal("a.csv", b"a,\xff\xfe\n1,2\n"),
        "a.csv, line 1: expected UTF-8, found byte 0xff at position 1; save the file as UTF-8"
    );
}

#[test]
fn an_id_column_that_is_not_there_lists_those_that_are() {
    assert_eq!(
        refusal_with("a.csv", "name,country\n1,2\n", &id_column("vat")),
        "a.csv, line 1, field \"vat\": expected a column of this name, found name, country; name one of them with --id-column"
    );
    let many = (1..=12).map(|column| format!("q{column}")).collect::<Vec<_>>().join(",");
    assert!(
        refusal_with("a.csv", format!("{many}\n"), &id_column("vat"))
            .contains("found q1, q2, q3, q4, q5, q6, q7, q8, q9, q10 and 2 more;")
    );
}

#[test]
fn an_error_is_one_short_line_whatever_the_names() {
    let error = refusal("a.csv", format!("\"line\nbreak\u{1b}[0m{0}\",\"line\nbreak\u{1b}[0m{0}\"\n", "x".repeat(500)));
    assert!(error.contains(r#"field "line\nbreak\u{1b}[0m"#), "{error}");
    assert!(error.len() < 300, "{error}");
}

#[test]
fn columns_are_told_in_file_order() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "z,a,m\n1,2,3\n").unwrap();
    assert_eq!(Companies::open(&path, &ReadOptions::default()).ok().unwrap().columns(), ["z", "a", "m"]);
}
