//! The manifest beside a file of results: what they are, whether they are all, and how to know that the file is whole.

use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;

use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Job, JobStatus, Model, State, Timestamp};
use serde::Serialize;

use crate::blocking::on_a_thread;
use crate::destination::{self, Layout, Written, unless_reader_left};
use crate::error::ProducerError;
use crate::location::Location;
use crate::source::Compression;

/// The form of the manifest; one that a reader of this one would misread has another.
const TYPE: &str = "rollcall.results.v1";

/// What stands in a manifest.
#[derive(Serialize)]
pub(super) struct Manifest<'a> {
    r#type: &'static str,
    job: &'a Job,
    model: Option<&'a Model>,
    state: State,
    /// Whether the job had not ended: it may have more results now.
    partial: bool,
    /// How often the job had been redriven.
    round: u32,
    source: Option<&'a str>,
    content_hash: Option<&'a str>,
    opened_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    counts: Counts,
    parts: [Part<'a>; 1],
    written_at: Timestamp,
    rollcall_version: &'static str,
}

#[derive(Serialize)]
struct Counts {
    total: Option<u64>,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    rows: u64,
}

/// A file of results, in the folder of the manifest.
#[derive(Serialize)]
struct Part<'a> {
    file: &'a str,
    format: String,
    compression: Option<&'static str>,
    bytes: u64,
    rows: u64,
    sha256: &'a str,
}

impl<'a> Manifest<'a> {
    pub(super) fn of(status: &'a JobStatus, rows: u64, file: &'a str, layout: Layout, written: &'a Written) -> Manifest<'a> {
        let JobStatus { job, model, state, source, opened_at, done_at, settings, .. } = status;
        let JobStatus { total, succeeded, failed, cancelled, .. } = *status;
        let part = Part {
            file,
            format: layout.format.to_string(),
            compression: layout.compression.map(Compression::name),
            bytes: written.bytes,
            rows,
            sha256: &written.sha256,
        };
        Manifest {
            r#type: TYPE,
            job,
            model: model.as_ref(),
            state: *state,
            partial: done_at.is_none(),
            round: status.redrives,
            source: source.as_deref(),
            content_hash: settings.content_hash.as_deref(),
            opened_at: *opened_at,
            done_at: *done_at,
            counts: Counts { total, succeeded, failed, cancelled, rows },
            parts: [part],
            written_at: Timestamp::now(),
            rollcall_version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Writes it to a place of its own; it appears there once it is whole.
    ///
    /// # Errors
    /// As for the results.
    pub(super) async fn write(&self, to: &Location, shutdown: &Shutdown) -> Result<(), ProducerError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| ProducerError::System(error.to_string()))?;
        text.push('\n');
        let (mut sink, placement) = destination::open(to).await?;
        let written = on_a_thread(move || {
            sink.write_all(text.as_bytes())?;
            sink.finish()
        });
        match written.await.and_then(|written| unless_reader_left(written, &destination::name(to))) {
            Ok(_) => placement.place(shutdown).await,
            Err(error) => Err(placement.discard(error).await),
        }
    }
}

/// Where the manifest of the results at `results` stands: `results.manifest.json` beside `results.parquet` or `results.csv.gz`; `None` if
/// they are not kept under a name.
pub(super) fn place_of(results: &Location) -> Option<Location> {
    let name = format!("{}.manifest.json", stem(&name_of(results)?));
    match results {
        Location::Standard => None,
        Location::Path(path) => Some(Location::Path(path.with_file_name(name))),
        Location::Url(url) => url.sibling(&name).map(Location::Url),
    }
}

/// The name of the file of results, without its folder.
pub(super) fn name_of(results: &Location) -> Option<Cow<'_, str>> {
    match results {
        Location::Standard => None,
        Location::Path(path) => path.file_name().map(|name| Path::new(name).to_string_lossy()),
        Location::Url(_) => Some(results.file_name()),
    }
}

/// A name without what says how the file is compressed and written.
fn stem(name: &str) -> &str {
    let without = |name: &'_ str, endings: &[&str]| {
        let lower = name.to_ascii_lowercase();
        endings.iter().find(|ending| lower.ends_with(*ending)).map_or(name.len(), |ending| name.len() - ending.len())
    };
    let name = &name[..without(name, &[".gz", ".zst"])];
    let stem = &name[..without(name, &[".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])];
    if stem.is_empty() { name } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_stands_beside_its_results_under_their_name() {
        for (results, manifest) in [
            ("results.parquet", Some("results.manifest.json")),
            ("out/Results.CSV.gz", Some("out/Results.manifest.json")),
            ("/x.y/2026.jsonl.zst", Some("/x.y/2026.manifest.json")),
            ("plain", Some("plain.manifest.json")),
            ("x.manifest.json", Some("x.manifest.json.manifest.json")),
            (".parquet", Some(".parquet.manifest.json")),
            ("s3://bucket/a/b.parquet", Some("s3://bucket/a/b.manifest.json")),
            ("gs://bucket/b.tsv.zst", Some("gs://bucket/b.manifest.json")),
            ("-", None),
            ("https://host/b.csv", None),
        ] {
            let place = place_of(&results.parse().unwrap()).map(|place| place.to_string());
            assert_eq!(place.as_deref(), manifest, "{results}");
        }
    }
}
