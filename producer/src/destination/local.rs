//! Files of this machine: written beside their place, and renamed once they are complete.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

/// A new file's mode, less the umask.
const NEW_FILE: u32 = 0o666;

/// Set-user-id, set-group-id and sticky bits, and the permissions.
const MODE: u32 = 0o7777;

/// Whether a path stands for standard output.
pub(super) fn is_standard_output_path(path: &Path) -> bool {
    // A shell may have redirected it to a file, which must not be replaced by its name.
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name))
}

/// How a file gets its name once everything is written.
pub(super) enum LocalPlacement {
    /// It was written to under its name.
    Direct,
    /// A temporary file is renamed.
    Staged {
        /// Removed on drop.
        temporary: TempPath,
        /// The final path, with symbolic links resolved.
        target: PathBuf,
    },
}

impl LocalPlacement {
    /// Gives the file its name. If it is dropped instead, no new file is left.
    pub(super) fn place(self) -> io::Result<()> {
        match self {
            LocalPlacement::Direct => Ok(()),
            LocalPlacement::Staged { temporary, target } => temporary.persist(target).map_err(|error| error.error),
        }
    }
}

/// Opens a path for writing. Pipes and devices are written to directly, and opening a pipe waits for its reader.
pub(super) fn open_now(path: &Path) -> io::Result<(File, LocalPlacement)> {
    if is_standard_output_path(path) {
        return Ok((File::from(io::stdout().as_fd().try_clone_to_owned()?), LocalPlacement::Direct));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => replace(&fs::canonicalize(path)?, &found),
        Ok(_) => Ok((OpenOptions::new().write(true).open(path)?, LocalPlacement::Direct)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => stage(&resolve_links(path), NEW_FILE),
        Err(error) => Err(error),
    }
}

/// A temporary file that will replace another, with the same mode, and the same owner if this process may set it.
fn replace(target: &Path, found: &Metadata) -> io::Result<(File, LocalPlacement)> {
    // Fails for a read-only file, which renaming would replace, since that needs only a writable folder.
    OpenOptions::new().write(true).open(target)?;
    let mode = found.mode() & MODE;
    let (file, placement) = stage(target, mode)?;
    drop(fchown(&file, Some(found.uid()), Some(found.gid())));
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok((file, placement))
}

/// A temporary file in the folder of `target`, so that it can be renamed to it.
fn stage(target: &Path, mode: u32) -> io::Result<(File, LocalPlacement)> {
    let (Some(folder), Some(_)) = (target.parent(), target.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
    };
    if target.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    let (file, temporary) = file.into_parts();
    Ok((file, LocalPlacement::Staged { temporary, target: target.to_owned() }))
}

/// The missing file that a chain of symbolic links leads to; a path that is no link unchanged.
fn resolve_links(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    // Ends: the system has followed the links before, and would have reported a loop.
    while let Ok(next) = fs::read_link(&target) {
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    target
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use tempfile::{TempDir, tempdir};

    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let (mut file, placement) = open_now(path)?;
        file.write_all(text.as_bytes())?;
        placement.place()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & MODE
    }

    /// The mode of a new file that is created by `fs::write`.
    fn usual_mode(folder: &TempDir) -> u32 {
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        mode(&usual)
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_new_file_and_an_old_one_keeps_its_own() {
        let folder = tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        write(&new, "new").unwrap();
        assert_eq!((mode(&new), fs::read_to_string(&new).unwrap().as_str()), (usual_mode(&folder), "new"));
        fs::write(&old, "longer than what replaces it").unwrap();
        for kept in [0o600, 0o664, 0o777, 0o4755] {
            fs::set_permissions(&old, Permissions::from_mode(kept)).unwrap();
            write(&old, "old").unwrap();
            assert_eq!((mode(&old), fs::read_to_string(&old).unwrap().as_str()), (kept, "old"));
        }
    }

    #[test]
    fn a_link_stays_and_the_file_behind_it_is_written_even_where_there_is_none_yet() {
        let folder = tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("data")).unwrap();
        fs::write(path("data/there"), "before").unwrap();
        for (link, to) in [("a", "data/there"), ("b", "a"), ("c", "data/new"), ("d", "c"), ("data/e", "../data/f")] {
            symlink(to, path(link)).unwrap();
            write(&path(link), link).unwrap();
            assert_eq!(fs::read_link(path(link)).unwrap(), Path::new(to));
            assert_eq!(fs::read_to_string(path(link)).unwrap(), link);
        }
        assert!(["data/there", "data/new", "data/f"].iter().all(|file| fs::symlink_metadata(path(file)).unwrap().is_file()));
        symlink("loop", path("loop")).unwrap();
        assert!(write(&path("loop"), "").is_err());
    }

    #[test]
    fn what_is_not_placed_leaves_the_old_file_and_no_other() {
        let folder = tempdir().unwrap();
        let old = folder.path().join("old");
        fs::write(&old, "old").unwrap();
        let (mut file, placement) = open_now(&old).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        drop(placement);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    }

    #[test]
    fn a_device_is_written_into_and_a_folder_is_refused() {
        let folder = tempdir().unwrap();
        let null = folder.path().join("null");
        symlink("/dev/null", &null).unwrap();
        for device in [Path::new("/dev/null"), &null] {
            assert!(matches!(open_now(device), Ok((_, LocalPlacement::Direct))), "{}", device.display());
        }
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        for (path, kind) in [
            (folder.path().to_owned(), io::ErrorKind::IsADirectory),
            (folder.path().join("no-such/"), io::ErrorKind::IsADirectory),
            (folder.path().join("no-such/x"), io::ErrorKind::NotFound),
            (folder.path().join(".."), io::ErrorKind::IsADirectory),
            (PathBuf::new(), io::ErrorKind::InvalidInput),
        ] {
            assert_eq!(open_now(&path).err().map(|error| error.kind()), Some(kind), "{}", path.display());
        }
    }
}
