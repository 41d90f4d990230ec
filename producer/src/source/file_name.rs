//! What the name of a file says about its contents: format, delimiter and compression, in any case of letters.

use rollcall_shared::message::Format;

use super::compression::Compression;
use crate::location::Location;

/// The format asked for, or else the one that the file's extension names; standard input and output are CSV.
pub(crate) fn format_of(file: &Location, asked: Option<Format>) -> Option<Format> {
    if asked.is_some() {
        return asked;
    }
    if *file == Location::Standard {
        return Some(Format::Csv);
    }
    match split(file).0.as_deref() {
        Some("csv" | "tsv") => Some(Format::Csv),
        Some("jsonl" | "ndjson") => Some(Format::Jsonl),
        Some("parquet") => Some(Format::Parquet),
        _ => None,
    }
}

/// The delimiter that the file's extension implies.
pub(crate) fn delimiter_of(file: &Location) -> Option<u8> {
    (split(file).0.as_deref() == Some("tsv")).then_some(b'\t')
}

/// The compression that the file's name ends in.
pub(crate) fn compression_of(file: &Location) -> Option<Compression> {
    split(file).1
}

/// The extension before that of a compression, and the compression.
fn split(file: &Location) -> (Option<String>, Option<Compression>) {
    let name = file.file_name().to_lowercase();
    let (name, compression) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
        (Some(name), _) => (name, Some(Compression::Gzip)),
        (_, Some(name)) => (name, Some(Compression::Zstd)),
        (None, None) => (name.as_str(), None),
    };
    (name.rsplit_once('.').map(|(_, extension)| extension.to_owned()), compression)
}
