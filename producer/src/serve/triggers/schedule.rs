//! Enqueues files at certain times. Which times were served is known from the names of the jobs.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use rollcall_shared::message::{Job, JobStatus, JobsPage, State};

use super::triggered_job::{Made, make};
use crate::error::ProducerError;
use crate::job_control;
use crate::location::Location;
use crate::serve::config::{MissedTicks, Overlap, Schedule};
use crate::serve::gateway::Gateway;
use crate::serve::refusals::Refusal;

/// A tick that is served so late at most was not missed: the gateway that should have served it may have been killed, and the broker takes up
/// to 20 s to notice that a machine is gone.
const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// How often to look at the clock at least: it may be set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// After an error of the broker or the aggregator.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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
    let mut running = FuturesUnordered::new();
    let mut last = loop {
        match latest_jobs(schedule, gateway).await {
            Ok(jobs) => {
                // Those that a gateway before this one has begun.
                let unsealed = jobs.iter().filter(|status| status.state == State::Unsealed);
                running.extend(
                    unsealed.filter_map(|status| tick_of(schedule, &status.job)).map(|tick| serve(schedule, tick, gateway)),
                );
                break jobs.iter().filter_map(|status| tick_of(schedule, &status.job)).max().unwrap_or_else(Utc::now);
            }
            Err(error) => {
                tracing::warn!(event = "schedule_waits", schedule = schedule.name, %error, "the jobs of a schedule are not known yet");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    };
    loop {
        let now = Utc::now();
        let due = due(schedule, last, now);
        if let Some(latest) = due.iter().copied().max() {
            last = latest;
        }
        running.extend(due.into_iter().map(|tick| serve(schedule, tick, gateway)));
        let next = next_after(schedule, last.max(now));
        let wait = next.and_then(|next| (next - Utc::now()).to_std().ok()).unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        let mut waited = std::pin::pin!(tokio::time::sleep(wait.max(Duration::from_millis(1))));
        loop {
            tokio::select! {
                () = &mut waited => break,
                Some(()) = running.next() => {}
            }
        }
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
    let name_prefix = format!("{}-", schedule.name);
    let page = JobsPage { state: None, model: None, name_prefix, before: None, limit: LATEST_JOBS };
    let mut session = gateway.queries.session("rollcall gateway: jobs of a schedule").await?;
    let found = session.aggregator().await?.page(page).await;
    session.close().await;
    Ok(found?.0)
}

/// Serves a tick, however long that takes.
async fn serve(schedule: &Schedule, tick: DateTime<Utc>, gateway: &Arc<Gateway>) {
    let Some(job) = job_of(schedule, tick) else { return };
    while let Err(error) = serve_now(schedule, tick, &job, gateway).await {
        tracing::warn!(event = "schedule_waits", %job, %error, "a job of a schedule cannot be made now; trying again");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn serve_now(schedule: &Schedule, tick: DateTime<Utc>, job: &Job, gateway: &Arc<Gateway>) -> Result<(), ProducerError> {
    if schedule.overlap != Overlap::Allow && !end_older(schedule, tick, job, gateway).await? {
        tracing::warn!(event = "tick_skipped", %job, "an earlier job of the schedule has not ended");
        return Ok(());
    }
    let refuse =
        async |reason: String| Refusal { trigger: "schedule", subject: job.as_str(), reason: &reason }.publish(gateway).await;
    let file: Location = match schedule.file.parse() {
        Ok(file) => file,
        Err(error) => return Ok(refuse(format!("{error}")).await?),
    };
    let args = schedule.options.enqueue_args(file, Some(schedule.model.clone()), Some(job.clone()));
    match make(&args, gateway).await {
        Made::Sealed { .. } => {
            gateway.metrics.triggered.with_label_values(&["schedule"]).inc();
            tracing::info!(event = "triggered", trigger = "schedule", %job, "a job is enqueued");
            Ok(())
        }
        Made::Refused(reason) => Ok(refuse(reason).await?),
    }
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
