//! Enqueues files at certain times. Which times were served is known from the names of the jobs.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use rollcall_shared::broker::Backoff;
use rollcall_shared::message::{Job, JobStatus, JobsPage, Timestamp};
use serde_json::json;

use super::triggered_job::{Made, try_to_make};
use crate::error::ProducerError;
use crate::job_control;
use crate::serve::config::{MissedTicks, Overlap, Schedule};
use crate::serve::event_log::{LoggedEvent, Topic, since};
use crate::serve::gateway::Gateway;
use crate::serve::refusals::{REFUSED, Refusal, publish_event};

/// A tick that is served so late at most was not missed: the gateway that should have served it may have been killed, and the broker takes up
/// to 20 s to notice that a machine is gone.
const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// How often to look at the clock at least: it may be set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// After an error of the broker or the aggregator.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Jobs of one schedule that are enqueued at a time.
const AT_A_TIME: usize = 8;

/// The name of the event that says that a tick was left out.
const TICK_SKIPPED: &str = "tick_skipped";

/// Ticks that are looked at together: of a schedule of every second, more than were missed in [`ON_TIME`].
const TICKS: usize = 1_000;

/// The jobs of a schedule that are looked at: those of its latest ticks.
const LATEST_JOBS: u32 = 200;

/// The time in the name of a job.
const TICK: &str = "%Y%m%dT%H%M%SZ";

/// Keeps all schedules.
pub(super) async fn keep_all(gateway: &Arc<Gateway>) -> Infallible {
    join_all(gateway.config.schedules.iter().map(|schedule| keep(schedule, gateway))).await;
    std::future::pending().await
}

