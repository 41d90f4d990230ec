//! Reads and checks a whole file, and enqueues nothing.

use rollcall_shared::terminal::{escape_lines, to_stderr};
use serde_json::json;

use crate::cli::{EnqueueArgs, Output};
use crate::companies::Companies;
use crate::run::Failure;
use crate::status::{print, thousands};

/// Reports rows, columns and every bad row.
///
/// # Errors
/// [`Failure::Input`] where the file cannot be read, or not to its end, [`Failure::Usage`] where a row is bad, or a job is to be resumed: how
/// its file is read is known to the broker alone.
pub fn dry_run(args: &EnqueueArgs, output: Output) -> Result<(), Failure> {
    if let Some(job) = &args.resume {
        return Err(Failure::Usage(format!("expected --dry-run or --resume {job}, found both; leave one out")));
    }
    let mut companies = Companies::open(&args.file, &args.reading())?;
    let (detected, progress) = (companies.detected(), companies.progress());
    let (mut good, mut bad_rows, mut bad) = (0_u64, 0_u64, Vec::new());
    for company in &mut companies {
        match company {
            Ok(_) => good += 1,
            Err(trouble) if trouble.is_of_the_environment() => return Err(trouble.into()),
            Err(error) => {
                to_stderr(&error);
                bad_rows += 1;
                // Kept for the one document only: a text is printed as it comes.
                if output == Output::Json {
                    bad.push(error.to_string());
                }
            }
        }
    }
    let file = args.file.display();
    let document = json!({
        "file": file.to_string(),
        "companies": good,
        "columns": detected.columns,
        "bad_rows": bad,
        "blank_rows": progress.blank_rows(),
        "detected": detected,
    });
    print(output, &document, || {
        let lines = [format!("{} companies", thousands(good)), detected.to_string()].into_iter().chain(progress.remarks());
        escape_lines(lines.map(|line| format!("{file}: {line}")))
    })?;
    if bad_rows == 0 {
        return Ok(());
    }
    Err(Failure::Usage(format!("{file}: found {} bad rows; mend them, then enqueue the file", thousands(bad_rows))))
}
