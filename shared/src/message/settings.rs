//! What a job's owner asks for, beyond the model and the file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{RetryPolicy, Span, Timestamp, Tolerance};

/// Which of a model's two queues a job's companies wait in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// In turn.
    #[default]
    Normal,
    /// Ahead of the normal ones.
    High,
}

/// How a file holds its rows. What follows is also the help of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text fields with a header line, quoted as RFC 4180 has it
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
        })
    }
}

/// What stands between the fields of CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delimiter(u8);

impl Delimiter {
    /// It as it stands in a file.
    pub fn byte(self) -> u8 {
        self.0
    }
}

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match *text.as_bytes() {
            _ if text == "tab" || text == "\\t" => Ok(Delimiter(b'\t')),
            [byte] if byte == b'\t' || byte == b' ' || byte.is_ascii_punctuation() && byte != b'"' => Ok(Delimiter(byte)),
            _ => Err(format!("expected one character such as ; or |, or tab, found {text:?}")),
        }
    }
}

impl TryFrom<String> for Delimiter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
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

/// How a job's file is read: whoever reads it again must come to the same companies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// What the file holds; nothing where its name says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// What stands between the fields of CSV; nothing where the file shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// The columns that are read beside the one with the ids; all of them where none are named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The column with the company's own id; nothing for the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// Whether two rows may have the same id.
    pub allow_duplicate_ids: bool,
    /// The longest record let in, in bytes.
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

/// What holds for one job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which of the model's queues its companies wait in.
    #[serde(default)]
    pub priority: Priority,
    /// How often a company is tried; nothing where consumers decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Failures with which the job still succeeds.
    #[serde(default)]
    pub tolerate_failures: Tolerance,
    /// Whether the job ends as soon as it has more failures than that.
    #[serde(default)]
    pub fail_fast: bool,
    /// When the job expires. Of one with `deadline_seconds`, when that is by the clock of its producer: to be shown, and no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
    /// How long after its opening the job expires; the aggregator counts from when it reads the opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<Span>,
    /// What its file's bytes hash to; nothing where it came by standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// How its file is read.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub reading: Reading,
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