async fn keep(schedule: &Schedule, gateway: &Arc<Gateway>) -> Infallible {
    let (mut last, mut queue) = loop {
        match begun(schedule, gateway).await {
            Ok(begun) => break begun,
            Err(error) => {
                tracing::warn!(event = "schedule_waits", schedule = schedule.name, %error, "the jobs of a schedule are not known yet");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    };
    let mut running = FuturesUnordered::new();
    loop {
        let now = Utc::now();
        let due = due(schedule, last, now);
        last = due.last().copied().unwrap_or(last.max(now));
        queue.add(due);
        let next = next_after(schedule, last.max(now));
        let wait = next.and_then(|next| (next - Utc::now()).to_std().ok()).unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        let mut waited = std::pin::pin!(tokio::time::sleep(wait.max(Duration::from_millis(1))));
        loop {
            while let Some(tick) = queue.next(running.len()) {
                running.push(serve(schedule, tick, gateway));
            }
            tokio::select! {
                () = &mut waited => break,
                Some(()) = running.next() => {}
            }
        }
    }
}

/// The last tick that was served, and those that the gateways before this one have left to be served.
async fn begun(schedule: &Schedule, gateway: &Gateway) -> Result<(DateTime<Utc>, TickQueue), ProducerError> {
    let jobs = latest_jobs(schedule, gateway).await?;
    let mut served: BTreeSet<_> = jobs.iter().filter_map(|status| tick_of(schedule, &status.job)).collect();
    // One may be paused meanwhile.
    let unsealed = jobs.iter().filter(|status| !status.state.is_final() && status.sealed.is_none());
    let mut left: BTreeSet<_> = unsealed.filter_map(|status| tick_of(schedule, &status.job)).collect();
    if let Some(&last) = served.last() {
        served.extend(without_job_since(last - ON_TIME, schedule, gateway).await?);
    }
    left.extend(left_out(schedule, &served, Utc::now()));
    let last = served.last().copied().unwrap_or_else(Utc::now);
    let queue = TickQueue { overlap: schedule.overlap, waiting: left.into_iter().collect() };
    Ok((last, queue))
}

/// Ticks that wait to be served.
struct TickQueue {
    overlap: Overlap,
    waiting: VecDeque<DateTime<Utc>>,
}

impl TickQueue {
    fn add(&mut self, ticks: Vec<DateTime<Utc>>) {
        self.waiting.extend(ticks);
        // Whatever it was to cancel, the latest one will.
        if self.overlap == Overlap::CancelOlder && self.waiting.len() > 1 {
            self.waiting.drain(..self.waiting.len() - 1);
        }
    }

    /// The next tick, if it may be served beside those that are `running`. What comes of one that may not overlap is known once the one before
    /// it is served.
    fn next(&mut self, running: usize) -> Option<DateTime<Utc>> {
        let most = if self.overlap == Overlap::Allow { AT_A_TIME } else { 1 };
        if running < most { self.waiting.pop_front() } else { None }
    }
}

/// The ticks after `last` and up to `now` that are to be served: all that are on time, and of those that were missed one or none.
fn due(schedule: &Schedule, last: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let on_time_since = now - ON_TIME;
    // Of a schedule that was not kept for long, only the end of that time is looked at.
    let missed = last < on_time_since && next_after(schedule, last).is_some_and(|tick| tick < on_time_since);
    let mut ticks = Vec::new();
    if missed {
        let latest = schedule.cron.0.find_previous_occurrence(&on_time_since.with_timezone(&schedule.time_zone), true);
        let latest = latest.ok().map(|tick| tick.with_timezone(&Utc)).filter(|tick| *tick > last);
        match schedule.missed {
            MissedTicks::RunOnce => ticks.extend(latest),
            MissedTicks::Skip => {
                tracing::warn!(
                    event = "ticks_missed",
                    schedule = schedule.name,
                    "no gateway ran at times of a schedule; they are skipped"
                );
            }
        }
    }
    let mut after = if missed { on_time_since } else { last };
    while let Some(tick) = next_after(schedule, after).filter(|tick| *tick <= now && ticks.len() < TICKS) {
        ticks.push(tick);
        after = tick;
    }
    ticks
}

/// The ticks between those that were served that were not: a gateway that was killed had begun several at once. If jobs may not overlap, they
/// may have been skipped, and stay so.
fn left_out(schedule: &Schedule, served: &BTreeSet<DateTime<Utc>>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let (Some(&first), Some(&last)) = (served.first(), served.last()) else { return Vec::new() };
    if schedule.overlap != Overlap::Allow || last < now - ON_TIME {
        return Vec::new();
    }
    let ticks = successors(next_after(schedule, first.max(last - ON_TIME)), |tick| next_after(schedule, *tick));
    ticks.take_while(|tick| *tick < last).filter(|tick| !served.contains(tick)).collect()
}

fn next_after(schedule: &Schedule, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let next = schedule.cron.0.find_next_occurrence(&time.with_timezone(&schedule.time_zone), false);
    next.ok().map(|tick| tick.with_timezone(&Utc))
}

fn job_of(schedule: &Schedule, tick: DateTime<Utc>) -> Option<Job> {
    format!("{}-{}", schedule.name, tick.format(TICK)).parse().ok()
}

fn tick_of(schedule: &Schedule, job: &Job) -> Option<DateTime<Utc>> {
    let tick = job.as_str().strip_prefix(schedule.name.as_str())?.strip_prefix('-')?;
    NaiveDateTime::parse_from_str(tick, TICK).ok().map(|tick| tick.and_utc())
}

async fn latest_jobs(schedule: &Schedule, gateway: &Gateway) -> Result<Vec<JobStatus>, ProducerError> {
    // With the millennium, so that the jobs of a schedule named nightly-eu are not those of nightly.
    let name_prefix = format!("{}-2", schedule.name);
    let page = JobsPage { state: None, model: None, name_prefix, before: None, limit: LATEST_JOBS };
    let mut session = gateway.queries.session("rollcall gateway: jobs of a schedule").await?;
    let found = session.aggregator().await?.page(page).await;
    session.close().await;
    Ok(found?.0)
}

/// Serves a tick, however long that takes.
async fn serve(schedule: &Schedule, tick: DateTime<Utc>, gateway: &Arc<Gateway>) {
    let Some(job) = job_of(schedule, tick) else { return };
    let mut backoff = Backoff::new();
    while let Err(error) = try_to_serve(schedule, tick, &job, gateway).await {
        tracing::warn!(event = "schedule_waits", %job, %error, "a job of a schedule cannot be made now; trying again");
        tokio::time::sleep(backoff.pause().max(AGAIN_AFTER)).await;
    }
}

async fn try_to_serve(schedule: &Schedule, tick: DateTime<Utc>, job: &Job, gateway: &Arc<Gateway>) -> Result<(), ProducerError> {
    if schedule.overlap != Overlap::Allow && !end_older(schedule, tick, job, gateway).await? {
        return skip(job, gateway).await;
    }
    let args = schedule.options.enqueue_args(schedule.file.clone(), Some(schedule.model.clone()), Some(job.clone()));
    match try_to_make(&args, gateway).await? {
        Made::Sealed { .. } => {
            gateway.metrics.triggered.with_label_values(&["schedule"]).inc();
            tracing::info!(event = "triggered", trigger = "schedule", %job, "a job is enqueued");
            Ok(())
        }
        Made::Refused(reason) => {
            Ok(Refusal { trigger: "schedule", subject: job.as_str(), reason: &reason }.publish(gateway).await?)
        }
    }
}

/// Leaves a tick out, and says so in an event: the next gateway must not take it for one that was missed.
async fn skip(job: &Job, gateway: &Gateway) -> Result<(), ProducerError> {
    tracing::warn!(event = "tick_skipped", %job, "an earlier job of the schedule has not ended");
    let data = json!({ "job": job, "reason": "an earlier job of the schedule has not ended" });
    Ok(publish_event(TICK_SKIPPED, job.as_str(), &data, gateway).await?)
}

/// The ticks that gateways have served without a job since then: those that they have left out, and those of which no job could be made.
async fn without_job_since(
    time: DateTime<Utc>,
    schedule: &Schedule,
    gateway: &Gateway,
) -> Result<Vec<DateTime<Utc>>, ProducerError> {
    let since = since(Some(Timestamp::of(time.into())));
    let mut ticks = Vec::new();
    for (name, job) in [(TICK_SKIPPED, "job"), (REFUSED, "subject")] {
        let events = gateway.event_log.history(Topic::Gateway(name), since, &gateway.queries).await?;
        let job_of = |event: &LoggedEvent| -> Option<Job> { event.document()?["data"][job].as_str()?.parse().ok() };
        ticks.extend(events.iter().filter_map(|event| tick_of(schedule, &job_of(event)?)));
    }
    Ok(ticks)
}

/// Whether the tick may be served: no older job of the schedule runs, or those that do were cancelled.
async fn end_older(schedule: &Schedule, tick: DateTime<Utc>, job: &Job, gateway: &Gateway) -> Result<bool, ProducerError> {
    let jobs = latest_jobs(schedule, gateway).await?;
    // A gateway before this one has begun it.
    if jobs.iter().any(|status| status.job == *job) {
        return Ok(true);
    }
    let older = jobs.iter().filter(|status| !status.state.is_final());
    let older: BTreeSet<&Job> =
        older.map(|status| &status.job).filter(|job| tick_of(schedule, job).is_some_and(|at| at < tick)).collect();
    if schedule.overlap == Overlap::Skip {
        return Ok(older.is_empty());
    }
    for older in older {
        match job_control::end(older, &format!("{job} takes its place"), &gateway.queries).await {
            Ok(_) | Err(ProducerError::JobState(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(lines: &str) -> Schedule {
        toml::from_str(&format!("name = \"n\"\nfile = \"c.csv\"\nmodel = \"m\"\n{lines}")).unwrap()
    }

    fn times(ticks: &[DateTime<Utc>]) -> Vec<String> {
        ticks.iter().map(|tick| tick.format("%dT%H:%M:%S").to_string()).collect()
    }

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    #[test]
    fn each_tick_on_time_is_due_once() {
        let each_second = schedule("cron = \"* * * * * *\"");
        let now = at("2027-01-31T06:00:03.5Z");
        assert_eq!(times(&due(&each_second, at("2027-01-31T06:00:00Z"), now)), ["31T06:00:01", "31T06:00:02", "31T06:00:03"]);
        assert_eq!(due(&each_second, at("2027-01-31T06:00:03Z"), now), Vec::<DateTime<Utc>>::new());
    }

    #[test]
    fn missed_ticks_make_one_job_or_none() {
        let daily = |missed: &str| schedule(&format!("cron = \"0 6 * * *\"\nmissed = \"{missed}\""));
        let [last, now] = ["2027-01-28T06:00:00Z", "2027-01-31T12:00:00Z"].map(at);
        assert_eq!(times(&due(&daily("run_once"), last, now)), ["31T06:00:00"]);
        assert_eq!(due(&daily("skip"), last, now), Vec::<DateTime<Utc>>::new());
        let just_now = at("2027-01-31T06:00:30Z");
        assert_eq!(times(&due(&daily("run_once"), last, just_now)), ["30T06:00:00", "31T06:00:00"]);
        assert_eq!(times(&due(&daily("skip"), last, just_now)), ["31T06:00:00"]);
    }

    #[test]
    fn a_tick_that_a_killed_gateway_left_out_is_served_by_the_next_unless_it_may_have_been_skipped() {
        let served = ["2027-01-31T06:00:00Z", "2027-01-31T06:00:01Z", "2027-01-31T06:00:04Z"].map(at).into();
        let now = at("2027-01-31T06:00:10Z");
        assert_eq!(times(&left_out(&schedule("cron = \"* * * * * *\""), &served, now)), ["31T06:00:02", "31T06:00:03"]);
        let skips = schedule("cron = \"* * * * * *\"\noverlap = \"skip\"");
        assert_eq!(left_out(&skips, &served, now), Vec::<DateTime<Utc>>::new());
        let an_hour_later = ["2027-01-31T06:00:00Z", "2027-01-31T07:00:00Z"].map(at).into();
        assert_eq!(
            left_out(&schedule("cron = \"* * * * * *\""), &an_hour_later, at("2027-01-31T07:00:30Z")).len(),
            59,
            "as far as they are on time"
        );
        assert_eq!(left_out(&skips, &BTreeSet::new(), now), Vec::<DateTime<Utc>>::new());
    }

    #[test]
    fn ticks_that_may_not_overlap_are_served_one_after_another_and_of_those_that_cancel_the_latest() {
        let ticks = || ["2027-01-31T06:00:00Z", "2027-01-31T06:00:01Z"].map(at).to_vec();
        let taken = |overlap| {
            let mut queue = TickQueue { overlap, waiting: VecDeque::new() };
            queue.add(ticks());
            [queue.next(0), queue.next(1)]
        };
        let [first, second] = [0, 1].map(|number| Some(ticks()[number]));
        assert_eq!(taken(Overlap::Allow), [first, second]);
        assert_eq!(taken(Overlap::Skip), [first, None]);
        assert_eq!(taken(Overlap::CancelOlder), [second, None]);
    }

    #[test]
    fn a_time_zone_moves_the_tick_with_its_summer_time() {
        let berlin = schedule("cron = \"30 2 * * *\"\ntime_zone = \"Europe/Berlin\"");
        let next = |time: &str| next_after(&berlin, at(time)).unwrap().to_rfc3339();
        assert_eq!(next("2027-01-31T00:00:00Z"), "2027-01-31T01:30:00+00:00");
        assert_eq!(next("2027-06-30T00:00:00Z"), "2027-06-30T00:30:00+00:00");
    }

    #[test]
    fn a_job_of_a_schedule_tells_its_tick() {
        let schedule = schedule("cron = \"0 6 * * *\"");
        let tick = at("2027-01-31T06:00:00Z");
        let job = job_of(&schedule, tick).unwrap();
        assert_eq!((job.as_str(), tick_of(&schedule, &job)), ("n-20270131T060000Z", Some(tick)));
        for other in ["n-1", "nn-20270131T060000Z", "n-20270131T060000Z-2"] {
            assert_eq!(tick_of(&schedule, &other.parse().unwrap()), None, "{other}");
        }
    }
}
