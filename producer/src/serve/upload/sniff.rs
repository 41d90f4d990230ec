//! Tells the format of an upload without a name, as `curl -T` sends it, by its first bytes.

use std::io::{Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use rollcall_shared::message::Format;

use super::body::BodyReader;
use crate::error::ProducerError;
use crate::location::Location;
use crate::source::{Compression, format_of};

/// The magic number of Parquet.
const PARQUET: &[u8] = b"PAR1";

/// So many decompressed bytes are enough to see what is there.
const HEAD: usize = 4_096;

/// The reader, and its format: the one asked for, or that of the file's name, or that of the first bytes.
pub(super) async fn with_format(
    mut reader: BodyReader,
    name: &str,
    asked: Option<Format>,
) -> Result<(Box<dyn Read + Send>, Format), ProducerError> {
    let named = format_of(&Location::Path(name.into()), asked);
    let format = match named {
        Some(format) => format,
        None => {
            let head = reader.head().await.map_err(|error| ProducerError::Usage(error.to_string()))?;
            format_by(&decompressed(head))
        }
    };
    Ok((Box::new(reader), format))
}

fn format_by(head: &[u8]) -> Format {
    let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        _ if head.starts_with(PARQUET) => Format::Parquet,
        Some(b'{') => Format::Jsonl,
        _ => Format::Csv,
    }
}

/// The beginning of what is compressed; as it is, if it is not.
fn decompressed(head: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    // Cut off as it is, it ends in an error, behind as much as there is.
    match Compression::detect(head) {
        Some(Compression::Gzip) => drop(MultiGzDecoder::new(head).take(HEAD as u64).read_to_end(&mut text)),
        Some(Compression::Zstd) => {
            if let Ok(decoder) = zstd::Decoder::with_buffer(Cursor::new(head)) {
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
            (&b"company_id,name\n"[..], Format::Csv),
            (b"\n  {\"a\":1}", Format::Jsonl),
            (b"\xef\xbb\xbf{\"a\":1}", Format::Jsonl),
            (b"PAR1\x15\x04", Format::Parquet),
            (b"", Format::Csv),
            (&gzip[..gzip.len() / 2], Format::Jsonl),
            (&zstd, Format::Jsonl),
        ] {
            assert_eq!(format_by(&decompressed(head)), expected, "{head:?}");
        }
    }
}
