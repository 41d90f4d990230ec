//! Finds the delimiter of a CSV file: Excel writes `;` in countries with decimal commas, and other programs write tabs.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use rollcall_shared::message::{Delimiter, Reading as ReadOptions};

use super::super::bad_input::{Fault, Reason};
use super::super::columns::DEFAULT_ID_COLUMN;
use crate::source::SourceError;

/// The delimiters that are tried if none is given.
const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How much of a file is looked at: at least this many lines or bytes, if it has them.
const SAMPLE_LINES: usize = 20;
const SAMPLE_BYTES: usize = 64 * 1024;

/// Another delimiter that occurs in this column name: the header may have been cut at the wrong byte.
pub(super) fn inside(name: &str, delimiter: u8) -> Option<u8> {
    CANDIDATES.into_iter().find(|&other| other != delimiter && name.as_bytes().contains(&other))
}

/// The delimiter of a text, and the text from its header on.
pub(super) struct Delimited {
    pub delimiter: u8,
    /// The 1-based line of the file on which the text begins.
    pub first_line: u64,
    pub text: Box<dyn BufRead + Send>,
}

/// Finds the delimiter of `text`: the one asked for, or that its first line names as `sep=;` for Excel, or that the file's name
/// implies; or else the one that cuts the header and the rows below into equally many fields.
///
/// # Errors
/// Two delimiters fit equally well, or the text is JSON.
pub(super) fn find(mut text: Box<dyn BufRead + Send>, options: &ReadOptions, by_name: Option<u8>) -> Result<Delimited, Fault> {
    let (mut sample, error) = sample(&mut text);
    if sample.trim_ascii_start().starts_with(b"{\"") {
        return Err(SourceError::NotText("JSON; say so with --format jsonl, or by a name ending in .jsonl").into());
    }
    let list = sample.trim_ascii_start().strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    if list.is_some_and(|list| list.starts_with(b"{\"")) {
        return Err(SourceError::NotText(
            "a JSON list; write one object a line, as pandas does with to_json(…, orient=\"records\", lines=True)",
        )
        .into());
    }
    let declared = declaration(&sample);
    let first_line = if declared.is_some() { 2 } else { 1 };
    if let Some((_, length)) = declared {
        sample.drain(..length);
    }
    let given = options.delimiter.map(Delimiter::byte).or(declared.map(|(delimiter, _)| delimiter)).or(by_name);
    let delimiter = match given {
        Some(delimiter) => delimiter,
        None => detect(&sample, options.id_column.as_deref().unwrap_or(DEFAULT_ID_COLUMN))?,
    };
    let rest = BufReader::with_capacity(1, FailOnce(error)).chain(text);
    Ok(Delimited { delimiter, first_line, text: Box::new(Cursor::new(sample).chain(rest)) })
}

/// The first lines, and the error behind them, if there was one: it is reported after their rows. Reads no more than it needs, since
/// a pipe may be slow.
fn sample(text: &mut impl BufRead) -> (Vec<u8>, Option<io::Error>) {
    let mut sample = Vec::new();
    let mut lines = 0;
    while lines < SAMPLE_LINES && sample.len() < SAMPLE_BYTES {
        let bytes = match text.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => bytes,
            Err(error) => return (sample, Some(error)),
        };
        lines += bytes.iter().filter(|&&byte| is_line_end(byte)).count();
        sample.extend_from_slice(bytes);
        let read = bytes.len();
        text.consume(read);
    }
    (sample, None)
}

/// Has no bytes, and fails once if it holds an error.
struct FailOnce(Option<io::Error>);

