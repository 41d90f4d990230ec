//! What the consumer's executable does if the consumer itself has started it again: it is a launcher of one scorer, or the guard of all.

use std::ffi::OsString;

use super::{guard, launcher};
use crate::error::Error;

/// `main` calls this first, with the arguments after the program's name. If the first of them asks for a launcher or a guard, this process
/// becomes that, and the call returns only on an error. Otherwise it returns at once.
///
/// # Errors
/// If a launcher cannot start its scorer.
pub fn run_launcher_or_guard(mut arguments: impl Iterator<Item = OsString>) -> Result<(), Error> {
    match arguments.next() {
        Some(word) if word == launcher::LAUNCH => match launcher::launch(arguments)? {},
        Some(word) if word == guard::GUARD => {
            guard::guard();
            std::process::exit(0)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_is_asked_for_by_its_first_argument_only() {
        for arguments in [vec![], vec!["--model", "m"], vec!["--model", launcher::LAUNCH]] {
            assert!(run_launcher_or_guard(arguments.into_iter().map(OsString::from)).is_ok());
        }
    }
}
