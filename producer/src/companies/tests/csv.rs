use super::*;

#[test]
fn a_row_becomes_one_json_object_with_text_fields_in_file_order() {
    let reading = read("a.csv", "name,company_id,staff\nAcme,c7,12\n\"Smith, \"\"Sons\"\"\",c8,\"a\r\nb\"\r\n");
    let [acme, smith] = reading.companies.try_into().unwrap();
    assert_eq!(
        acme,
        Company { index: 0, company_id: "c7".into(), record: br#"{"name":"Acme","company_id":"c7","staff":"12"}"#.into() }
    );
    assert_eq!(smith.index, 1);
    assert_eq!(String::from_utf8(smith.record).unwrap(), r#"{"name":"Smith, \"Sons\"","company_id":"c8","staff":"a\r\nb"}"#);
}

#[test]
fn a_byte_order_mark_blank_lines_crlf_and_a_missing_last_line_break_are_fine() {
    let reading = read("a.csv", "\u{feff}name\r\n\r\nAcme\r\n\r\n\r\nBeta");
    assert_eq!(reading.records(), [r#"{"name":"Acme"}"#, r#"{"name":"Beta"}"#]);
    assert!(reading.errors.is_empty());
}

#[test]
fn a_nul_byte_is_data() {
    assert_eq!(read("a.csv", "name\na\0b\n").records(), [r#"{"name":"a\u0000b"}"#]);
}

#[test]
fn a_wrong_number_of_fields_names_row_line_and_counts_and_reading_goes_on() {
    let reading = read("a.csv", "a,b\r\n\"1\r\n1\",2\r\n\r\n3\r\n4,5,6\r\n7,8\r\n");
    assert_eq!(
        reading.errors,
        [
            "a.csv, row 2 (line 5): expected 2 fields, found 1; quote a field that has a comma or a line break in it",
            "a.csv, row 3 (line 6): expected 2 fields, found 3; quote a field that has a comma or a line break in it",
        ]
    );
    assert_eq!(reading.companies.iter().map(|company| company.index).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn text_that_is_not_utf8_names_row_line_field_and_byte_and_reading_goes_on() {
    let reading = read("a.csv", b"a,name\n1,fine\n2,Caf\xe9\n3,fine\n");
    assert_eq!(
        reading.errors,
        ["a.csv, row 2 (line 3), field \"name\": expected UTF-8, found byte 0xe9 at position 4; save the file as UTF-8"]
    );
    assert_eq!(reading.companies.len(), 2);
}

#[test]
fn text_after_a_closing_quote_names_the_line_and_ends_the_file() {
    let reading = read("a.csv", "a,b\n1,2\n\"3\n\"x,4\n5,6\n");
    assert_eq!(
        reading.errors,
        ["a.csv, row 2 (line 4): expected a comma or the end of the line after a closing quote, found more text; \
          double every quote inside a quoted field"]
    );
    assert_eq!(reading.companies.len(), 1, "the rows before come out first");
    assert!(reading.ended);
}

#[test]
fn a_quote_inside_an_unquoted_field_names_the_line_and_ends_the_file() {
    let reading = read("a.csv", "a,b\n1,2\n3\",4\n");
    assert_eq!(
        reading.errors,
        ["a.csv, row 2 (line 3): expected no quote inside an unquoted field, found one; put quotes around the field \
          and double those in it"]
    );
    assert!(reading.ended);
}

#[test]
fn a_quote_never_closed_names_the_line_it_was_opened_on() {
    let reading = read("a.csv", "a,b\n1,2\n3,\"4\n5,6\n7,8\n");
    assert_eq!(
        reading.errors,
        ["a.csv, row 2 (line 3): expected an end to the quotes opened on this line, found the end of the file; close them"]
    );
    assert!(reading.ended);
}

#[test]
fn a_quote_never_closed_is_given_up_at_the_longest_row_allowed() {
    let text = format!("a,b\n1,2\n3,\"4\n{}", "5,6\n".repeat(100_000));
    let reading = read_with("a.csv", text, &at_most(1000));
    assert_eq!(
        reading.errors,
        ["a.csv, row 2 (line 3): expected the row to end within 1000 bytes, found that it goes on; look for a quote \
          that is never closed, or raise --max-record-bytes"]
    );
    assert_eq!(reading.companies.len(), 1);
}

#[test]
fn a_row_just_as_long_as_allowed_passes_the_check_of_quotes() {
    let reading = read_with("a.csv", "a\n12345678\n123456789\n", &at_most(8));
    let [too_long_as_json, too_long] = reading.errors.try_into().unwrap();
    assert_eq!(
        too_long_as_json,
        "a.csv, row 1 (line 2): expected at most 8 bytes, found 16; shorten the row or raise --max-record-bytes"
    );
    assert!(too_long.starts_with("a.csv, row 2 (line 3): expected the row to end within 8 bytes"), "{too_long}");
}

#[test]
fn the_delimiter_is_found_or_told_or_named_by_the_first_line_or_the_name_of_the_file() {
    let companies = [r#"{"company_id":"acme","share":"1,5"}"#, r#"{"company_id":"bolt","share":"2"}"#];
    let semicolons = "company_id;share\r\nacme;1,5\r\nbolt;2\r\n";
    assert_eq!(read("a.csv", semicolons).records(), companies);
    assert_eq!(read("a.csv", format!("sep=;\r\n{semicolons}")).records(), companies);
    assert_eq!(read("a.csv", format!("\u{feff}sep=;\r\n{semicolons}")).records(), companies);
    for name in ["a.csv", "a.tsv", "A.TSV.gz"] {
        assert_eq!(read(name, semicolons.replace(';', "\t")).records(), companies, "{name}");
    }
    let given = ReadOptions { delimiter: "^".parse().ok(), ..ReadOptions::default() };
    assert_eq!(read_with("a.csv", semicolons.replace(';', "^"), &given).records(), companies);
}

#[test]
fn a_delimiter_other_than_a_comma_is_named_in_errors_and_lines_count_from_the_first() {
    let reading = read("a.csv", "sep=;\na;b\n1;2\n3\n\"4\"x;5\n");
    assert_eq!(
        reading.errors,
        [
            "a.csv, row 2 (line 4): expected 2 fields, found 1; quote a field that has a semicolon or a line break in it",
            "a.csv, row 3 (line 5): expected a semicolon or the end of the line after a closing quote, found more text; double every \
             quote inside a quoted field",
        ]
    );
}

#[test]
fn two_delimiters_that_fit_equally_well_are_refused() {
    let refused = refusal("a.csv", "a,b;c\n1,2;3\n");
    assert!(refused.contains("a comma and a semicolon cut the rows equally well; say which it is with --delimiter"), "{refused}");
}

#[test]
fn blanks_around_a_name_in_the_header_are_no_part_of_it() {
    let reading = read("a.csv", "company_id, Pollution ,\u{a0}Smoker\nacme, low,True\n");
    assert_eq!(reading.records(), [r#"{"company_id":"acme","Pollution":" low","Smoker":"True"}"#]);
}

#[test]
fn rows_without_any_value_are_skipped_and_counted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "a,b\n1,2\n,\n\"\",\n3,\n,\n").unwrap();
    let mut companies = Companies::open(&path, &ReadOptions::default()).ok().unwrap();
    let indices: Vec<u32> = companies.by_ref().map(|company| company.unwrap().index).collect();
    assert_eq!((indices, companies.progress().blank_rows()), (vec![0, 1], 3));
}

#[test]
fn errors_name_rows_as_the_file_counts_them() {
    let reading = read("a.csv", "company_id,a\n,\nx,1\n,\nx,2\n1,2,3\n");
    assert!(
        reading.errors[0]
            .starts_with("a.csv, row 4 (line 5), field \"company_id\": expected every id once, found that of row 2 ")
    );
    assert!(reading.errors[1].starts_with("a.csv, row 5 (line 6): expected 2 fields, found 3"), "{reading:?}");
}

#[test]
fn delimiters_at_the_end_of_the_lines_are_no_columns_unless_values_stand_between_them() {
    let reading = read("a.csv", "company_id,a,,\nx,1,,\ny,2,,3\nz,4,,\n");
    assert_eq!(reading.records(), [r#"{"company_id":"x","a":"1"}"#, r#"{"company_id":"z","a":"4"}"#]);
    assert_eq!(
        reading.errors,
        ["a.csv, row 2 (line 3): expected nothing in column 4, which has no name in the header, found a value; name the column"]
    );
}

#[test]
fn the_index_that_pandas_writes_without_a_name_is_refused_with_what_to_do() {
    assert_eq!(
        refusal("a.csv", ",company_id\n0,x\n"),
        "a.csv, line 1: expected a name for every column, found none for column 1, as pandas writes its index; write the file with \
         index=False, or name the column"
    );
}

#[test]
fn the_line_ends_of_an_old_mac_are_counted() {
    let reading = read("a.csv", "company_id,a\rx,1\r\ry,2,3\rz,4\r");
    assert_eq!(reading.ids(), ["x", "z"]);
    assert!(reading.errors[0].starts_with("a.csv, row 2 (line 4): "), "{reading:?}");
}

#[test]
fn a_file_that_another_was_appended_to_is_named_at_the_row_where_that_begins() {
    let reading = read("a.csv", "company_id,a\nx,1\ncompany_id,a\n\u{feff}y,2\nz,3\n");
    assert_eq!(
        reading.errors,
        [
            "a.csv, row 2 (line 3): expected a company, found the header again, as where files are joined; remove this line",
            "a.csv, row 3 (line 4): expected a byte order mark at the beginning of the file only, found one, as where files are \
             joined; remove it",
        ]
    );
    assert_eq!(reading.ids(), ["x", "z"]);
}

#[test]
fn only_the_columns_asked_for_and_the_one_with_the_ids_are_read() {
    let options = ReadOptions { columns: vec!["c".to_owned()], ..ReadOptions::default() };
    let reading = read_with("a.csv", b"company_id,b,c,c2\nx,\xff,1,2\n", &options);
    assert_eq!(reading.records(), [r#"{"company_id":"x","c":"1"}"#]);
    let missing = ReadOptions { columns: vec!["d".to_owned()], ..ReadOptions::default() };
    assert_eq!(
        refusal_with("a.csv", "company_id,b\nx,1\n", &missing),
        "a.csv, line 1, field \"d\": expected a column of this name, found company_id, b; name one of them with --columns"
    );
}

#[test]
fn rows_without_any_value_before_the_header_are_skipped() {
    assert_eq!(read("a.csv", ";;\n;;\na;b;c\n1;2;3\n").records(), [r#"{"a":"1","b":"2","c":"3"}"#]);
}

#[test]
fn a_delimiter_that_does_not_cut_the_header_is_refused_where_another_would() {
    let given = ReadOptions { delimiter: "tab".parse().ok(), ..ReadOptions::default() };
    assert_eq!(
        refusal_with("a.csv", "company_id;name\nx;y\n", &given),
        "a.csv, line 1: expected a tab between the names of the columns, found one name with a semicolon in it; say with --delimiter what \
         stands between fields, or rename the column"
    );
    assert!(refusal("a.tsv", "company_id,name\nx,y\n").contains("found one name with a comma in it"));
    let comma = ReadOptions { delimiter: ",".parse().ok(), ..ReadOptions::default() };
    assert!(refusal_with("a.csv", "sep=;\na;b\n1;2\n", &comma).contains("found one name with a semicolon in it"));
}

#[test]
fn json_lines_that_are_taken_for_csv_are_named() {
    assert_eq!(
        refusal("a.csv", "{\"a\":1}\n"),
        "a.csv: expected text, found JSON; say so with --format jsonl, or by a name ending in .jsonl"
    );
}
