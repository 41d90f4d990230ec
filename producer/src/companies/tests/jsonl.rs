use super::*;

#[test]
fn a_line_is_passed_on_as_it_stands_without_the_space_around_it() {
    let reading = read("a.ndjson", "\u{feff}{\"a\": 1.50,\t\"b\":\"é\"}\r\n\n  \t\n  {\"a\":{\"b\":[null]}} ");
    assert_eq!(reading.records(), ["{\"a\": 1.50,\t\"b\":\"é\"}", "{\"a\":{\"b\":[null]}}"]);
    assert!(reading.errors.is_empty());
}

#[test]
fn a_broken_line_names_row_line_column_and_fault_and_reading_goes_on() {
    let reading =
        read("a.jsonl", "{\"a\":1}\n\n{\"a\":1,}\n{\"a\":\"x\n{\"a\":1} {}\n{\"a\":\"\\ud800\"}\n{\"a\":1e999}\n{\"a\":2}\n");
    let found = [
        "row 2 (line 3): expected one JSON object, found a fault at column 8: trailing comma; mend the line",
        "row 3 (line 4): expected one JSON object, found a fault at column 7: the end of the line inside a string; mend the line",
        "row 4 (line 5): expected one JSON object, found a fault at column 9: trailing characters; mend the line",
        "row 5 (line 6): expected one JSON object, found a fault at column 13: unexpected end of hex escape; mend the line",
        "row 6 (line 7): expected one JSON object, found a fault at column 10: number out of range; mend the line",
    ];
    assert_eq!(reading.errors, found.map(|error| format!("a.jsonl, {error}")));
    assert_eq!(reading.companies.iter().map(|company| company.index).collect::<Vec<_>>(), [0, 6]);
}

#[test]
fn json_that_is_no_object_is_refused() {
    let reading = read("a.jsonl", "[1]\n\"a\"\n3\nnull\n");
    let found = ["a list", "text", "a whole number", "null"];
    let errors: Vec<_> = (1..).zip(found).map(|(row, found)| {
        format!("a.jsonl, row {row} (line {row}): expected one JSON object, found {found}; write every company as one object on one line")
    }).collect();
    assert_eq!(reading.errors, errors);
}

#[test]
fn a_field_that_an_object_has_twice_is_named_whatever_its_values() {
    let rows = "{\"a\":1,\"b\":{\"a\":2}}\n{\"a\":1,\"b\":2,\"\\u0061\":1}\n{\"company_id\":1.0,\"company_id\":2.0}\n\
        {\"b\":[0,{\"a\":{\"x\":1,\"x\":2}}],\"c\":1}\n";
    let reading = read("a.jsonl", rows);
    let errors = [(2, "a"), (3, "company_id"), (4, "b.a.x")].map(|(row, field)| {
        format!(
            "a.jsonl, row {row} (line {row}), field \"{field}\": expected every field of a company once, found it again; remove one \
             of the two"
        )
    });
    assert_eq!(reading.errors, errors);
    assert_eq!(reading.companies.len(), 1);
}

#[test]
fn a_line_that_is_not_utf8_is_refused_and_reading_goes_on() {
    let reading = read("a.jsonl", b"{\"a\":\"\xff\"}\n{}\n");
    assert_eq!(
        reading.errors,
        ["a.jsonl, row 1 (line 1): expected UTF-8, found byte 0xff at position 7; save the file as UTF-8"]
    );
    assert_eq!(reading.companies.len(), 1);
}

#[test]
fn deep_nesting_is_refused_and_overflows_nothing() {
    let reading = read("a.jsonl", format!("{{\"a\":{}}}\n{{}}\n", "[".repeat(1_000_000)));
    assert_eq!(
        reading.errors,
        [
            "a.jsonl, row 1 (line 1): expected one JSON object, found a fault at column 132: recursion limit exceeded; mend the line"
        ]
    );
    assert_eq!(reading.companies.len(), 1);
}

#[test]
fn a_line_longer_than_allowed_is_skipped_and_reading_goes_on() {
    let longest = "{\"a\":\"1234\"}";
    let text = format!("{longest}\r\n{longest} \n{{\"a\":\"{}\"}}\n{{}}\n", "x".repeat(500_000));
    let reading = read_with("a.jsonl", text, &at_most(u32::try_from(longest.len()).unwrap()));
    assert_eq!(
        reading.errors,
        ["a.jsonl, row 3 (line 3): expected at most 12 bytes, found 500008; shorten the row or raise --max-record-bytes"]
    );
    assert_eq!(reading.records(), [longest, longest, "{}"]);
}

#[test]
fn only_the_fields_asked_for_and_the_id_are_read_as_they_stand() {
    let options = ReadOptions { columns: vec!["b".to_owned()], ..ReadOptions::default() };
    let reading = read_with("a.jsonl", "{\"z\": 1, \"b\": 1.50, \"company_id\": \"x\"}\n{\"company_id\":\"y\"}\n", &options);
    assert_eq!(reading.records(), [r#"{"b":1.50,"company_id":"x"}"#, r#"{"company_id":"y"}"#]);
    assert_eq!(
        refusal_with("a.jsonl", "{\"a\":1}\n{\"b\":1}\n", &options),
        "a.jsonl, row 1 (line 1), field \"b\": expected a column of this name, found a; name one of them with --columns"
    );
}

#[test]
fn numbers_that_json_does_not_have_are_named() {
    let reading = read("a.jsonl", "{\"a\":NaN}\n{\"a\":1}\n{\"a\":-Infinity}\n");
    let error = |row: u32, column: u32, found: &str| {
        format!(
            "a.jsonl, row {row} (line {row}): expected one JSON object, found {found} at column {column}, which JSON does not have; \
             write null for it"
        )
    };
    assert_eq!(reading.errors, [error(1, 6, "NaN"), error(3, 7, "Infinity")]);
    assert_eq!(reading.companies.len(), 1);
}

#[test]
fn a_byte_order_mark_inside_is_named() {
    let reading = read("a.jsonl", "\u{feff}{\"a\":1}\n\u{feff}{\"a\":2}\n");
    assert_eq!(
        reading.errors,
        [
            "a.jsonl, row 2 (line 2): expected a byte order mark at the beginning of the file only, found one, as where files are joined; \
          remove it"
        ]
    );
}

#[test]
fn lines_that_end_as_on_an_old_mac_are_named() {
    let reading = read("a.jsonl", "{\"a\":1}\r{\"a\":2}\r");
    assert_eq!(
        reading.errors,
        [
            "a.jsonl, row 1 (line 1): expected one JSON object, found a carriage return inside the line, as an old Mac ends lines; end every \
          line with a line feed"
        ]
    );
}
