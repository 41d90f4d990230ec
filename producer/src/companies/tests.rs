//! The rules of reading companies, each through the door that callers use.

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
mod real;
mod trouble;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{BadInput, Companies, Company, Format, ReadOptions};

/// What came of reading a file, the folder cut off its name.
#[derive(Debug, Default)]
struct Reading {
    companies: Vec<Company>,
    errors: Vec<String>,
    /// Whether the last error said that it ends the file.
    ended: bool,
}

impl Reading {
    fn records(&self) -> Vec<&str> {
        self.companies.iter().map(|company| str::from_utf8(&company.record).unwrap()).collect()
    }

    fn ids(&self) -> Vec<&str> {
        self.companies.iter().map(|company| company.company_id.as_str()).collect()
    }
}

fn read(name: &str, bytes: impl AsRef<[u8]>) -> Reading {
    read_with(name, bytes, &ReadOptions::default())
}

fn read_with(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> Reading {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let message = |error: &BadInput| error.to_string().replace(&format!("{}/", folder.path().display()), "");

    let mut reading = Reading::default();
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

/// The one error that `name` must give at once.
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

fn at_most(max_record_bytes: usize) -> ReadOptions {
    ReadOptions { max_record_bytes, ..ReadOptions::default() }
}
