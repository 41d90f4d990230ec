//! The consumer processes of a fleet: started, drained, and started again when they die.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use rollcall_shared::lifecycle::{Exit, Shutdown};
use rollcall_shared::message::ScaleSignal;
use rollcall_shared::telemetry::FleetMetrics;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};
use tokio::sync::watch;

use super::args::FleetArgs;
use super::metrics_ports::MetricsPorts;
use super::start_pause::StartPause;
use crate::error::ConsumerError;

/// Beyond its grace, how long a consumer may take to end before it is killed.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// How many consumers there should be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) consumers: u16,
    /// Why; `None` before the leader has answered.
    pub(super) signal: Option<ScaleSignal>,
}

impl Wanted {
    pub(super) fn at_least(min: u16) -> Wanted {
        Wanted { consumers: min, signal: None }
    }
}

/// The consumer processes.
pub(super) struct Processes<'a> {
    args: &'a FleetArgs,
    metrics: FleetMetrics,
    consumers: Vec<Consumer>,
    /// How many there were to be after the last change.
    target: u16,
    ports: MetricsPorts,
    /// Consumers that end, each with its number, and how.
    endings: FuturesUnordered<Ending>,
    pause: StartPause,
    has_started: bool,
    /// Whether any consumer has scored a company: neither its flags nor its scorer keep the next one from it.
    has_scored: Rc<Cell<bool>>,
}

type Ending = std::pin::Pin<Box<dyn Future<Output = (u16, io::Result<ExitStatus>)>>>;

/// A consumer process.
struct Consumer {
    /// From 1; the smallest that is free.
    number: u16,
    pid: Option<Pid>,
    started: Instant,
    /// When it is killed, if it was asked to stop.
    kill_at: Option<Instant>,
}

