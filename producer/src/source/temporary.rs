//! Temporary files without a name, in the folder that `TMPDIR` names.

use std::env;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::error::SourceError;

/// The folder of temporary files. An empty `TMPDIR` counts as unset.
fn folder() -> PathBuf {
    let named = env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    named.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// Creates an unnamed temporary file, which the system removes once it is closed.
pub(crate) fn create() -> Result<File, SourceError> {
    let folder = folder();
    let created = tempfile::tempfile_in(&folder);
    created.map_err(|error| SourceError::TemporaryFile { action: "create", folder, error: without_path(error) })
}

/// The error to report if reading or writing a temporary file failed.
pub(crate) fn unusable(error: io::Error) -> SourceError {
    error.downcast().unwrap_or_else(|error| SourceError::TemporaryFile { action: "use", folder: folder(), error })
}

/// The system's error alone: `tempfile` adds the random path that the file would have had.
fn without_path(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => error.kind().into(),
    }
}
