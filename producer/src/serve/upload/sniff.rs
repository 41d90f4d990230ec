//! Tells the format of an upload without a name, as `curl -T` sends it, by its first bytes.

use std::io::{self, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use rollcall_shared::message::Format;

use super::body::BodyReader;
use crate::error::ProducerError;
use crate::location::Location;
use crate::source::{Compression, UNTRUSTED_WINDOW_LOG, format_of};

/// The magic number of Parquet.
const PARQUET: &[u8] = b"PAR1";

/// So many decompressed bytes are enough to see what is there.
const HEAD: usize = 4_096;

/// A file of which so many bytes do not tell is taken for CSV. A block of zstd has up to 128 KiB, and unpacks as a whole.
const LONGEST_HEAD: usize = 256 << 10;

/// The reader, and its format: the one asked for, or that of the file's name, or that of the first bytes.
pub(super) async fn with_format(
    mut reader: BodyReader,
    name: &str,
    asked: Option<Format>,
) -> Result<(Box<dyn Read + Send>, Format), ProducerError> {
    let named = format_of(&Location::Path(name.into()), asked);
    let format = match named {
        Some(format) => format,
        None => format_by_content(&mut reader).await.map_err(|error| ProducerError::Usage(error.to_string()))?,
    };
    Ok((Box::new(reader), format))
}

async fn format_by_content(reader: &mut BodyReader) -> io::Result<Format> {
    // A few bytes may be the beginning of a magic number.
    let mut bytes = PARQUET.len();
    loop {
        let head = reader.head(bytes).await?;
        if let Some(format) = format_by(&decompressed(head)) {
            return Ok(format);
        }
        if head.len() < bytes || bytes >= LONGEST_HEAD {
            return Ok(Format::Csv);
        }
        // Twice as many, since a client may send single bytes, and each look is at all of them.
        bytes = head.len() * 2;
    }
}

/// The format that the first bytes tell, if they do.
fn format_by(head: &[u8]) -> Option<Format> {
    let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        _ if head.starts_with(PARQUET) => Some(Format::Parquet),
        _ if PARQUET.starts_with(head) => None,
        Some(b'{') => Some(Format::Jsonl),
        Some(_) => Some(Format::Csv),
        None => None,
    }
}

/// The beginning of what is compressed; as it is, if it is not.
fn decompressed(head: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    // Cut off as it is, it ends in an error, behind as much as there is.
    match Compression::detect(head) {
        Some(Compression::Gzip) => drop(MultiGzDecoder::new(head).take(HEAD as u64).read_to_end(&mut text)),
        Some(Compression::Zstd) => {
            if let Ok(mut decoder) = zstd::Decoder::with_buffer(Cursor::new(head))
                && decoder.window_log_max(UNTRUSTED_WINDOW_LOG).is_ok()
            {
                drop(decoder.take(HEAD as u64).read_to_end(&mut text));
            }
        }
        None => text.extend(&head[..head.len().min(HEAD)]),
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_first_bytes_tell_the_format_also_through_compression_that_is_cut_off() {
        let long = format!("{{\"a\":1}}\n{}", "x".repeat(100_000));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(long.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(Cursor::new(long.as_bytes()), 3).unwrap();
        for (head, expected) in [
            (&b"company_id,name\n"[..], Some(Format::Csv)),
            (b"\n  {\"a\":1}", Some(Format::Jsonl)),
            (b"\xef\xbb\xbf{\"a\":1}", Some(Format::Jsonl)),
            (b"PAR1\x15\x04", Some(Format::Parquet)),
            (b"PA", None),
            (b"   \n\n", None),
            (&gzip[..10], None),
            (&gzip[..gzip.len() / 2], Some(Format::Jsonl)),
            (&zstd, Some(Format::Jsonl)),
        ] {
            assert_eq!(format_by(&decompressed(head)), expected, "{head:?}");
        }
    }

    #[tokio::test]
    async fn a_file_whose_bytes_come_one_by_one_has_the_format_of_the_whole() {
        let text = "{\"company_id\":\"a\"}\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        let zstd = zstd::encode_all(Cursor::new(text.as_bytes()), 3).unwrap();
        for (packed, expected) in [
            (gzip.finish().unwrap(), Format::Jsonl),
            (zstd, Format::Jsonl),
            (text.as_bytes().to_vec(), Format::Jsonl),
            (b"a\n1\n".to_vec(), Format::Csv),
            (b"a\n".to_vec(), Format::Csv),
            (Vec::new(), Format::Csv),
        ] {
            let (to, reader) = BodyReader::channel();
            let sent = packed.clone();
            tokio::spawn(async move {
                for byte in sent {
                    to.0.send(Ok(vec![byte].into())).await.unwrap();
                }
                to.0.send(Ok(axum::body::Bytes::new())).await.unwrap();
            });
            let (mut reader, format) = with_format(reader, "upload", None).await.unwrap();
            assert_eq!(format, expected, "{packed:?}");
            let read = crate::blocking::on_a_thread(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            assert_eq!(read.await.unwrap().unwrap(), packed);
        }
    }
}