impl<'a> Processes<'a> {
    pub(super) fn new(args: &'a FleetArgs, metrics: FleetMetrics) -> Processes<'a> {
        Processes {
            args,
            metrics,
            consumers: Vec::new(),
            target: 0,
            ports: MetricsPorts::new(args.consumer.metrics.metrics_addr),
            endings: FuturesUnordered::new(),
            pause: StartPause::new(Instant::now()),
            has_started: false,
            has_scored: Rc::default(),
        }
    }

    /// Keeps as many consumers as are wanted until `shutdown`, and then until all have ended.
    ///
    /// # Errors
    /// The first consumer cannot be started, or one ends with an error that the next one would end with too. The others are drained then.
    pub(super) async fn run(mut self, mut wanted: watch::Receiver<Wanted>, shutdown: &Shutdown) -> Result<(), ConsumerError> {
        let kept = self.keep(&mut wanted, shutdown).await;
        let consumers = self.working();
        if consumers > 0 {
            tracing::info!(event = "fleet_stopping", model = %self.args.consumer.model, consumers, "stopping all consumers");
        }
        self.stop_down_to(0);
        while !self.consumers.is_empty() {
            self.next_ending().await;
        }
        kept
    }

    async fn keep(&mut self, wanted: &mut watch::Receiver<Wanted>, shutdown: &Shutdown) -> Result<(), ConsumerError> {
        while !shutdown.is_requested() {
            let now_wanted = wanted.borrow_and_update().clone();
            self.change_to(&now_wanted)?;
            let start_at = self.pause.until();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return Ok(()) },
                ended = self.next_ending() => if let Some((consumer, ended)) = ended { self.note_death(&consumer, ended)? },
                () = tokio::time::sleep_until(start_at.into()), if start_at > Instant::now() => {}
                () = shutdown.requested() => {}
            }
        }
        Ok(())
    }

    /// Starts or stops consumers until there are as many as are wanted.
    fn change_to(&mut self, wanted: &Wanted) -> Result<(), ConsumerError> {
        let working = self.working();
        if working >= wanted.consumers || self.pause.until() <= Instant::now() {
            report(self.target, working, wanted, self.args);
            self.target = wanted.consumers;
            for _ in working..wanted.consumers {
                if let Err(error) = self.start() {
                    self.note_not_started(error)?;
                    break;
                }
            }
            self.stop_down_to(wanted.consumers);
        }
        self.metrics.consumers.set(i64::from(self.working()));
        Ok(())
    }

    /// Consumers that were not asked to stop.
    fn working(&self) -> u16 {
        u16::try_from(self.consumers.iter().filter(|consumer| consumer.kill_at.is_none()).count()).unwrap_or(u16::MAX)
    }

    fn start(&mut self) -> Result<(), ConsumerError> {
        let is_used = |number| self.consumers.iter().any(|other| other.number == number);
        let (number, metrics_addr) = self.ports.first_free(is_used).ok_or_else(|| {
            ConsumerError::Usage(
                "expected a free port above that of --metrics-addr for each consumer, found none; choose a lower one".to_owned(),
            )
        })?;
        let mut child = self.command(number, metrics_addr).spawn().map_err(|error| {
            ConsumerError::Process(format!("cannot start a consumer: {error}; raise the limits of processes and open files"))
        })?;
        self.has_started = true;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        self.consumers.push(Consumer { number, pid, started: Instant::now(), kill_at: None });
        let has_scored = Rc::clone(&self.has_scored);
        self.endings.push(Box::pin(async move {
            // Its standard input stays open for as long as this process lives.
            let (input, output) = (child.stdin.take(), child.stdout.take());
            let ended = tokio::select! {
                biased;
                never = note_first_score(output, &has_scored) => match never {},
                ended = child.wait() => ended,
            };
            drop(input);
            (number, ended)
        }));
        Ok(())
    }

    fn command(&self, number: u16, metrics_addr: Option<SocketAddr>) -> Command {
        // This path stays valid if the file is replaced.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("consumer").args(&self.args.consumer_flags).arg("--stop-at-end-of-input");
        command.arg(format!("--fleet-number={number}")).arg(format!("--threads={}", self.args.threads()));
        command.env("AMQP_URL", self.args.consumer.broker.url()).env_remove("ROLLCALL_METRICS_ADDR");
        command.args(metrics_addr.map(|address| format!("--metrics-addr={address}")));
        // In a group of its own, Ctrl-C reaches the fleet alone, which then stops its consumers.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        command
    }

    /// A consumer could not be started: the others go on, and it is tried again after a pause. If there never was one, the fleet ends.
    fn note_not_started(&mut self, error: ConsumerError) -> Result<(), ConsumerError> {
        if !self.has_started {
            return Err(error);
        }
        let pause = self.pause.note_failure(Instant::now(), Duration::ZERO);
        let pause_ms = pause.as_millis();
        tracing::warn!(event = "consumer_not_started", %error, pause_ms, "a consumer could not be started; trying again");
        Ok(())
    }

    /// Asks the newest consumers to stop, so that `left` go on.
    fn stop_down_to(&mut self, left: u16) {
        let working = self.consumers.iter_mut().filter(|consumer| consumer.kill_at.is_none());
        for consumer in working.skip(left.into()) {
            consumer.kill_at = Some(Instant::now() + self.args.consumer.grace + KILL_AFTER);
            consumer.send(Signal::TERM);
        }
    }

    /// Waits for the next consumer to end; returns it if it was not asked to. Kills those that do not end in time. Cancel-safe.
    async fn next_ending(&mut self) -> Option<(Consumer, io::Result<ExitStatus>)> {
        loop {
            let kill_at = self.consumers.iter().filter_map(|consumer| consumer.kill_at).min();
            let kill_at = kill_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                Some((number, ended)) = self.endings.next() => {
                    let at = self.consumers.iter().position(|consumer| consumer.number == number)?;
                    let consumer = self.consumers.remove(at);
                    return consumer.kill_at.is_none().then_some((consumer, ended));
                }
                () = tokio::time::sleep_until(kill_at.into()) => {
                    for consumer in self.consumers.iter_mut().filter(|consumer| consumer.kill_at.is_some_and(|at| at <= Instant::now())) {
                        tracing::warn!(event = "consumer_killed", consumer = consumer.number, "a consumer did not end within its grace; killing it");
                        consumer.send(Signal::KILL);
                        consumer.kill_at = Some(Instant::now() + KILL_AFTER);
                    }
                }
            }
        }
    }

    /// A consumer has ended that was not asked to.
    fn note_death(&mut self, consumer: &Consumer, ended: io::Result<ExitStatus>) -> Result<(), ConsumerError> {
        let is_misuse = ended.as_ref().is_ok_and(|status| status.code() == Some(Exit::BadInput.code().into()));
        if is_misuse && !self.has_scored.get() {
            return Err(ConsumerError::FleetGivenUp);
        }
        let words = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.metrics.restarts.inc();
        let pause = self.pause.note_failure(Instant::now(), consumer.started.elapsed());
        tracing::warn!(
            event = "consumer_died",
            consumer = consumer.number,
            ended = words,
            pause_ms = pause.as_millis(),
            "a consumer ended by itself; starting another"
        );
        Ok(())
    }
}

