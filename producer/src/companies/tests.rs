//! The rules of reading companies, tested through [`Companies`].

mod any_input;
mod columns;
mod csv;
mod ids;
mod jsonl;
mod limits;
mod packed;
mod parquet;
mod parquet_schemas;
mod parquet_times;
mod parquet_types;
mod real;
mod trouble;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{BadInput, Companies, Company, Format, ReadOptions};

/// The outcome of reading a file; errors have its name without the folder.
#[derive(Debug, Default)]
struct ReadOutcome {
    companies: Vec<Company>,
    errors: Vec<String>,
    /// Whether the last error ended the file.
    ended: bool,
}

impl ReadOutcome {
    fn records(&self) -> Vec<&str> {
        self.companies.iter().map(|company| str::from_utf8(&company.record).unwrap()).collect()
    }

    fn ids(&self) -> Vec<&str> {
        self.companies.iter().map(|company| company.company_id.as_str()).collect()
    }
}

fn read(name: &str, bytes: impl AsRef<[u8]>) -> ReadOutcome {
    read_with(name, bytes, &ReadOptions::default())
}

fn read_with(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> ReadOutcome {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let message = |error: &BadInput| error.to_string().replace(&format!("{}/", folder.path().display()), "");

    let mut reading = ReadOutcome::default();
    match Companies::open(&path, options) {
        Ok(companies) => {
            for company in companies {
                match company {
                    Ok(company) => reading.companies.push(company),
                    Err(error) => {
                        assert!(!reading.ended, "read on after the end of the file");
                        reading.ended = error.ends_file();
                        reading.errors.push(message(&error));
                    }
                }
            }
        }
        Err(error) => {
            reading.ended = error.ends_file();
            reading.errors.push(message(&error));
        }
    }
    reading
}

/// The error of a file that is refused as a whole.
fn refusal(name: &str, bytes: impl AsRef<[u8]>) -> String {
    refusal_with(name, bytes, &ReadOptions::default())
}

fn refusal_with(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> String {
    let reading = read_with(name, bytes, options);
    assert!(reading.companies.is_empty(), "companies came out of {name}: {reading:?}");
    assert!(reading.ended, "the error should end the file: {reading:?}");
    let [error] = reading.errors.try_into().unwrap();
    error
}

fn id_column(name: &str) -> ReadOptions {
    ReadOptions { id_column: Some(name.to_owned()), ..ReadOptions::default() }
}

fn at_most(max_record_bytes: u32) -> ReadOptions {
    ReadOptions { max_record_bytes, ..ReadOptions::default() }
}
