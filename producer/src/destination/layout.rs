//! How rows are laid out in a file, as its name tells.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;

use rollcall_shared::message::Format;

use super::packed::Compression;
use crate::companies::format_of;
use crate::run::Failure;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    /// What stands between two fields of CSV.
    pub(crate) delimiter: u8,
    pub(crate) compression: Option<Compression>,
}

impl Layout {
    /// What is asked for, or else what the name tells, by the rules by which companies are read; nothing where neither does.
    pub(crate) fn of(path: &Path, asked: Option<Format>) -> Option<Layout> {
        let name = path.to_string_lossy().to_lowercase();
        let (name, compression) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
            (Some(name), _) => (name, Some(Compression::Gzip)),
            (_, Some(name)) => (name, Some(Compression::Zstd)),
            (None, None) => (name.as_str(), None),
        };
        let is_tsv = name.ends_with(".tsv");
        Some(Layout { format: format_of(path, asked)?, delimiter: if is_tsv { b'\t' } else { b',' }, compression })
    }

    /// Refuses to show people what they cannot read, and what a terminal would take for commands.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a terminal, where the file is no text.
    pub(crate) fn refuse_terminal(self, file: &File, name: &str) -> Result<(), Failure> {
        if (self.format != Format::Parquet && self.compression.is_none()) || !file.is_terminal() {
            return Ok(());
        }
        Err(Failure::Usage(format!("expected a file or a pipe for what is no text, found a terminal behind {name}; name a file")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_format_delimiter_and_compression_in_any_case() {
        let layout = |name: &str| Layout::of(Path::new(name), None).map(|it| (it.format, it.delimiter, it.compression));
        let (gzip, zstd) = (Some(Compression::Gzip), Some(Compression::Zstd));
        for (name, expected) in [
            ("x.csv", Some((Format::Csv, b',', None))),
            ("a.b/X.CSV", Some((Format::Csv, b',', None))),
            ("x.Tsv", Some((Format::Csv, b'\t', None))),
            ("x.tsv.GZ", Some((Format::Csv, b'\t', gzip))),
            ("x.jsonl", Some((Format::Jsonl, b',', None))),
            ("x.NDJSON.zst", Some((Format::Jsonl, b',', zstd))),
            ("x.parquet", Some((Format::Parquet, b',', None))),
            ("x.parquet.gz", Some((Format::Parquet, b',', gzip))),
            ("-", Some((Format::Csv, b',', None))),
            ("x", None),
            ("x.gz", None),
            ("x.txt", None),
            ("csv", None),
            ("/dev/null", None),
        ] {
            assert_eq!(layout(name), expected, "{name}");
        }
        let asked = |name: &str| Layout::of(Path::new(name), Some(Format::Jsonl)).unwrap();
        assert_eq!((asked("x").format, asked("x.csv").format, asked("-").format), (Format::Jsonl, Format::Jsonl, Format::Jsonl));
        assert_eq!(asked("x.gz").compression, gzip);
    }
}
