//! The hash by which a file is recognised when its job is continued.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::blocking::on_a_thread;
use crate::companies::{BadInput, is_of_the_system};
use crate::error::ProducerError;
use crate::location::Location;
use crate::object;
use crate::source::SourceError;

/// The hash of a file's bytes, or what the server of an object says to know it by; `None` if the file can be read only once, or its server
/// says too little.
pub(crate) async fn content_hash(file: &Location) -> Result<Option<String>, ProducerError> {
    let path = match file {
        Location::Standard => return Ok(None),
        Location::Url(url) => {
            let found = object::content_hash(url).await;
            return found.map_err(|error| BadInput::of_source(&file.input_name(), SourceError::Object(Box::new(error))).into());
        }
        Location::Path(path) => path,
    };
    // A pipe must not be opened here: its writer would see its reader go away. A path that cannot be read at all is reported when its
    // rows are read.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let path = path.clone();
    match on_a_thread(move || hash(&path)).await? {
        Ok(hash) => Ok(Some(hash)),
        Err(error) => {
            let message = format!("cannot read {file}: {error}");
            Err(if is_of_the_system(&error) { ProducerError::System(message) } else { ProducerError::Usage(message) })
        }
    }
}

/// The same file for each time that it is read: of a URL, the object that is there now.
pub(crate) async fn pin(file: Location) -> Result<Location, ProducerError> {
    match &file {
        Location::Url(_) => {
            let found = content_hash(&file).await?;
            Ok(file.pinned(found))
        }
        Location::Standard | Location::Path(_) => Ok(file),
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
        assert_eq!(content_hash(&file.path().into()).await.unwrap(), Some(expected));
        assert_eq!(content_hash(&Path::new("/dev/null").into()).await.unwrap(), None);
    }
}