impl Consumer {
    fn send(&self, signal: Signal) {
        if let Some(pid) = self.pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(consumer = self.number, %error, "a consumer takes no signal; it has ended");
        }
    }
}

/// Notes that a consumer has scored its first company, which it says by a line on its standard output.
async fn note_first_score(output: Option<ChildStdout>, has_scored: &Cell<bool>) -> Infallible {
    if let Some(mut output) = output
        && output.read(&mut [0]).await.is_ok_and(|bytes| bytes > 0)
    {
        has_scored.set(true);
    }
    std::future::pending().await
}

/// Logs one line for a change from `target` consumers to those that are wanted, and one for the starts in place of those that have failed: all
/// but `working`.
fn report(target: u16, working: u16, wanted: &Wanted, args: &FleetArgs) {
    let (model, to) = (&args.consumer.model, wanted.consumers);
    let restarted = target.min(to).saturating_sub(working);
    if restarted > 0 {
        tracing::info!(
            event = "consumers_restarted",
            %model,
            consumers = restarted,
            "starting consumers in place of those that have died or could not be started"
        );
    }
    if target == to {
        return;
    }
    let (unfinished, work) = wanted.signal.as_ref().map_or((0, 0.0), |signal| (signal.unfinished, signal.work_seconds));
    let by_work = wanted.signal.as_ref().map(|signal| signal.consumers_wanted(args.target, args.threads()));
    tracing::info!(
        event = "fleet_scaled",
        %model,
        from = target,
        to,
        // Only if --max keeps it from having them.
        wanted = by_work.filter(|&by_work| by_work > u64::from(to)),
        unfinished,
        work_seconds = (work * 10.0).round() / 10.0,
        target_seconds = args.target.as_secs_f64(),
        "changing the number of consumers"
    );
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_consumer_gets_the_url_of_the_broker_where_no_other_user_of_the_machine_reads_it() {
        let url = "amqp://ann:secret@broker";
        let flags = ["fleet", "--model", "m", "--scorer", "command:cat", "--amqp-url", url];
        let args = FleetArgs::read(&mut FleetArgs::command().try_get_matches_from(flags).unwrap()).unwrap();
        let command = Processes::new(&args, FleetMetrics::new().unwrap()).command(1, None);
        let arguments: Vec<_> = command.as_std().get_args().collect();
        assert!(arguments.iter().all(|argument| !argument.to_str().unwrap().contains("secret")), "{arguments:?}");
        assert!(command.as_std().get_envs().any(|(name, value)| name == "AMQP_URL" && value == Some(url.as_ref())));
    }
}
