//! The files in an inbox, and since when each has not changed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rollcall_shared::message::Model;

use super::filing::{DONE, FAILED};

/// Names that programs give to files which they are still writing.
const UNFINISHED: [&str; 6] = [".part", ".tmp", ".partial", ".crdownload", ".filepart", "~"];

/// What tells one file from another one of the same name, and from itself after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    is_file: bool,
}

impl Identity {
    /// That of what is at `path` now, a link itself and not what it leads to.
    pub(super) fn of(path: &Path) -> Option<Identity> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Identity {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            is_file: found.is_file(),
        })
    }
}

/// Without the device, whose number may change when it is mounted again.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { inode, bytes, modified: (seconds, nanoseconds), .. } = self;
        write!(f, "{inode}/{bytes}/{seconds}.{nanoseconds:09}")
    }
}

/// A file that is whole.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// The folder that it is in, if that is not the inbox itself.
    folder: Option<String>,
    pub(super) identity: Identity,
}

impl Candidate {
    /// The model that its folder is named after, or why no job can be made of it.
    pub(super) fn model(&self) -> Result<Model, String> {
        if !self.identity.is_file {
            return Err("expected a file, found a link or something else; put the file itself here".to_owned());
        }
        let Some(folder) = &self.folder else {
            return Err(
                "expected it in a folder that is named after its model, found it beside these; move it into one".to_owned()
            );
        };
        folder.parse().map_err(|error| format!("expected a folder that is named after a model: {error}; rename the folder"))
    }
}

/// What has been seen of the files so far.
#[derive(Default)]
pub(super) struct Candidates {
    seen: HashMap<PathBuf, (Identity, Instant)>,
    renamed: HashSet<PathBuf>,
}

impl Candidates {
    /// Notes that a file was renamed into the folder.
    pub(super) fn note_renamed(&mut self, path: PathBuf) {
        self.renamed.insert(path);
    }

    /// Forgets a file that has been dealt with.
    pub(super) fn forget(&mut self, path: &Path) {
        self.seen.remove(path);
        self.renamed.remove(path);
    }

    /// Looks into the inbox; returns the files that are whole: renamed into it, or not changed for the time that it takes to settle.
    pub(super) fn look(&mut self, inbox: &Path, settle: Duration) -> io::Result<Vec<Candidate>> {
        let mut found = HashMap::new();
        let mut ready = Vec::new();
        for (path, folder) in files(inbox)? {
            let Some(identity) = Identity::of(&path) else { continue };
            let since = match self.seen.get(&path) {
                Some((before, since)) if *before == identity => *since,
                _ => Instant::now(),
            };
            if since.elapsed() >= settle || self.renamed.contains(&path) {
                ready.push(Candidate { path: path.clone(), folder, identity: identity.clone() });
            }
            found.insert(path, (identity, since));
        }
        self.renamed.retain(|path| found.contains_key(path));
        self.seen = found;
        ready.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(ready)
    }
}

/// The files of the inbox and of its folders, with the names of the latter.
fn files(inbox: &Path) -> io::Result<Vec<(PathBuf, Option<String>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(inbox)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_dir() {
            files.push((entry.path(), None));
        } else if ![DONE, FAILED].contains(&name.as_str()) {
            // It may have been removed since.
            let within = fs::read_dir(entry.path()).into_iter().flatten().flatten();
            files.extend(
                within
                    .filter(|file| file.file_type().is_ok_and(|kind| !kind.is_dir()))
                    .map(|file| (file.path(), Some(name.clone()))),
            );
        }
    }
    files.retain(|(path, _)| !is_unfinished(path));
    Ok(files)
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.starts_with('.') || UNFINISHED.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_once_it_settled_or_was_renamed_and_one_that_is_being_written_is_not_seen() {
        let inbox = tempfile::tempdir().unwrap();
        let path = |name: &str| inbox.path().join(name);
        for folder in ["risk", "risk/done", "done"] {
            fs::create_dir(path(folder)).unwrap();
        }
        for name in ["risk/a.csv", "risk/b.csv", "risk/.c.csv", "risk/d.csv.part", "risk/done/e.csv", "done/f.csv", "g.csv"] {
            fs::write(path(name), "x").unwrap();
        }
        let mut candidates = Candidates::default();
        let mut ready = |settle| {
            let found = candidates.look(inbox.path(), settle).unwrap();
            found.iter().map(|found| (found.path.clone(), found.model().is_ok())).collect::<Vec<_>>()
        };
        assert_eq!(ready(Duration::from_secs(3_600)), []);
        assert_eq!(ready(Duration::ZERO), [(path("g.csv"), false), (path("risk/a.csv"), true), (path("risk/b.csv"), true)]);
        candidates.note_renamed(path("risk/b.csv"));
        let found = candidates.look(inbox.path(), Duration::from_secs(3_600)).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_change_makes_it_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "x").unwrap();
        let before = Identity::of(&path).unwrap();
        assert_eq!(Identity::of(&path), Some(before.clone()));
        fs::write(&path, "xy").unwrap();
        assert_ne!(Identity::of(&path), Some(before));
    }
}
