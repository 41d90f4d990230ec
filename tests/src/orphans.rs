//! Servers that outlived the test process that started them.

use std::fs;
use std::path::{Path, PathBuf};

/// A name for a server of this test process, told by `left_behind` once the process has ended.
pub(crate) fn name(kind: &str, number: usize) -> String {
    format!("{kind}-{}-{number}", std::process::id())
}

/// The folders in `parent` that are named after a test process that has ended: one that was killed did not stop its servers.
pub(crate) fn left_behind(parent: &Path, kind: &str) -> Vec<PathBuf> {
    let is_orphan = |folder: &PathBuf| {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let process = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')?.split('-').next());
        process.is_some_and(has_ended)
    };
    entries(parent).into_iter().filter(is_orphan).collect()
}

/// Whether a process has ended. One that nobody has waited for is still listed, without arguments.
fn has_ended(process: &str) -> bool {
    fs::read(Path::new("/proc").join(process).join("cmdline")).unwrap_or_default().is_empty()
}

/// What is in a folder; nothing if there is no such folder.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_processes_that_have_ended_are_left_behind_and_others_are_not() {
        let parent = tempfile::tempdir().unwrap();
        // No process has this id: it is above the highest that Linux gives.
        let orphan = parent.path().join("server-4194305-1");
        for folder in [
            &orphan,
            &parent.path().join(name("server", 1)),
            &parent.path().join("server"),
            &parent.path().join("other-4194305-1"),
        ] {
            fs::create_dir(folder).unwrap();
        }
        assert_eq!(left_behind(parent.path(), "server"), [orphan]);
    }
}
