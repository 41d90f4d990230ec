//! The settings of a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::retry::RetryPolicy;
use super::span::Span;
use super::timestamp::{Timestamp, field};
use super::tolerance::Tolerance;

/// Which of a model's two work queues a job's companies wait in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// The normal queue.
    #[default]
    Normal,
    /// The express queue.
    High,
}

/// The format of a file. The docs of the variants are also the help of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    /// Text fields with a header line, quoted as RFC 4180 has it
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

/// The character between the fields of CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delimiter(u8);

impl Delimiter {
    /// The delimiter as it is in a file.
    pub fn byte(self) -> u8 {
        self.0
    }
}

/// Text that is not a delimiter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one character such as ; or |, or tab, found {found:?}")]
pub struct BadDelimiter {
    found: String,
}

impl FromStr for Delimiter {
    type Err = BadDelimiter;
    fn from_str(text: &str) -> Result<Self, BadDelimiter> {
        match *text.as_bytes() {
            _ if text == "tab" || text == "\\t" => Ok(Delimiter(b'\t')),
            [byte] if byte == b'\t' || byte == b' ' || byte.is_ascii_punctuation() && byte != b'"' => Ok(Delimiter(byte)),
            _ => Err(BadDelimiter { found: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for Delimiter {
    type Error = BadDelimiter;
    fn try_from(text: String) -> Result<Self, BadDelimiter> {
        text.parse()
    }
}

impl From<Delimiter> for String {
    fn from(delimiter: Delimiter) -> String {
        delimiter.to_string()
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\t' => f.write_str("tab"),
            byte => write!(f, "{}", char::from(byte)),
        }
    }
}

/// How a job's file is read. It is recorded, so that a process that reads the file again gets the same companies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// The format of the file; `None` if it follows from the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The delimiter of CSV; `None` if it is detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// The columns that are read beside the one with the ids; all of them if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The column with the company's own id; `None` for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// Whether two rows may have the same id.
    pub allow_duplicate_ids: bool,
    /// The longest record that is accepted, in bytes.
    pub max_record_bytes: u32,
}

impl Default for Reading {
    fn default() -> Self {
        Reading {
            format: None,
            delimiter: None,
            columns: Vec::new(),
            id_column: None,
            allow_duplicate_ids: false,
            max_record_bytes: 1 << 20,
        }
    }
}

impl Reading {
    fn is_default(&self) -> bool {
        *self == Reading::default()
    }
}

/// The settings of one job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which of the model's work queues its companies wait in.
    #[serde(default)]
    pub priority: Priority,
    /// How often a company is tried, and after which delays; `None` leaves that to the consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Failures with which the job still succeeds.
    #[serde(default)]
    pub tolerate_failures: Tolerance,
    /// Whether the job ends as soon as it has more failures than that.
    #[serde(default)]
    pub fail_fast: bool,
    /// When the job expires. If it has `deadline_seconds`, this is that deadline by the clock of its producer, for display only.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "field::deadline_at")]
    pub deadline_at: Option<Timestamp>,
    /// How long after its opening the job expires. The aggregator counts from when it reads the opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<Span>,
    /// The hash of its file; `None` if it came by standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// How its file is read.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub reading: Reading,
    /// Where a gateway writes its results once it has ended: a path or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_to: Option<String>,
    /// The id of the gateway that receives its file from a client, and cannot be resumed by another one; `None` for other files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_mark_or_a_tab() {
        for (text, byte) in [(";", b';'), ("|", b'|'), ("\t", b'\t'), ("\\t", b'\t'), ("tab", b'\t'), (" ", b' ')] {
            let delimiter: Delimiter = text.parse().unwrap();
            assert_eq!(delimiter.byte(), byte);
            assert_eq!(serde_json::from_value::<Delimiter>(serde_json::to_value(delimiter).unwrap()).unwrap(), delimiter);
        }
        for text in ["", "\"", "\n", "a", "1", "é", ";;"] {
            assert!(text.parse::<Delimiter>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn how_the_file_is_read_is_told_where_it_is_not_as_usual() {
        let usual = serde_json::to_value(Settings::default()).unwrap();
        assert!(usual.get("reading").is_none(), "{usual}");
        assert_eq!(serde_json::from_value::<Settings>(usual).unwrap(), Settings::default());
        let reading = Reading {
            format: Some(Format::Jsonl),
            delimiter: Some(";".parse().unwrap()),
            columns: vec!["a".to_owned()],
            id_column: Some("id".to_owned()),
            ..Reading::default()
        };
        let settings = Settings { reading, ..Settings::default() };
        let told = serde_json::to_value(&settings).unwrap();
        let told_of = |what: &str| told["reading"][what].to_string();
        assert_eq!(["format", "delimiter", "columns", "id_column"].map(told_of), ["\"jsonl\"", "\";\"", "[\"a\"]", "\"id\""]);
        assert_eq!(serde_json::from_value::<Settings>(told).unwrap(), settings);
    }
}
