//! Moves files of an inbox out of the way, with what became of them beside them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanCount;
use rollcall_shared::message::Job;
use rollcall_shared::terminal::escape_controls;

use crate::error::ProducerError;

/// The folders of files that have been dealt with.
pub(super) const DONE: &str = "done";
pub(super) const FAILED: &str = "failed";

/// Moves a file to `done/` beside it, and names its job there.
pub(super) fn file_as_done(path: &Path, job: &Job, total: Option<u64>) -> Result<(), ProducerError> {
    let total = total.map_or_else(String::new, |total| format!(" with {} companies", HumanCount(total)));
    let note = format!("job {job}{total} is enqueued; `producer watch {job}` follows it\n");
    move_into(path, path, DONE, "job.txt", &note)
}

/// Moves a file to `failed/` beside it, with the reason.
pub(super) fn file_as_failed(path: &Path, inbox: &Path, reason: &str) -> Result<(), ProducerError> {
    // What is wrong with a file in no folder is where it is.
    let beside = if path.parent() == Some(inbox) { inbox.join("file") } else { path.to_owned() };
    move_into(path, &beside, FAILED, "reason.txt", &format!("{}\n", escape_controls(reason)))
}

fn move_into(path: &Path, beside: &Path, folder: &str, note_name: &str, note: &str) -> Result<(), ProducerError> {
    let moved = || -> io::Result<()> {
        let folder = beside.with_file_name(folder);
        fs::create_dir_all(&folder)?;
        let target = free_name(&folder, path);
        // First: whoever sees the file finds the note.
        fs::write(with_suffix(&target, note_name), note)?;
        fs::rename(path, &target)
    };
    moved().map_err(|error| {
        ProducerError::System(format!(
            "cannot move {} to {folder}/: {error}; the gateway must be able to write to the inbox and its folders",
            path.display()
        ))
    })
}

/// A name in the folder that no other file has: a file of the same name may have been there before.
fn free_name(folder: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names = std::iter::once(name.clone()).chain((2_u32..).map(|number| match name.split_once('.') {
        Some((stem, rest)) => format!("{stem}-{number}.{rest}"),
        None => format!("{name}-{number}"),
    }));
    let mut paths = names.map(|name| folder.join(name));
    let free = paths.find(|path| fs::symlink_metadata(path).is_err());
    free.unwrap_or_else(|| folder.join(name))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_moved_with_a_note_and_takes_no_name_of_another() {
        let inbox = tempfile::tempdir().unwrap();
        let folder = inbox.path().join("risk");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("c.csv.gz");
        for text in ["one", "two"] {
            fs::write(&path, text).unwrap();
            file_as_failed(&path, inbox.path(), "row 1:\nbad").unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.join("failed").join(name)).unwrap();
        assert_eq!((read("c.csv.gz"), read("c-2.csv.gz")), ("one".to_owned(), "two".to_owned()));
        assert_eq!(read("c-2.csv.gz.reason.txt"), "row 1:\\nbad\n");
        fs::write(&path, "three").unwrap();
        file_as_done(&path, &"j".parse().unwrap(), Some(1_000)).unwrap();
        assert!(fs::read_to_string(folder.join("done/c.csv.gz.job.txt")).unwrap().starts_with("job j with 1,000 companies"));
        assert!(!path.exists());
    }
}
