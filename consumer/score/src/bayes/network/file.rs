//! Reads the bytes of a network's file, and unpacks gzip. Other binary formats are recognised by their first bytes and refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::error::Error;

/// The most bytes of a file, packed and unpacked. The largest network of the bnlearn repository has 6 MB.
const MAX_BYTES: u64 = 64 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// Other formats that networks are stored in: their first bytes, what they are, and what the user can do.
const OTHER_KINDS: [(&[u8], &str, &str); 7] = [
    (GZIP, "gzip inside gzip", "unpack it once"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unpack it, or pack it with gzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "unpack it, or pack it with gzip"),
    (b"BZh", "bzip2", "unpack it, or pack it with gzip"),
    (b"PK\x03\x04", "a zip archive", "unpack it, and name one file of it"),
    (&[0xff, 0xfe], "text in UTF-16", "save it as UTF-8"),
    (&[0xfe, 0xff], "text in UTF-16", "save it as UTF-8"),
];

/// The bytes of the file at `path`, unpacked.
///
/// # Errors
/// If it can't be read, is too large, or is a known binary format.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |error| Error::UnreadableNetwork { path: path.to_owned(), error };
    let too_large = || Error::NetworkTooLarge { path: path.to_owned(), most: MAX_BYTES };
    let not_text = |found: String, remedy| Error::NetworkNotText { path: path.to_owned(), found, remedy };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = at_most(file, MAX_BYTES).map_err(unreadable)?.ok_or_else(too_large)?;
    if bytes.starts_with(GZIP) {
        bytes = unpack(&bytes, not_text)?.ok_or_else(too_large)?;
    }
    match OTHER_KINDS.iter().find(|(head, ..)| bytes.starts_with(head)) {
        Some((_, found, remedy)) => Err(not_text((*found).to_owned(), remedy)),
        None => Ok(bytes),
    }
}

/// All bytes of `from`, or `None` if there are more than `most`.
fn at_most(from: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = from.take(most + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= most).then_some(bytes))
}

/// Unpacks gzip of any number of members. As with gzip itself, zeros may follow them: tapes and some file systems pad their blocks
/// with zeros. `None` if there are more than [`MAX_BYTES`]. `not_text` makes an error of what was found and what to do.
fn unpack(mut packed: &[u8], not_text: impl Fn(String, &'static str) -> Error) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    while packed.starts_with(GZIP) {
        let room = MAX_BYTES - bytes.len() as u64;
        match at_most(GzDecoder::new(&mut packed), room) {
            Ok(Some(member)) => bytes.extend(member),
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(not_text("gzip that is cut short".to_owned(), "copy the file again"));
            }
            Err(error) => return Err(not_text(format!("damaged gzip ({error})"), "copy the file again")),
        }
    }
    if packed.iter().any(|&byte| byte != 0) {
        return Err(not_text("other bytes behind the end of gzip".to_owned(), "remove them, or pack the file again"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_back(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn gzip_of_several_members_and_with_zeros_behind_it_is_unpacked() {
        let packed = [gzip(b"network "), gzip(b""), gzip(b"n {}")].concat();
        for zeros in [0, 1, 512] {
            assert_eq!(read_back(&[&packed[..], &vec![0; zeros]].concat()).unwrap(), b"network n {}");
        }
        assert_eq!(read_back(b"network n {}").unwrap(), b"network n {}");
    }

    #[test]
    fn gzip_that_is_cut_short_damaged_or_followed_by_other_bytes_is_called_that() {
        let packed = gzip(b"network n {}");
        for length in [2, 9, packed.len() / 2, packed.len() - 1] {
            let error = read_back(&packed[..length]).unwrap_err();
            assert!(error.contains("gzip that is cut short; copy"), "{length}: {error}");
        }
        let mut damaged = packed.clone();
        let crc = damaged.len() - 8;
        damaged[crc] ^= 1;
        assert!(read_back(&damaged).unwrap_err().contains("damaged gzip ("));
        assert!(read_back(&[&packed[..], b"\n"].concat()).unwrap_err().contains("other bytes behind the end of gzip"));
    }

    #[test]
    fn gzip_that_unpacks_to_more_than_a_network_has_is_too_large() {
        let zeros = vec![b' '; 1 << 20];
        let member = gzip(&zeros);
        let members = usize::try_from(MAX_BYTES >> 20).unwrap();
        assert!(read_back(&member.repeat(members)).is_ok());
        let error = read_back(&[member.repeat(members), gzip(b" ")].concat()).unwrap_err();
        assert!(error.contains("at most 67108864 bytes"), "{error}");
    }

    #[test]
    fn another_kind_of_file_is_called_by_its_name() {
        let gzip_in_gzip = gzip(&gzip(b"network n {}"));
        let cases: [(&[u8], &str); 4] = [
            (&gzip_in_gzip, "gzip inside gzip; unpack it once"),
            (b"\x28\xb5\x2f\xfd\x00", "found zstd; unpack it"),
            (b"PK\x03\x04\x00", "found a zip archive; unpack it"),
            (b"\xff\xfen\0e\0t\0", "found text in UTF-16; save it as UTF-8"),
        ];
        for (bytes, message) in cases {
            let error = read_back(bytes).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
