//! Temporary files without a name, in the folder that `TMPDIR` names.

use std::env;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::bad_input::{Fault, Reason};

/// Where temporary files are. A variable that is empty is one that is not set.
fn folder() -> PathBuf {
    let named = env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    named.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// A new one.
///
/// # Errors
/// One that says what cannot be created and where, as a [`Fault`] inside.
pub(super) fn create() -> io::Result<File> {
    let folder = folder();
    let created = tempfile::tempfile_in(&folder);
    created.map_err(|error| Fault::from(Reason::TemporaryFile { what: "create", folder, error: plain(error) }).into())
}

/// What is wrong with one that is there.
pub(super) fn fault(error: io::Error) -> Fault {
    let unusable = |error| Reason::TemporaryFile { what: "use", folder: folder(), error }.into();
    error.downcast().unwrap_or_else(unusable)
}

/// The system's own error, without the name that the file would have had.
fn plain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => error.kind().into(),
    }
}
