//! Prints what the producer reads from files of companies, which `tests/formats` compares with what other programs read.
//!
//! Each line of standard input is a JSON object with a `file` and, optionally, a `reading`: options as in the `opened` event. The
//! answer is one line with the `file`, its `rows` in order, each with `index`, `company_id` and `record`, or with an `error`, and
//! `refused`, the error that ended the file.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;

use rollcall_producer::companies::{Companies, Company};
use rollcall_shared::message::Reading;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Request {
    file: PathBuf,
    #[serde(default)]
    reading: Reading,
}

#[derive(Serialize)]
struct Answer {
    file: PathBuf,
    rows: Vec<Row>,
    refused: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Company { index: u32, company_id: String, record: Box<RawValue> },
    Bad { error: String },
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lines() {
        let answer = read(serde_json::from_str(&line?)?)?;
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Fails if a record is not JSON.
fn read(Request { file, reading }: Request) -> Result<Answer, Box<dyn Error>> {
    let mut answer = Answer { file, rows: Vec::new(), refused: None };
    let companies = match Companies::open(&answer.file, &reading) {
        Ok(companies) => companies,
        Err(error) => return Ok(Answer { refused: Some(error.to_string()), ..answer }),
    };
    for company in companies {
        match company {
            Ok(Company { index, company_id, record }) => {
                let record = RawValue::from_string(String::from_utf8(record)?)?;
                answer.rows.push(Row::Company { index, company_id, record });
            }
            Err(error) if error.ends_file() => answer.refused = Some(error.to_string()),
            Err(error) => answer.rows.push(Row::Bad { error: error.to_string() }),
        }
    }
    Ok(answer)
}
