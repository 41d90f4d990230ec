//! Parameters of requests. Unknown ones are refused, and so are those without a value.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use rollcall_shared::message::{Job, Model};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

use crate::serve::config::{BadConfig, JobOptions, explained_beside};
use crate::serve::http::problem::Problem;

/// The job that a path names.
pub(crate) fn parse_job(name: &str) -> Result<Job, Problem> {
    name.parse().map_err(|error| Problem::new(StatusCode::NOT_FOUND, "no_such_job", format!("{error}")))
}

/// The pairs of a query string.
pub(crate) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// The fields of a form that were filled in: a browser sends the others too, without a value.
pub(crate) fn filled(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.retain(|(_, value)| !value.is_empty());
    fields
}

/// Reads parameters.
pub(crate) fn read<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, Problem> {
    read_beside(pairs, &[])
}

/// The same where there are `other` parameters, which have been taken out.
fn read_beside<T: DeserializeOwned>(pairs: &[(String, String)], other: &[&str]) -> Result<T, Problem> {
    check_pairs(pairs)?;
    let text: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let parameters = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(parameters).map_err(|error| {
        let (name, found) = (error.path().to_string(), error.inner().to_string());
        let explained = explained_beside(&found, other);
        // Of an unknown parameter, the explanation names it.
        let value = pairs.iter().find(|(given, _)| *given == name && explained == found).map(|(_, value)| value);
        Problem::bad_request(value.map_or(explained, |value| format!("{name}={value}: {found}")))
    })
}

/// Each parameter once, with a value.
fn check_pairs(pairs: &[(String, String)]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for (name, value) in pairs {
        if value.is_empty() {
            return Err(Problem::bad_request(format!("expected a value of {name}, found none; give one, or leave {name} out")));
        }
        if !seen.insert(name) {
            return Err(Problem::bad_request(format!("expected {name} once, found it again; leave one out")));
        }
    }
    Ok(())
}

/// What is uploaded.
#[derive(Debug, Clone)]
pub(crate) struct UploadParameters {
    pub(crate) model: Model,
    pub(crate) job: Option<Job>,
    pub(crate) file_name: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) options: JobOptions,
}

impl UploadParameters {
    /// Reads them.
    pub(crate) fn read(mut pairs: Vec<(String, String)>) -> Result<UploadParameters, Problem> {
        check_pairs(&pairs)?;
        let mut take = |name: &str| {
            let at = pairs.iter().position(|(key, _)| key == name)?;
            Some(pairs.remove(at).1)
        };
        let (model, job, file_name, dry_run) = (take("model"), take("job"), take("file_name"), take("dry_run"));
        let bad = |error: &dyn std::fmt::Display| Problem::bad_request(error.to_string());
        let model = model.ok_or_else(|| bad(&"expected model, the model to score with, found none; add model=NAME"))?;
        let dry_run = match dry_run.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(bad(&format!("expected dry_run=true or false, found {other:?}"))),
        };
        let options: JobOptions = read_beside(&pairs, &["model", "job", "file_name", "dry_run"])?;
        // Each is well-formed, and they cannot be followed nevertheless.
        let unusable = |error: BadConfig| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_options", error.to_string());
        options.check().map_err(unusable)?;
        Ok(UploadParameters {
            model: model.parse().map_err(|error| bad(&error))?,
            job: job.map(|job| job.parse()).transpose().map_err(|error| bad(&error))?,
            file_name,
            dry_run,
            options,
        })
    }
}

/// For the description of the API: what [`UploadParameters`] reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is only described")]
pub(super) struct UploadQuery {
    /// The model to score with.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    model: String,
    /// The job's name; a unique one by default.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    job: Option<String>,
    /// The name of the file: its extension says the format if `format` does not. Without either, the first bytes do.
    #[param(min_length = 1)]
    file_name: Option<String>,
    /// Whether to check the file and enqueue nothing.
    dry_run: Option<bool>,
    /// `auto`, `normal` or `high`.
    #[param(pattern = "^(auto|normal|high)$")]
    priority: Option<String>,
    /// Failures with which the job still succeeds: a number, or a part such as `1%`.
    #[param(pattern = "^([0-9]{1,9}|[0-9]{1,2}(\\.[0-9]{1,9})?%|100%)$")]
    tolerate_failures: Option<String>,
    /// Whether to end the job as soon as it has more failures than that.
    fail_fast: Option<bool>,
    /// When the job ends at the latest: a span such as `2h`, or a time to come, with its offset from UTC.
    #[param(schema_with = deadline)]
    deadline: Option<String>,
    /// Attempts at a company whose failure may be temporary.
    #[param(minimum = 1)]
    max_attempts: Option<u32>,
    /// Delays between attempts, such as `1s,10s,1m`, each of at most a day.
    #[param(pattern = "^[1-9][0-9]{0,4}(ms|s|m|h|d)(,[1-9][0-9]{0,4}(ms|s|m|h|d)){0,7}$")]
    retry_delays: Option<String>,
    /// `csv`, `jsonl` or `parquet`.
    #[param(pattern = "^(csv|jsonl|parquet)$")]
    format: Option<String>,
    /// The column with the company's own id.
    #[param(min_length = 1)]
    id_column: Option<String>,
    /// The columns that the model needs, with commas between.
    #[param(pattern = "^[^,\\s]+(,[^,\\s]+)*$")]
    columns: Option<String>,
    /// The character between the fields of CSV, a space or punctuation, or `tab`.
    #[param(pattern = "^(tab|[\\t !#-/:-@\\[-`{-~])$")]
    delimiter: Option<String>,
    /// Whether two rows may have the same id.
    allow_duplicate_ids: Option<bool>,
    /// The longest accepted record, in bytes.
    #[param(minimum = 1, maximum = 15728640)]
    max_record_bytes: Option<u32>,
    /// Where the results are written once the job has ended: a place that the gateway's configuration allows, in which `{job}`, `{model}` and
    /// `{name}`, of the file, are replaced.
    #[param(
        pattern = "^((s3|gs|az)://[a-z0-9][a-z0-9-]{1,61}[a-z0-9]/|/)?([^{}/.?\\s\\x00-\\x1f\\x7f-\\x9f]|\\{(job|model|name)\\})([^{}/?\\s\\x00-\\x1f\\x7f-\\x9f]|/[^{}/.?\\s\\x00-\\x1f\\x7f-\\x9f]|\\{(job|model|name)\\})*\\.(csv|jsonl|parquet)$"
    )]
    results_to: Option<String>,
}

fn deadline() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let span = text().pattern(Some("^[1-9][0-9]{0,4}(ms|s|m|h|d)$"));
    let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    AnyOfBuilder::new().item(span).item(time).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> String {
        UploadParameters::read(pairs(Some(query))).unwrap_err().detail().to_owned()
    }

    #[test]
    fn what_is_wrong_with_a_parameter_is_told_with_its_name_and_value() {
        for (query, words) in [
            ("model=m&max_attempts=many", "max_attempts=many: "),
            ("model=m&max_attempts=0", "max_attempts=0: "),
            ("model=m&fail_fast=1", "fail_fast=1: "),
            ("model=m&format=xlsx", "format=xlsx: "),
            ("model=m&format=", "leave format out"),
            ("model=m&model=n", "expected model once"),
            ("model=m&fromat=csv", "did you mean"),
            ("format=csv", "expected model"),
        ] {
            assert!(refused(query).contains(words), "{query}: {}", refused(query));
        }
        UploadParameters::read(filled(pairs(Some("model=m&format=&max_attempts=2")))).unwrap();
    }
}
