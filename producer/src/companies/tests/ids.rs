use super::*;

#[test]
fn ids_come_from_company_id_where_the_file_has_it_and_from_the_index_where_not() {
    assert_eq!(read("a.csv", "company_id,a\nx,1\n,2\ny,3\n").ids(), ["x", "1", "y"]);
    assert_eq!(read("a.csv", "name\nx\nx\n").ids(), ["0", "1"]);
}

#[test]
fn ids_come_from_the_column_asked_for() {
    assert_eq!(read_with("a.csv", "company_id,vat\nx,1\ny,2\n", &id_column("vat")).ids(), ["1", "2"]);
}

#[test]
fn an_id_in_two_rows_names_both_and_reading_goes_on() {
    let reading = read("a.csv", "company_id\nx\ny\nx\nz\nx\n");
    assert_eq!(
        reading.errors,
        [
            "a.csv, row 3 (line 4), field \"company_id\": expected every id once, found that of row 1 again; mend one or \
             pass --allow-duplicate-ids",
            "a.csv, row 5 (line 6), field \"company_id\": expected every id once, found that of row 1 again; mend one or \
             pass --allow-duplicate-ids",
        ]
    );
    assert_eq!(reading.ids(), ["x", "y", "z"]);
    assert!(!reading.ended);
}

#[test]
fn an_id_may_not_be_the_index_that_names_another_row() {
    let reading = read("a.csv", "company_id,a\n1,x\n,y\n");
    assert_eq!(
        reading.errors,
        [
            "a.csv, row 2 (line 3), field \"company_id\": expected an id, found none, and the row's index, 1, which would serve, is the id of \
          row 1; give it an id, or pass --allow-duplicate-ids"
        ]
    );
}

#[test]
fn an_id_far_above_is_found_at_the_end_of_the_file() {
    let ids: Vec<_> = (0..100_000).map(|id| (id % 99_998).to_string()).collect();
    let reading = read("a.csv", format!("company_id\n{}\n", ids.join("\n")));
    assert_eq!(reading.companies.len(), 100_000);
    let mut errors = reading.errors;
    errors.sort();
    let [first, second] = errors.try_into().unwrap();
    assert_eq!(
        first,
        "a.csv, row 100000, field \"company_id\": expected every id once, found that of row 2 again; mend one or pass \
         --allow-duplicate-ids"
    );
    assert!(second.starts_with("a.csv, row 99999, field \"company_id\": expected every id once, found that of row 1 again"));
}

#[test]
fn ids_may_repeat_where_that_is_allowed() {
    let options = ReadOptions { allow_duplicate_ids: true, ..ReadOptions::default() };
    assert_eq!(read_with("a.csv", "company_id\nx\nx\n", &options).ids(), ["x", "x"]);
}

#[test]
fn an_id_may_have_255_bytes_and_no_more() {
    let reading = read("a.csv", format!("company_id\n{}\n{}\n", "x".repeat(255), "y".repeat(256)));
    assert_eq!(reading.ids(), ["x".repeat(255)]);
    assert_eq!(
        reading.errors,
        ["a.csv, row 2 (line 3), field \"company_id\": expected an id of at most 255 bytes, found 256; shorten it or take \
          another column"]
    );
}

#[test]
fn json_ids_are_text_or_whole_numbers_and_fall_back_to_the_index() {
    let rows = "{\"company_id\":\"x\"}\n{\"company_id\":17}\n{\"company_id\":null}\n{}\n{\"company_id\":\"\"}\n";
    assert_eq!(read("a.jsonl", rows).ids(), ["x", "17", "2", "3", "4"]);
}

#[test]
fn json_ids_of_other_kinds_name_row_and_field() {
    let reading = read("a.jsonl", "{\"company_id\":1.5}\n{\"company_id\":true}\n{\"company_id\":{}}\n{\"company_id\":[]}\n");
    let errors: Vec<_> = (1..)
        .zip(["a fraction", "true or false", "an object", "a list"])
        .map(|(row, found)| {
            format!(
                "a.jsonl, row {row} (line {row}), field \"company_id\": expected an id as text or whole number, found {found}; \
             write it as text"
            )
        })
        .collect();
    assert_eq!(reading.errors, errors);
}

#[test]
fn a_json_id_field_asked_for_must_be_in_the_first_row() {
    assert_eq!(
        refusal_with("a.jsonl", "{\"name\":1,\"b\":2}\n{\"vat\":1}\n", &id_column("vat")),
        "a.jsonl, row 1 (line 1), field \"vat\": expected a column of this name, found b, name; name one of them with --id-column"
    );
    assert_eq!(read_with("a.jsonl", "{\"vat\":null}\n{\"a\":1}\n{\"vat\":9}", &id_column("vat")).ids(), ["0", "1", "9"]);
}

#[test]
fn whole_numbers_are_ids_however_they_are_written_and_however_large() {
    let numbers = ["18446744073709551616", "123456789012345678901234567890", "-0", "70.0", "1e3", "7.0E1"];
    let rows: String = numbers.iter().map(|number| format!("{{\"company_id\": {number} }}\n")).collect();
    let options = ReadOptions { allow_duplicate_ids: true, ..ReadOptions::default() };
    assert_eq!(
        read_with("a.jsonl", rows, &options).ids(),
        ["18446744073709551616", "123456789012345678901234567890", "0", "70", "1000", "70"]
    );
}

#[test]
fn an_integer_that_pandas_writes_with_a_fraction_is_the_id_without_it_and_other_text_stands() {
    let reading = read("a.csv", "company_id,a\n70.0,1\n,2\n70.50,3\n007.0,4\n7e1,5\n1.10,6\nv1.0,7\n1e3.0,8\n-5.0,9\n");
    assert_eq!(reading.ids(), ["70", "1", "70.50", "007.0", "7e1", "1.10", "v1.0", "1e3.0", "-5"]);
    assert_eq!(reading.records()[0], r#"{"company_id":"70.0","a":"1"}"#);
}
