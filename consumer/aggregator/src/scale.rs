//! `GET /v1/scale/<model>` and the gauges of the scale signals, from leader and standby alike: a standby asks the leader.

use std::convert::Infallible;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as UrlQuery};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rollcall_shared::broker::{BrokerError, LeaderClient, QueryError};
use rollcall_shared::duration::parse_positive;
use rollcall_shared::message::{DEFAULT_TARGET, Model, Query, Reply, ScaleSignal};
use rollcall_shared::telemetry::AggregatorMetrics;
use serde::Serialize;

/// How often a standby asks the leader.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Signals that are older say nothing: no leader has been heard of since. A takeover takes less.
const STALE_AFTER: Duration = Duration::from_secs(10);

const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// The signals that this aggregator knows: its own if it is the leader, or the leader's.
#[derive(Debug, Clone)]
pub(crate) struct LatestSignals {
    known: Arc<Mutex<Option<Known>>>,
    metrics: Arc<AggregatorMetrics>,
}

#[derive(Debug)]
struct Known {
    at: Instant,
    /// One for each model that has a job.
    signals: Vec<ScaleSignal>,
}

impl LatestSignals {
    pub(crate) fn new(metrics: Arc<AggregatorMetrics>) -> LatestSignals {
        LatestSignals { known: Arc::default(), metrics }
    }

    /// The metrics of this aggregator, its gauges of the signals among them.
    pub(crate) fn metrics(&self) -> &AggregatorMetrics {
        &self.metrics
    }

    /// Sets what the leader says now.
    pub(crate) fn set(&self, signals: Vec<ScaleSignal>) {
        self.metrics.set_scale(signals.iter().map(|signal| (signal, signal.consumers_wanted(DEFAULT_TARGET, 1))));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known { at: Instant::now(), signals });
    }

    /// Removes the gauges of signals that have become too old, whatever else this aggregator waits for.
    pub(crate) async fn expire_as_time_passes(&self) -> Infallible {
        loop {
            tokio::time::sleep(EXPIRE_EVERY).await;
            let expired =
                self.known.lock().unwrap_or_else(PoisonError::into_inner).take_if(|known| known.at.elapsed() > STALE_AFTER);
            if expired.is_some() {
                self.metrics.set_scale(std::iter::empty());
            }
        }
    }

    /// The signal of a model; `None` if no leader has been heard of recently.
    fn of(&self, model: &Model) -> Option<ScaleSignal> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|known| known.at.elapsed() <= STALE_AFTER)?;
        let signal = known.signals.iter().find(|signal| signal.model == *model);
        Some(signal.cloned().unwrap_or_else(|| ScaleSignal::idle(model.clone())))
    }
}

/// Asks the leader every second, until the connection is lost.
pub(crate) async fn follow_leader(leader: &mut LeaderClient, latest: &LatestSignals) -> Result<Infallible, BrokerError> {
    let mut is_understood = true;
    loop {
        match leader.ask(&Query::Scale, ASK_EVERY).await {
            Ok(Reply::Scale(signals)) => {
                latest.set(signals);
                is_understood = true;
            }
            Err(QueryError::Broker(error)) => return Err(error),
            Err(QueryError::NoAnswer) => {}
            Ok(_) | Err(QueryError::Unreadable(_)) => {
                if std::mem::take(&mut is_understood) {
                    tracing::warn!(
                        event = "scale_signal_unknown",
                        "the leader is of a version without this scale signal, so that there is none here; upgrade all aggregators"
                    );
                }
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The routes of the scale signal.
pub(crate) fn routes(latest: LatestSignals) -> Router {
    Router::new().route("/v1/scale/{model}", get(async move |model, wanted| answer(&latest, model, wanted)))
}

/// The parameters of a request, in its order.
type Parameters = Vec<(String, String)>;

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    signal: ScaleSignal,
    consumers_wanted: u64,
}

fn answer(
    latest: &LatestSignals,
    model: Result<Path<String>, PathRejection>,
    parameters: Result<UrlQuery<Parameters>, QueryRejection>,
) -> Response {
    let (model, target, threads) = match read_request(model, parameters) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error + "\n").into_response(),
    };
    let Some(signal) = latest.of(&model) else {
        let error = format!(
            "no leader has been heard of for {} s: none runs, or it is reading the ledger; see the logs of the aggregators\n",
            STALE_AFTER.as_secs()
        );
        return (StatusCode::SERVICE_UNAVAILABLE, error).into_response();
    };
    let consumers_wanted = signal.consumers_wanted(target, threads);
    match serde_json::to_string(&Answer { signal, consumers_wanted }) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The model, and what `consumers_wanted` is for: the target, and the scoring threads of a consumer. An unknown parameter is refused: a misspelt
/// one would scale by the default.
fn read_request(
    model: Result<Path<String>, PathRejection>,
    parameters: Result<UrlQuery<Parameters>, QueryRejection>,
) -> Result<(Model, Duration, u16), String> {
    let Path(model) = model.map_err(|_| "expected /v1/scale/MODEL, found a name that is not UTF-8".to_owned())?;
    let model = model.parse::<Model>().map_err(|error| format!("expected /v1/scale/MODEL: {error}"))?;
    let UrlQuery(parameters) = parameters.map_err(|_| format!("{EXPECTED}, found none of that"))?;
    let (mut target, mut threads) = (None, None);
    for (name, value) in &parameters {
        let is_first = match name.as_str() {
            "target" => target.replace(parse_positive(value).map_err(|error| format!("target: {error}"))?).is_none(),
            "threads" => {
                let number = value.parse::<NonZero<u16>>();
                let number = number.map_err(|_| format!("expected threads from 1 to {}, found {value:?}", u16::MAX))?;
                threads.replace(number.get()).is_none()
            }
            _ => return Err(format!("{EXPECTED}, found {name:?}")),
        };
        if !is_first {
            return Err(format!("{EXPECTED}, found {name} twice"));
        }
    }
    Ok((model, target.unwrap_or(DEFAULT_TARGET), threads.unwrap_or(1)))
}

/// The beginning of an error.
const EXPECTED: &str = "expected target=30s, threads=1, both or none";
