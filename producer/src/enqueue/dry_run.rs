//! Reads and checks a whole file, and enqueues nothing.

use indicatif::HumanCount;
use rollcall_shared::terminal::{escape_lines, to_stderr};
use serde_json::json;

use crate::blocking::on_a_thread;
use crate::cli::{EnqueueArgs, Output};
use crate::companies::Companies;
use crate::error::ProducerError;
use crate::output::print;

/// Prints the number of companies, the columns and every bad row.
///
/// # Errors
/// [`ProducerError::BadInput`] if the file cannot be read to its end; [`ProducerError::Usage`] if a row is bad.
pub async fn dry_run(args: EnqueueArgs, output: Output) -> Result<(), ProducerError> {
    // Whatever reads an object must not run on a thread of the runtime.
    on_a_thread(move || check(&args, output)).await?
}

fn check(args: &EnqueueArgs, output: Output) -> Result<(), ProducerError> {
    let mut companies = Companies::open(&args.file, &args.reading.reading())?;
    let (detected, progress) = (companies.detected(), companies.progress());
    let (mut good, mut bad_rows, mut bad) = (0_u64, 0_u64, Vec::new());
    for company in &mut companies {
        match company {
            Ok(_) => good += 1,
            Err(error) if error.is_of_the_environment() => return Err(error.into()),
            Err(error) => {
                to_stderr(&error);
                bad_rows += 1;
                // Kept only for the JSON document: text output has them on standard error already.
                if output == Output::Json {
                    bad.push(error.to_string());
                }
            }
        }
    }
    let file = &args.file;
    let document = json!({
        "file": file.to_string(),
        "companies": good,
        "columns": detected.columns,
        "bad_rows": bad,
        "blank_rows": progress.blank_rows(),
        "detected": detected,
    });
    print(output, &document, || {
        let lines = [format!("{} companies", HumanCount(good)), detected.to_string()].into_iter().chain(progress.remarks());
        escape_lines(lines.map(|line| format!("{file}: {line}")))
    })?;
    if bad_rows == 0 {
        return Ok(());
    }
    Err(ProducerError::Usage(format!("{file}: found {} bad rows; mend them, then enqueue the file", HumanCount(bad_rows))))
}
