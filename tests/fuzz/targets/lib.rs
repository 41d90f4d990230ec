//! Assertions and readers that several targets share.

use std::cell::LazyCell;
use std::fs;

use rollcall_producer::companies::{Companies, Format, ReadOptions};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// Asserts that an error message is not empty and has one line.
pub fn assert_one_line(message: &str) {
    assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
}

/// Reads `bytes` as a file of companies. Each must be a JSON object, or its row must be refused with a one-line error.
pub fn read_companies(format: Format, bytes: &[u8]) {
    thread_local! {
        static FOLDER: LazyCell<TempDir> = LazyCell::new(|| TempDir::new().unwrap());
    }
    let path = FOLDER.with(|folder| folder.path().join("companies"));
    fs::write(&path, bytes).unwrap();
    // The options depend on the length of the input, so that no bytes of it are needed to choose them.
    let options = ReadOptions {
        format: Some(format),
        delimiter: bytes.len().is_multiple_of(7).then(|| ";".parse().unwrap()),
        columns: if bytes.len().is_multiple_of(11) { vec!["a".to_owned()] } else { Vec::new() },
        id_column: (bytes.len().is_multiple_of(3)).then(|| "id".to_owned()),
        allow_duplicate_ids: bytes.len().is_multiple_of(2),
        max_record_bytes: if bytes.len().is_multiple_of(5) { 16 } else { 4096 },
    };
    let companies = match Companies::open(&path, &options) {
        Ok(companies) => companies,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    for company in companies {
        match company {
            Ok(company) => {
                assert!((1..=255).contains(&company.company_id.len()), "{company:?}");
                assert!(company.record.len() <= options.max_record_bytes as usize, "{company:?}");
                serde_json::from_slice::<Map<String, Value>>(&company.record).unwrap();
            }
            Err(error) => assert_one_line(&error.to_string()),
        }
    }
}
