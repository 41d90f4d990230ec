//! The options of a job: those of `producer enqueue`, as keys of the configuration and as parameters of a request.

use rollcall_shared::message::{Delimiter, Format, Job, Model, Tolerance};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::bad_config::BadConfig;
use super::parsed;
use crate::cli::{Deadline, EnqueueArgs, FailureArgs, PriorityChoice, ReadingArgs, ResultsTo};
use crate::location::Location;

/// The options of a job. All may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JobOptions {
    pub(crate) priority: PriorityChoice,
    #[serde(deserialize_with = "parsed::optional")]
    pub(crate) tolerate_failures: Option<Tolerance>,
    #[serde(deserialize_with = "parsed::parsed")]
    pub(crate) fail_fast: bool,
    #[serde(deserialize_with = "parsed::optional")]
    pub(crate) deadline: Option<Deadline>,
    #[serde(deserialize_with = "parsed::optional")]
    pub(crate) max_attempts: Option<std::num::NonZeroU32>,
    pub(crate) retry_delays: Option<String>,
    pub(crate) format: Option<Format>,
    pub(crate) id_column: Option<String>,
    #[serde(deserialize_with = "columns")]
    pub(crate) columns: Vec<String>,
    pub(crate) delimiter: Option<Delimiter>,
    #[serde(deserialize_with = "parsed::parsed")]
    pub(crate) allow_duplicate_ids: bool,
    #[serde(deserialize_with = "parsed::optional")]
    pub(crate) max_record_bytes: Option<std::num::NonZeroU32>,
    /// Where the results are written once the job has ended: a path or a URL, in which `{job}`, `{model}` and `{name}` are replaced, the
    /// latter by the name of the file without its extensions.
    #[serde(deserialize_with = "parsed::optional")]
    pub(crate) results_to: Option<ResultsTo>,
}

/// Names of columns: a list, or one text with commas.
fn columns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Columns {
        Text(String),
        List(Vec<String>),
    }
    let names: Vec<String> = match Columns::deserialize(from)? {
        Columns::Text(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        Columns::List(names) => names,
    };
    match names.iter().any(String::is_empty) {
        true => Err(D::Error::custom("expected names of columns, found an empty one")),
        false => Ok(names),
    }
}

/// The options, and parameters of requests, that messages name as flags.
const NAMED: [&str; 12] = [
    "allow_duplicate_ids",
    "columns",
    "deadline",
    "delimiter",
    "file",
    "format",
    "id_column",
    "job",
    "max_record_bytes",
    "missing",
    "partial",
    "retry_delays",
];

/// A message of `producer enqueue` for those who set no flags: `--id-column` is `id_column`.
pub(crate) fn with_option_names(message: &str) -> String {
    NAMED.iter().fold(message.to_owned(), |message, name| message.replace(&format!("--{}", name.replace('_', "-")), name))
}

impl JobOptions {
    /// What no single option shows.
    pub(crate) fn check(&self) -> Result<(), BadConfig> {
        self.enqueue_args(Location::Standard, None, None)
            .settings(None, false)
            .map(drop)
            .map_err(|error| BadConfig(with_option_names(&error.to_string())))
    }

    /// The same as flags of `producer enqueue`.
    pub(crate) fn enqueue_args(&self, file: Location, model: Option<Model>, job: Option<Job>) -> EnqueueArgs {
        EnqueueArgs {
            file,
            model,
            job,
            wait: false,
            dry_run: false,
            continue_job: None,
            priority: self.priority,
            results_to: self.results_to.clone(),
            reading: ReadingArgs {
                format: self.format,
                id_column: self.id_column.clone(),
                columns: self.columns.clone(),
                delimiter: self.delimiter,
                allow_duplicate_ids: self.allow_duplicate_ids,
                max_record_bytes: self.max_record_bytes.map(std::num::NonZeroU32::get),
            },
            failures: FailureArgs {
                tolerate_failures: self.tolerate_failures.unwrap_or_default(),
                fail_fast: self.fail_fast,
                deadline: self.deadline,
                max_attempts: self.max_attempts.map(std::num::NonZeroU32::get),
                retry_delays: self.retry_delays.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_options_and_not_flags() {
        let message = "mend one or pass --allow-duplicate-ids; say so with --format csv";
        assert_eq!(with_option_names(message), "mend one or pass allow_duplicate_ids; say so with format csv");
        let delays = JobOptions { retry_delays: Some("2d".to_owned()), ..JobOptions::default() };
        let refused = delays.check().unwrap_err().to_string();
        assert!(refused.starts_with("retry_delays: expected delays"), "{refused}");
    }
}
