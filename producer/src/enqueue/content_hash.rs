//! The hash by which a file is recognised when its job is continued.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::blocking::on_a_thread;
use crate::companies::is_of_the_system;
use crate::error::ProducerError;

/// The hash of the file's bytes; `None` if they can be read only once.
pub(super) async fn content_hash(path: &Path) -> Result<Option<String>, ProducerError> {
    // A pipe must not be opened here: its writer would see its reader go away. A path that cannot be read at all is reported when its
    // rows are read.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let file = path.to_owned();
    match on_a_thread(move || hash(&file)).await? {
        Ok(hash) => Ok(Some(hash)),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            Err(if is_of_the_system(&error) { ProducerError::System(message) } else { ProducerError::Usage(message) })
        }
    }
}

fn hash(path: &Path) -> io::Result<String> {
    let mut hash = Xxh3::new();
    // Larger reads than the 8 kB of `io::copy`, for files of many gigabytes.
    io::copy(&mut io::BufReader::with_capacity(1 << 20, File::open(path)?), &mut hash)?;
    Ok(format!("xxh3:{:032x}", hash.digest128()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn a_file_has_a_hash_of_its_bytes_and_what_is_read_once_has_none() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"company_id\na\n").unwrap();
        let expected = format!("xxh3:{:032x}", xxhash_rust::xxh3::xxh3_128(b"company_id\na\n"));
        assert_eq!(content_hash(file.path()).await.unwrap(), Some(expected));
        assert_eq!(content_hash(Path::new("/dev/null")).await.unwrap(), None);
    }
}
