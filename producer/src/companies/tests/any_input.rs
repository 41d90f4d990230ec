use ::csv::WriterBuilder;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const NAMES: [&str; 4] = ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"];

/// Cells with many characters that are special in CSV.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof!["[\",\r\n a\u{feff}\u{e9}\0]{0,6}", any::<String>()]
}

fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    // A row without any value is skipped, and one that begins with a byte order mark is refused.
    let is_plain = |row: &Vec<String>| !row.iter().all(String::is_empty) && !row[0].starts_with('\u{feff}');
    (1..5_usize).prop_flat_map(move |columns| vec(vec(cell(), columns).prop_filter("a plain row", is_plain), 1..20))
}

proptest! {
    #[test]
    fn any_table_written_as_csv_reads_back_the_same(table in table(), crlf: bool) {
        let ending = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
        let mut writer = WriterBuilder::new().terminator(ending).from_writer(Vec::new());
        let columns: Vec<_> = (0..table[0].len()).map(|column| format!("c{column}")).collect();
        writer.write_record(&columns).unwrap();
        for row in &table {
            writer.write_record(row).unwrap();
        }

        let reading = read("a.csv", writer.into_inner().unwrap());

        prop_assert!(reading.errors.is_empty(), "{:?}", reading.errors);
        let expected: Vec<Map<_, _>> = table
            .iter()
            .map(|row| columns.iter().cloned().zip(row.iter().map(|cell| Value::from(cell.as_str()))).collect())
            .collect();
        let found: Vec<Map<_, _>> = reading.records().into_iter().map(|record| serde_json::from_str(record).unwrap()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        for name in NAMES {
            read(name, &bytes);
        }
    }

    #[test]
    fn any_text_of_csv_marks_is_read_or_refused(text in "[\",\r\na]{0,40}") {
        let reading = read("a.csv", text);
        prop_assert!(!reading.companies.is_empty() || !reading.errors.is_empty());
    }

    #[test]
    fn any_damage_to_parquet_is_read_or_refused(at: prop::sample::Index, byte: u8) {
        let mut bytes = parquet::two_companies();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read("a.parquet", bytes);
    }
}
