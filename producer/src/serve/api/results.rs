//! Streams a job's results.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use rollcall_shared::broker::connect;
use rollcall_shared::message::{Format, Job};
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::jobs::find_job;
use super::parameters::{pairs, parse_job, read};
use crate::destination::{Layout, Sink};
use crate::error::ProducerError;
use crate::results;
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
use crate::serve::upload::{SLOWEST_BYTES, SLOWEST_WITHIN};

/// In which form, and whether the job must have ended.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ResultsQuery {
    /// `jsonl` (by default), `csv` or `parquet`.
    #[param(value_type = Option<String>, pattern = "^(csv|jsonl|parquet)$")]
    format: Option<Format>,
    /// Whether to take the results so far of a job that has not ended.
    partial: bool,
}

/// Parts of an answer that wait for the client.
const PARTS: usize = 8;

/// Download a job's results, one row a company that has an outcome, in the order of scoring. An answer that breaks off is not whole: the
/// connection is then cut before its end.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/results", tag = "jobs", params(("job" = String, Path, description = "The job's name"), ResultsQuery),
    responses(
        (status = 200, description = "The results", content((String = "application/x-ndjson"), (String = "text/csv"), (String = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "There is no such job, or it has not ended", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_results(
    State(gateway): State<Arc<Gateway>>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let job = parse_job(&job)?;
    let ResultsQuery { format, partial } = read(&pairs(query.as_deref()))?;
    let format = format.unwrap_or(Format::Jsonl);
    let status = find_job(&gateway, &job).await?;
    results::refuse_unfinished(&status, partial)?;
    let body = stream(&gateway, &job, format, partial).await?;
    let kind = match format {
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::Jsonl => "application/x-ndjson",
        Format::Parquet => "application/vnd.apache.parquet",
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let name = format!("attachment; filename=\"{job}.{format}\"");
    headers.extend(HeaderValue::try_from(name).ok().map(|name| (header::CONTENT_DISPOSITION, name)));
    Ok(response)
}

async fn stream(gateway: &Arc<Gateway>, job: &Job, format: Format, partial: bool) -> Result<Body, Problem> {
    let slot = gateway.download_slot().await?;
    let link = connect(&gateway.broker, &format!("rollcall gateway: results of {job}")).await.map_err(ProducerError::from)?;
    let (to, parts) = mpsc::channel::<io::Result<Bytes>>(PARTS);
    let sink = Sink::other(Box::new(ToClient { to: to.clone(), waited: Duration::ZERO, bytes: 0 }));
    let (job, topology) = (job.clone(), gateway.broker.topology());
    tokio::spawn(async move {
        let _slot = slot;
        let layout = Layout { format, delimiter: b',', compression: None };
        let written = tokio::select! {
            written = results::write_into(sink, layout, &job, partial, &link, &topology) => written,
            // The client has gone away.
            () = to.closed() => Ok(()),
        };
        if let Err(error) = written {
            tracing::warn!(event = "results_cut_short", %job, %error, "an answer with results is cut short");
            // Without it, the client would take what it has for all.
            drop(to.send(Err(io::Error::other(error.to_string()))).await);
        }
        link.close().await;
    });
    Ok(Body::from_stream(unfold(parts, async |mut parts: mpsc::Receiver<io::Result<Bytes>>| Some((parts.recv().await?, parts)))))
}

/// Hands what is written to the connection; blocks while the client takes nothing, and fails if it takes too little.
struct ToClient {
    to: mpsc::Sender<io::Result<Bytes>>,
    /// How long it was waited for the client since the last look at its pace, and how much it took.
    waited: Duration,
    bytes: usize,
}

impl Write for ToClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let began = Instant::now();
        self.to.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.waited += began.elapsed();
        self.bytes += bytes.len();
        if self.waited >= SLOWEST_WITHIN {
            if self.bytes < SLOWEST_BYTES {
                return Err(io::Error::other("the client takes the results too slowly"));
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
