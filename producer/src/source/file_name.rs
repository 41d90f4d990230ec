//! What the name of a file says about its contents: format, delimiter and compression, in any case of letters.

use std::path::Path;

use rollcall_shared::message::Format;

use super::compression::Compression;

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

pub(super) fn is_standard_input(path: &Path) -> bool {
    path == Path::new(STANDARD_INPUT)
}

/// The name of the file at `path` in messages.
pub(crate) fn display_name(path: &Path) -> String {
    if is_standard_input(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// The format asked for, or else the one that the file's extension names; standard input and output are CSV.
pub(crate) fn format_of(path: &Path, asked: Option<Format>) -> Option<Format> {
    if asked.is_some() {
        return asked;
    }
    if is_standard_input(path) {
        return Some(Format::Csv);
    }
    match split(path).0.as_deref() {
        Some("csv" | "tsv") => Some(Format::Csv),
        Some("jsonl" | "ndjson") => Some(Format::Jsonl),
        Some("parquet") => Some(Format::Parquet),
        _ => None,
    }
}

/// The delimiter that the file's extension implies.
pub(crate) fn delimiter_of(path: &Path) -> Option<u8> {
    (split(path).0.as_deref() == Some("tsv")).then_some(b'\t')
}

/// The compression that the file's name ends in.
pub(crate) fn compression_of(path: &Path) -> Option<Compression> {
    split(path).1
}

/// The extension before that of a compression, and the compression.
fn split(path: &Path) -> (Option<String>, Option<Compression>) {
    let name = path.to_string_lossy().to_lowercase();
    let (name, compression) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
        (Some(name), _) => (name, Some(Compression::Gzip)),
        (_, Some(name)) => (name, Some(Compression::Zstd)),
        (None, None) => (name.as_str(), None),
    };
    (name.rsplit_once('.').map(|(_, extension)| extension.to_owned()), compression)
}
