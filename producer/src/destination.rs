//! Where a file is written to: a path, standard output, a pipe, or an object.
//!
//! A file or an object appears under its name only once it is complete. Pipes and devices are written to directly.

mod layout;
mod local;
mod packed;
mod sink;

use std::error::Error;
use std::fs;
use std::io;
use std::iter::successors;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::terminal::escape_controls;

use crate::blocking::on_a_thread;
use crate::error::ProducerError;
use crate::location::Location;
use crate::object::{self, ObjectError, Upload};
pub(crate) use layout::Layout;
use local::{LocalPlacement, is_standard_output_path, open_now};
pub(crate) use packed::Packed;
pub(crate) use sink::{Sink, Written};

/// How long an interrupted command waits for a server that is to make an object of what it has.
const PLACED_WITHIN: Duration = Duration::from_secs(10);

/// Whether something stands for standard output.
pub(crate) fn is_standard_output(to: &Location) -> bool {
    match to {
        Location::Standard => true,
        Location::Path(path) => is_standard_output_path(path),
        Location::Url(_) => false,
    }
}

/// The name of a destination in messages.
pub(crate) fn name(to: &Location) -> String {
    if is_standard_output(to) { "standard output".to_owned() } else { to.to_string() }
}

/// How a file gets its name once everything is written.
pub(crate) struct Placement {
    name: String,
    by: By,
}

enum By {
    Local(LocalPlacement),
    Upload(Upload),
}

impl Placement {
    /// Whether there will be a file or an object of this name. A pipe and a device have no contents to be found later.
    pub(crate) fn is_kept(&self) -> bool {
        !matches!(self.by, By::Local(LocalPlacement::Direct))
    }

    /// Gives the file its name. This is not interrupted, since then nobody would know whether it has it, unless a server does not answer.
    pub(crate) async fn place(self, shutdown: &Shutdown) -> Result<(), ProducerError> {
        let name = self.name;
        let upload = match self.by {
            By::Local(file) => return file.place().map_err(|error| ProducerError::Write { file: name, error }),
            By::Upload(upload) => upload,
        };
        let waited_for = async {
            shutdown.requested().await;
            tokio::time::sleep(PLACED_WITHIN).await;
        };
        tokio::select! {
            completed = upload.complete() => completed.map_err(|error| cannot_upload(name, error)),
            () = waited_for => Err(ProducerError::Interrupted(format!("interrupted before the server has answered whether {name} is there; look for it"))),
        }
    }

    /// Leaves no file; waits until nothing of an upload is left. Returns the cause of `error`: a writer knows only that its upload has ended.
    pub(crate) async fn discard(self, error: ProducerError) -> ProducerError {
        match self.by {
            By::Local(_) => error,
            By::Upload(upload) => upload.discard().await.map_or(error, |cause| cannot_upload(self.name, cause)),
        }
    }
}

fn cannot_upload(name: String, error: ObjectError) -> ProducerError {
    match error {
        ObjectError::NotWritable => ProducerError::Usage(format!("{name}: {error}")),
        error => ProducerError::Upload { name, reason: error.to_string() },
    }
}

/// Opens a destination for writing; a path on a thread of its own, since opening a pipe waits for its reader.
///
/// # Errors
/// [`ProducerError::Usage`] for a folder or a web server, [`ProducerError::Write`] for an error of the file system, [`ProducerError::Upload`]
/// for one of object storage.
pub(crate) async fn open(to: &Location) -> Result<(Sink, Placement), ProducerError> {
    let name = name(to);
    let path = match to {
        Location::Url(url) => {
            return match object::upload(url).await {
                Ok((writer, upload)) => Ok((Sink::upload(writer), Placement { name, by: By::Upload(upload) })),
                Err(error) => Err(cannot_upload(name, error)),
            };
        }
        Location::Standard => Path::new("-").to_owned(),
        Location::Path(path) => path.clone(),
    };
    match on_a_thread(move || open_now(&path)).await? {
        Ok((file, placement)) => Ok((Sink::file(file), Placement { name, by: By::Local(placement) })),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            Err(ProducerError::Usage(format!("expected a file to write, found the folder {name}; name a file in it")))
        }
        Err(error) => Err(ProducerError::Write { file: name, error }),
    }
}

/// Checks that a destination can be written to in this layout, and leaves nothing behind.
///
/// # Errors
/// As [`open`] and [`Layout::refuse_terminal`].
pub(crate) async fn check(to: &Location, layout: Layout) -> Result<(), ProducerError> {
    match to {
        Location::Url(url) => return object::check(url).await.map_err(|error| cannot_upload(name(to), error)),
        // The reader of a pipe would take the end of this check for the end of the results.
        Location::Path(path) if !is_standard_output(to) && fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) => {
            return Ok(());
        }
        Location::Path(_) | Location::Standard => {}
    }
    let (sink, _removed_on_drop) = open(to).await?;
    layout.refuse_terminal(&sink, &name(to))
}

/// Refuses what nothing can be written to.
///
/// # Errors
/// [`ProducerError::Usage`].
pub(crate) fn refuse_web(to: &Location) -> Result<(), ProducerError> {
    match to {
        Location::Url(url) if url.is_on_the_web() => Err(cannot_upload(name(to), ObjectError::NotWritable)),
        _ => Ok(()),
    }
}

/// Refuses the file that is read from: the results would replace it.
///
/// # Errors
/// [`ProducerError::Usage`].
pub(crate) fn refuse_the_input(to: &Location, input: &Location) -> Result<(), ProducerError> {
    let is_same = match (to, input) {
        (Location::Url(to), Location::Url(input)) => to.is_same_object(input),
        (Location::Path(to), Location::Path(input)) => match (fs::metadata(to), fs::metadata(input)) {
            (Ok(found), Ok(read)) => found.is_file() && (found.dev(), found.ino()) == (read.dev(), read.ino()),
            _ => false,
        },
        _ => false,
    };
    if !is_same {
        return Ok(());
    }
    let name = name(to);
    let name = escape_controls(&name);
    Err(ProducerError::Usage(format!(
        "expected --to with another file than the companies', found {name} for both; name a new file"
    )))
}

/// The result of writing; `None` if the reader of a pipe has closed it, which is no failure.
///
/// # Errors
/// [`ProducerError::Write`] for any other error.
pub(crate) fn unless_reader_left<T>(written: io::Result<T>, name: &str) -> Result<Option<T>, ProducerError> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(error) if has_reader_left(&error) => Ok(None),
        Err(error) => Err(ProducerError::Write { file: name.to_owned(), error }),
    }
}

fn has_reader_left(error: &io::Error) -> bool {
    // An encoder may have wrapped the error.
    let first: &(dyn Error + 'static) = error;
    successors(Some(first), |error| (*error).source())
        .any(|error| error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_left_is_known_by_whatever_wraps_the_error() {
        let left = || io::Error::from(io::ErrorKind::BrokenPipe);
        let by_parquet = io::Error::from(parquet::errors::ParquetError::from(left()));
        assert!([left(), by_parquet].iter().all(has_reader_left));
        assert!(!has_reader_left(&io::Error::from(io::ErrorKind::StorageFull)));
    }
}
