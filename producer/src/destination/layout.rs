//! The format, delimiter and compression of a file to be written.

use rollcall_shared::message::Format;

use super::sink::Sink;
use crate::error::ProducerError;
use crate::location::Location;
use crate::source::{Compression, compression_of, delimiter_of, format_of};

/// How rows are written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    /// The byte between two fields of CSV.
    pub(crate) delimiter: u8,
    pub(crate) compression: Option<Compression>,
}

impl Layout {
    /// By the format asked for, or else by the name of the file, with the rules by which companies are read; `None` if neither
    /// names a format.
    pub(crate) fn of(to: &Location, asked: Option<Format>) -> Option<Layout> {
        Some(Layout {
            format: format_of(to, asked)?,
            delimiter: delimiter_of(to).unwrap_or(b','),
            compression: compression_of(to),
        })
    }

    /// Refuses to write binary data to a terminal, which would take some of it for commands.
    pub(crate) fn refuse_terminal(self, sink: &Sink, name: &str) -> Result<(), ProducerError> {
        if (self.format != Format::Parquet && self.compression.is_none()) || !sink.is_terminal() {
            return Ok(());
        }
        Err(ProducerError::Usage(format!(
            "expected a file or a pipe for what is no text, found a terminal behind {name}; name a file"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_format_delimiter_and_compression_in_any_case() {
        let layout = |name: &str| Layout::of(&name.parse().unwrap(), None).map(|it| (it.format, it.delimiter, it.compression));
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
            ("s3://bucket.csv/x", None),
            ("S3://bucket/a.b/X.CSV.gz", Some((Format::Csv, b',', gzip))),
        ] {
            assert_eq!(layout(name), expected, "{name}");
        }
        let asked = |name: &str| Layout::of(&name.parse().unwrap(), Some(Format::Jsonl)).unwrap();
        assert_eq!((asked("x").format, asked("x.csv").format, asked("-").format), (Format::Jsonl, Format::Jsonl, Format::Jsonl));
        assert_eq!(asked("x.gz").compression, gzip);
    }
}
