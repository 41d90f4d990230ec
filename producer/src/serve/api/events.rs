//! The events of a job as they come (server-sent events).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use rollcall_shared::broker::StreamOffset;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::jobs::find_job;
use super::parameters::{pairs, parse_job, read};
use crate::serve::event_log::{EventFollower, LoggedEvent, Topic, since};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// A proxy may end a connection on which nothing comes for a minute or less.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where to begin.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// The id of the last event that is known, as the header `Last-Event-ID`, which wins.
    #[param(value_type = Option<u64>)]
    last_event_id: Option<String>,
}

/// For the description of the API: the header that a browser sends when it connects again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is only described")]
struct EventsHeaders {
    /// The id of the last event that is known.
    #[param(rename = "Last-Event-ID", required = false)]
    last_event_id: u64,
}

/// For the description of the API: an event as a client of server-sent events has it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
struct SentEvent {
    /// What `Last-Event-ID` is to have for what comes after it.
    id: String,
    /// The name of the event.
    event: String,
    /// The CloudEvents document.
    data: String,
}

/// Follow a job: its events from its opening on, as far as they are kept, and then as they come. Each is a CloudEvents document; its id is what
/// `Last-Event-ID` is to have for what comes after it, at this gateway or another one.
#[utoipa::path(
    get, path = "/v1/jobs/{job}/events", tag = "jobs",
    params(("job" = String, Path, description = "The job's name"), EventsQuery, EventsHeaders),
    responses(
        (status = 200, description = "The events", body = SentEvent, content_type = "text/event-stream"),
        (status = "4XX", description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "The broker or the aggregator cannot answer now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_events(
    State(gateway): State<Arc<Gateway>>,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let job = parse_job(&job)?;
    let query: EventsQuery = read(&pairs(query.as_deref()))?;
    let last = last_event_id(&headers, &query)?;
    let status = find_job(&gateway, &job).await?;
    let from = last.map_or_else(|| since(status.opened_at), |id| StreamOffset::At(id.saturating_add(1)));
    let follower = gateway.event_log.follow(Topic::Job(job), from).await?;
    let events = unfold((follower, gateway), async |(mut follower, gateway): (EventFollower, Arc<Gateway>)| {
        let next = tokio::select! {
            next = follower.next() => next.ok()?,
            () = gateway.shutdown.requested() => return None,
        };
        Some((Ok(sent(&next)), (follower, gateway)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The event behind which to begin, if the client says one.
fn last_event_id(headers: &HeaderMap, query: &EventsQuery) -> Result<Option<u64>, Problem> {
    let parse = |place: &str, id: Option<&str>| {
        let bad = |id: &str| Problem::bad_request(format!("expected a number as {place}, as events have it as id, found {id:?}"));
        id.map(|id| id.parse::<i64>().ok().and_then(|id| u64::try_from(id).ok()).ok_or_else(|| bad(id))).transpose()
    };
    let in_header = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let in_query = parse("last_event_id", query.last_event_id.as_deref())?;
    Ok(parse("Last-Event-ID", in_header)?.or(in_query))
}

fn sent(event: &LoggedEvent) -> Event {
    // Line breaks stand only between the tokens of JSON, and end a line of an event.
    let document = event.document().map(|_| String::from_utf8_lossy(&event.body).replace(['\r', '\n'], " "));
    Event::default().id(event.id.to_string()).event(event.name.replace(['\r', '\n'], " ")).data(document.unwrap_or_default())
}