impl Read for FailOnce {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The delimiter that the first line declares as `sep=;`, and the length of that line with its end.
fn declaration(sample: &[u8]) -> Option<(u8, usize)> {
    let end = sample.iter().position(|&byte| is_line_end(byte))?;
    let line = sample[..end].strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(&sample[..end]);
    let (key, value) = line.split_at_checked(4)?;
    let delimiter: Delimiter = str::from_utf8(value).ok()?.parse().ok()?;
    let length = if sample[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 };
    key.eq_ignore_ascii_case(b"sep=").then_some((delimiter.byte(), length))
}

/// How well a delimiter fits; the greatest is best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Whether the header has the column with the ids.
    finds_id: bool,
    /// Whether all rows have as many fields as the header.
    is_even: bool,
    columns: usize,
}

fn detect(sample: &[u8], id_name: &str) -> Result<u8, Fault> {
    let fits = CANDIDATES.iter().filter_map(|&delimiter| Some((fit(sample, delimiter, id_name)?, delimiter)));
    let mut fits: Vec<(Fit, u8)> = fits.collect();
    fits.sort_by_key(|&(fit, _)| std::cmp::Reverse(fit));
    match fits[..] {
        // A single column.
        [] => Ok(b','),
        [(best, one), (second, other), ..] if best == second => Err(Fault::from(Reason::TwoDelimiters { one, other })),
        [(_, delimiter), ..] => Ok(delimiter),
    }
}

/// `None` if the header does not contain this delimiter.
fn fit(sample: &[u8], delimiter: u8, id_name: &str) -> Option<Fit> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(sample);
    let mut records = reader.byte_records().filter_map(Result::ok);
    let header = records.next().filter(|header| header.len() > 1)?;
    let finds_id = header.iter().any(|name| name.trim_ascii() == id_name.as_bytes());
    let lengths: Vec<usize> = records.map(|record| record.len()).collect();
    // The sample may end in the middle of a record.
    let whole = if lengths.len() > 1 { &lengths[..lengths.len() - 1] } else { &lengths[..] };
    Some(Fit { finds_id, is_even: whole.iter().all(|&length| length == header.len()), columns: header.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &'static str) -> (u8, u64, String) {
        let Delimited { delimiter, first_line, mut text } =
            find(Box::new(text.as_bytes()), &ReadOptions::default(), None).ok().unwrap();
        let mut rest = String::new();
        text.read_to_string(&mut rest).unwrap();
        (delimiter, first_line, rest)
    }

    #[test]
    fn the_delimiter_is_the_one_that_cuts_header_and_rows_alike() {
        let cases = [
            ("a,b\n1,2\n", b','),
            ("a;b\r\n1;2\r\n", b';'),
            ("a\tb\n1\t2\n", b'\t'),
            ("a|b\n1|2\n", b'|'),
            ("a;\"b, c\";d\n1;2,5;3\n", b';'),
            ("a;b\n\"1;1\";2,5\n", b';'),
            ("company_id,notes;more\nx,y;z\n", b','),
            ("company_id;revenue, EUR\nx;1,5\n", b';'),
            ("company id\nAcme; the first\n", b','),
            ("a;b;c\n1;2,5;3\n4;5,5;6\n", b';'),
            // No delimiter cuts the rows evenly; the rows will be reported.
            ("a,b\n1\n1,2,3\n", b','),
        ];
        for (text, delimiter) in cases {
            assert_eq!(found(text), (delimiter, 1, text.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_first_line_that_names_the_delimiter_is_skipped() {
        for text in ["sep=;\r\na;b\r\n", "SEP=;\na;b\r\n", "\"sep=;\"\ra;b\r\n"] {
            assert_eq!(found(text), (b';', 2, "a;b\r\n".to_owned()), "{text:?}");
        }
        for column in ["sep=,x\n1,2\n", "sep=\"\n1\n", "sep=a\n1\n"] {
            assert_eq!(found(column).1, 1, "a column of that name: {column}");
        }
    }

    #[test]
    fn two_delimiters_that_fit_equally_well_are_named() {
        let fault = find(Box::new(&b"a,b;c\n1,2;3\n"[..]), &ReadOptions::default(), None).err().unwrap();
        assert!(fault.to_string().contains("a comma and a semicolon"), "{fault}");
    }
}
