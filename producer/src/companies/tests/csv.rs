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
            "a.csv, row 2 (line 5): expected 2 fields, found 1; quote a field that has a comma or line break in it",
            "a.csv, row 3 (line 6): expected 2 fields, found 3; quote a field that has a comma or line break in it",
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
