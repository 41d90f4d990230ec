//! Which byte stands between the fields of a CSV file: Excel takes `;` where the comma separates decimals, and others take tabs.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use rollcall_shared::message::Delimiter;

use super::ReadOptions;
use super::bad_input::{Fault, Reason};
use super::columns::DEFAULT_ID_COLUMN;

/// What is tried where nobody says it.
const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How much of a file is looked at: so many lines, in so many bytes.
const SAMPLE_LINES: usize = 20;
const SAMPLE_BYTES: usize = 64 * 1024;

/// What a delimiter is called in messages.
pub(super) fn name(delimiter: u8) -> String {
    match delimiter {
        b',' => "a comma".to_owned(),
        b';' => "a semicolon".to_owned(),
        b'\t' => "a tab".to_owned(),
        other => format!("'{}'", char::from(other)),
    }
}

/// Another delimiter that would cut this name of a column.
pub(super) fn inside(name: &str, delimiter: u8) -> Option<u8> {
    CANDIDATES.into_iter().find(|&other| other != delimiter && name.as_bytes().contains(&other))
}

/// The delimiter of a text, and the text from its header on.
pub(super) struct Delimited {
    pub delimiter: u8,
    /// The 1-based line that the text begins on.
    pub first_line: u64,
    pub text: Box<dyn BufRead + Send>,
}

/// Finds the delimiter of `text`: the one asked for, or that the file's `name` tells, or that its first line names as `sep=;`, as
/// Excel writes and reads it; or else the one that cuts the header and the rows below into equally many fields.
///
/// # Errors
/// Two delimiters do so equally well.
pub(super) fn find(mut text: Box<dyn BufRead + Send>, options: &ReadOptions, by_name: Option<u8>) -> Result<Delimited, Fault> {
    let (mut sample, fault) = sample(&mut text);
    if sample.trim_ascii_start().starts_with(b"{\"") {
        return Err(Reason::Foreign("JSON; say so with --format jsonl, or by a name ending in .jsonl").into());
    }
    let declared = declaration(&sample);
    let first_line = if declared.is_some() { 2 } else { 1 };
    if let Some((_, length)) = declared {
        sample.drain(..length);
    }
    let told = options.delimiter.or(declared.map(|(delimiter, _)| delimiter)).or(by_name);
    let delimiter = match told {
        Some(delimiter) => delimiter,
        None => detect(&sample, options.id_column.as_deref().unwrap_or(DEFAULT_ID_COLUMN))?,
    };
    let rest = BufReader::with_capacity(1, Fails(fault)).chain(text);
    Ok(Delimited { delimiter, first_line, text: Box::new(Cursor::new(sample).chain(rest)) })
}

/// The first lines, and what went wrong behind them, which is to be told after their rows. A pipe is not waited for longer than they
/// take.
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

/// Fails once, if at all, and has no bytes.
struct Fails(Option<io::Error>);

impl Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The delimiter that the first line names, and the length of that line.
fn declaration(sample: &[u8]) -> Option<(u8, usize)> {
    let end = sample.iter().position(|&byte| is_line_end(byte))?;
    let line = sample[..end].strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(&sample[..end]);
    let (key, value) = line.split_at_checked(4)?;
    let delimiter: Delimiter = str::from_utf8(value).ok()?.parse().ok()?;
    let length = if sample[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 };
    key.eq_ignore_ascii_case(b"sep=").then_some((delimiter.byte(), length))
}

/// How well a delimiter fits, best last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Whether a column of the header has the name of the one with the ids.
    finds_id: bool,
    /// Whether the rows have as many fields as the header.
    is_even: bool,
    columns: usize,
}

fn detect(sample: &[u8], id_name: &str) -> Result<u8, Fault> {
    let fits = CANDIDATES.iter().filter_map(|&delimiter| Some((fit(sample, delimiter, id_name)?, delimiter)));
    let mut fits: Vec<(Fit, u8)> = fits.collect();
    fits.sort_by_key(|&(fit, _)| std::cmp::Reverse(fit));
    match fits[..] {
        // One column: there is nothing to cut.
        [] => Ok(b','),
        [(best, one), (second, other), ..] if best == second => Err(Fault::from(Reason::TwoDelimiters { one, other })),
        [(_, delimiter), ..] => Ok(delimiter),
    }
}

/// Nothing where this delimiter does not cut the header at all.
fn fit(sample: &[u8], delimiter: u8, id_name: &str) -> Option<Fit> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(sample);
    let mut records = reader.byte_records().filter_map(Result::ok);
    let header = records.next().filter(|header| header.len() > 1)?;
    let finds_id = header.iter().any(|name| name.trim_ascii() == id_name.as_bytes());
    let lengths: Vec<usize> = records.map(|record| record.len()).collect();
    // The sample may end within a record.
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
            // No delimiter cuts the rows evenly: those rows are to be named.
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
