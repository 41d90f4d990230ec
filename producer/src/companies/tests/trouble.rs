use std::fs::OpenOptions;
use std::io::{self, Write};

use super::*;
use crate::companies::bad_input::Fault;
use crate::source::{SourceError, temporary};

/// The error of a file that is cut to half of its size once its first company has been read.
fn cut_after_the_first_row(name: &str, bytes: &[u8]) -> BadInput {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let mut companies = Companies::open(&path, &ReadOptions::default()).unwrap();
    companies.next().unwrap().unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes.len() as u64 / 2).unwrap();
    companies.find_map(Result::err).unwrap_or_else(|| panic!("half of {name} has passed for the whole"))
}

/// Text that does not compress well.
fn scattered(row: u32) -> String {
    format!("{:x}", xxhash_rust::xxh3::xxh3_128(&row.to_le_bytes()))
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_read_does_not_pass_for_the_whole() {
    let rows: String = (0..100_000_u32).map(|row| format!("{row},{}\n", scattered(row))).collect();
    let csv = format!("company_id,x\n{rows}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    for (name, bytes) in [("a.csv", csv.into_bytes()), ("a.csv.gz", gzip.finish().unwrap())] {
        let error = cut_after_the_first_row(name, &bytes);
        assert!(error.is_of_the_environment(), "{error}");
        assert!(error.to_string().contains("it has become shorter while it was read"), "{error}");
    }
}

#[test]
fn a_parquet_file_that_becomes_shorter_while_it_is_read_is_not_called_damaged() {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use arrow_array::{RecordBatch, StringArray};

    let batch = |group: u32| {
        let values: Vec<String> = (0..20_000).map(|row| scattered(group * 20_000 + row)).collect();
        RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(values)) as _)]).unwrap()
    };
    let mut writer = ArrowWriter::try_new(Vec::new(), batch(0).schema(), None).unwrap();
    for group in 0..6 {
        writer.write(&batch(group)).unwrap();
        writer.flush().unwrap();
    }
    let error = cut_after_the_first_row("a.parquet", &writer.into_inner().unwrap());
    assert!(error.is_of_the_environment(), "{error}");
    assert!(error.to_string().contains("it has become shorter while it was read"), "{error}");
}

#[test]
fn errors_of_the_system_are_told_from_those_of_a_name() {
    let fault = |code| BadInput::in_file("a.csv", SourceError::CannotOpen(io::Error::from_raw_os_error(code)).into());
    for (code, words) in [(5, "look at the disk"), (24, "ulimit -n"), (23, "ulimit -n"), (12, "look at the disk")] {
        assert!(fault(code).is_of_the_environment() && fault(code).to_string().contains(words), "{}", fault(code));
    }
    for code in [2, 13, 20, 21, 36, 40] {
        assert!(!fault(code).is_of_the_environment(), "{}", fault(code));
        assert!(fault(code).to_string().ends_with("check the path and its permissions"), "{}", fault(code));
    }
}

#[test]
fn a_full_disk_under_a_temporary_file_is_not_a_bad_row() {
    let full = BadInput::in_file("a.csv", temporary::unusable(io::ErrorKind::StorageFull.into()).into());
    assert!(full.is_of_the_environment() && full.ends_file());
    assert!(full.to_string().contains("cannot use a temporary file in "), "{full}");
}

#[test]
fn an_error_of_the_system_is_found_in_the_words_of_the_parquet_library() {
    let error = ::parquet::errors::ParquetError::External(Box::new(io::Error::from_raw_os_error(5)));
    let fault = BadInput::in_file("a.parquet", Fault::from(arrow_schema::ArrowError::from(error)));
    assert!(fault.is_of_the_environment(), "{fault}");
}
