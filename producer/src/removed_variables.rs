//! Environment variables that flags had in earlier versions. A script that still sets one would get another command than it asks for: with
//! `ROLLCALL_DRY_RUN=1`, one that enqueues.

use crate::cli::{Command, GenerateArgs, ProducerArgs};
use crate::error::ProducerError;

/// Refuses a variable that no longer exists. One whose flag is given is ignored, since the flag has always overridden it. `is_set` says
/// whether a variable is set and not empty.
///
/// # Errors
/// [`ProducerError::Usage`] if there is one.
pub(crate) fn refuse_removed_variables(args: &ProducerArgs, is_set: impl Fn(&str) -> bool) -> Result<(), ProducerError> {
    let removed = removed(&args.command).into_iter().find(|(variable, _, is_overridden)| !is_overridden && is_set(variable));
    removed.map_or(Ok(()), |(variable, flag, _)| {
        Err(ProducerError::Usage(format!(
            "expected no variable {variable}, which no longer exists, found it set; unset it, and give {flag} instead"
        )))
    })
}

/// The removed variables of a command: the variable, the flag that it stood for, and whether the command line overrides it.
///
/// `ROLLCALL_MAX_ATTEMPTS`, `ROLLCALL_RETRY_DELAYS` and `ROLLCALL_TO` are not among them: the consumer or another command still has them.
/// Neither is `ROLLCALL_COMPANIES`: its flag is required.
fn removed(command: &Command) -> Vec<(&'static str, &'static str, bool)> {
    match command {
        Command::Enqueue(args) => {
            let is_named = args.job.is_some() || args.continue_job.is_some();
            vec![
                ("ROLLCALL_DRY_RUN", "--dry-run", args.dry_run),
                ("ROLLCALL_RESUME", "--continue", is_named),
                ("ROLLCALL_JOB", "--job", is_named),
            ]
        }
        Command::Redrive(args) => vec![
            ("ROLLCALL_CAUSE", "--cause", !args.cause.is_empty()),
            ("ROLLCALL_INDEX", "--index", args.index.is_some()),
            ("ROLLCALL_MISSING", "--missing", args.missing),
            ("ROLLCALL_FILE", "--file", args.file.is_some()),
        ],
        Command::Results(args) => vec![("ROLLCALL_PARTIAL", "--partial", args.partial)],
        Command::Generate(args) => vec![("ROLLCALL_SEED", "--seed", args.seed != GenerateArgs::SEED)],
        Command::Score(_)
        | Command::Serve(_)
        | Command::Status { .. }
        | Command::Watch { .. }
        | Command::Failures { .. }
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn refused(arguments: &[&str], variable: &str) -> Option<String> {
        let args = ProducerArgs::try_parse_from([&["producer"], arguments].concat()).unwrap();
        let error = refuse_removed_variables(&args, |name| name == variable).err()?;
        assert_eq!(error.code(), "usage");
        Some(error.to_string())
    }

    #[test]
    fn a_removed_variable_is_refused_by_its_command_unless_its_flag_is_given() {
        const ENQUEUE: [&str; 4] = ["enqueue", "c.csv", "--model", "m"];
        const REDRIVE: [&str; 2] = ["redrive", "j"];
        const RESULTS: [&str; 2] = ["results", "j"];
        const GENERATE: [&str; 3] = ["generate", "--companies", "1"];
        for (command, variable, flag) in [
            (&ENQUEUE[..], "ROLLCALL_DRY_RUN", &["--dry-run"][..]),
            (&ENQUEUE, "ROLLCALL_RESUME", &["--continue", "j"]),
            (&ENQUEUE, "ROLLCALL_JOB", &["--job", "j"]),
            (&REDRIVE, "ROLLCALL_CAUSE", &["--cause", "timeout"]),
            (&REDRIVE, "ROLLCALL_INDEX", &["--index", "3"]),
            (&REDRIVE, "ROLLCALL_MISSING", &["--missing"]),
            (&REDRIVE, "ROLLCALL_FILE", &["--file", "c.csv"]),
            (&RESULTS, "ROLLCALL_PARTIAL", &["--partial"]),
            (&GENERATE, "ROLLCALL_SEED", &["--seed", "2"]),
        ] {
            let error = refused(command, variable).unwrap();
            assert!(error.contains(variable) && error.contains(flag[0]), "{error}");
            assert_eq!(refused(&[command, flag].concat(), variable), None);
            assert_eq!(refused(&["status"], variable), None);
        }
        assert_eq!(refused(&ENQUEUE, "ROLLCALL_MAX_ATTEMPTS"), None);
    }
}
