//! One session of an aggregator with the broker: wait for the baton, read the ledger up to now, then count and announce.
//!
//! The channel that holds the baton is the channel that publishes job events. The broker hands the baton on only after it has
//! closed that channel, so nothing that an old holder publishes can come after a new one has begun: that, and reading the
//! ledger up to a marker of its own before it announces anything, is why a job has one done event.

mod announce;
mod baton;
mod bindings;
mod control;
mod dead;
mod ignored;
mod paused;
mod records;
mod refused_done;
mod replaced;
mod silence;
mod stalls;
mod subscriptions;
mod unreadable;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Job, JobEvent, Message, Timestamp, marker, new_marker_id};
use rollcall_shared::telemetry::{AggregatorMetrics, Readiness};
use rollcall_shared::topology::Topology;

use super::cli::AggregatorArgs;
use super::ledger::{Applied, Ledger, Record};
use super::serve::Questions;
use announce::Announcer;
use baton::Baton;
use bindings::Bindings;
use control::Orders;
use dead::{DeadLetter, DeadLetters};
use ignored::IgnoredRecords;
use paused::PausedCompanies;
use records::Records;
use refused_done::RefusedDone;
use silence::Silence;
use stalls::Stalls;
pub(super) use unreadable::Unreadable;

/// The baton is renewed this often while counts change: what a successor has to read again is at most this much.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// And this often when they do not while jobs are under way: a successor counts their deadlines from there.
const RENEW_BUSY_EVERY: Duration = Duration::from_secs(30);

/// And this often when there are none: the broker takes back what stays unacknowledged for half an hour.
const RENEW_EVERY: Duration = Duration::from_secs(300);

/// Where nobody counted, only clocks of two machines tell for how long. More than this they are not believed: it may be that nobody
/// counted, and it may be that they differ.
const CLOCKS_BELIEVED: Duration = Duration::from_secs(60);

/// Progress is told this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Runs until `shutdown`, or until the connection is lost.
pub(super) async fn session(
    args: &AggregatorArgs,
    shutdown: &Shutdown,
    metrics: &AggregatorMetrics,
    ready: &Readiness,
    unreadable: &mut Unreadable,
) -> Result<(), BrokerError> {
    let topology = args.broker.topology();
    let publishing = connect(&args.broker, "rollcall aggregator: events").await?;
    let reading = connect(&args.broker, "rollcall aggregator: ledger").await?;
    let channel = publishing.channel().await?;
    topology.declare(&channel).await?;
    topology.declare_aggregator(&channel).await?;
    ready.set(true);
    tracing::info!("waiting for the baton");
    let mut publisher = Publisher::on(&publishing, channel.clone()).await?.with_ledger_fallback(&topology);
    let Some((baton, ledger)) = Baton::take(&channel, &mut publisher, &topology, shutdown).await? else { return Ok(()) };
    let mut ledger = unreadable.go_on(ledger);
    tracing::info!(offset = ledger.next_offset(), "took the baton");
    ledger.go_on_after(ledger.kept_at().and_then(believed_age));
    let mut tally = Tally {
        announcer: Announcer::new(publishing.channel().await?, &topology),
        orders: Orders::new(&topology),
        dead: DeadLetters::new(),
        paused: PausedCompanies::new(Publisher::on(&publishing, publishing.channel().await?).await?),
        silence: Silence::new(),
        stalls: Stalls::new(&reading, &publishing, &topology),
        bindings: Bindings::new(&reading, &topology),
        ignored: IgnoredRecords::default(),
        refused_done: RefusedDone::default(),
        lost_done: Vec::new(),
        reading: &reading,
        measured: Instant::now(),
        is_abreast: false,
        moved: HashSet::new(),
        checkpointed: Instant::now(),
        checkpointed_offset: ledger.next_offset(),
        ledger,
        baton,
        publisher,
        topology,
        metrics,
    };
    metrics.active.set(1);
    let ended = tally.run(publishing.channel().await?, unreadable, shutdown).await;
    metrics.active.set(0);
    if let Err(error) = ended {
        unreadable.note(&error, tally.ledger);
        return Err(error);
    }
    reading.close().await;
    publishing.close().await;
    Ok(())
}

/// The active aggregator.
struct Tally<'a> {
    ledger: Ledger,
    baton: Baton,
    publisher: Publisher<()>,
    announcer: Announcer,
    orders: Orders,
    dead: DeadLetters,
    paused: PausedCompanies,
    silence: Silence,
    stalls: Stalls<'a>,
    bindings: Bindings<'a>,
    ignored: IgnoredRecords,
    refused_done: RefusedDone,
    /// Done events that the ledger turned out to lack.
    lost_done: Vec<Message>,
    reading: &'a BrokerConnection,
    /// Up to when the ledger's clock has been set forward.
    measured: Instant,
    /// Whether the ledger has been read up to now: what is read from now on is said now.
    is_abreast: bool,
    moved: HashSet<Job>,
    checkpointed: Instant,
    checkpointed_offset: u64,
    topology: Topology,
    metrics: &'a AggregatorMetrics,
}

impl Tally<'_> {
    async fn run(&mut self, questions: Channel, unreadable: &mut Unreadable, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let marker = self.mark().await?;
        self.start_over_if_replaced().await?;
        let is_careful = unreadable.is_ahead();
        let mut records = self.records(is_careful).await?;
        let caught_up = tokio::select! {
            caught_up = self.catch_up(&mut records, &marker) => caught_up,
            () = shutdown.requested() => return Ok(()),
        };
        caught_up?;
        if is_careful {
            unreadable.passed();
            records = self.records(false).await?;
        }
        self.is_abreast = true;
        tracing::info!(offset = self.ledger.next_offset(), "read the ledger up to now; counting");
        let questions = Questions::open(&questions, &self.topology).await?;
        let jobs: Vec<Job> = self.ledger.jobs().map(|(job, _)| job.clone()).collect();
        self.act(jobs, Instant::now()).await?;
        self.count(records, questions, shutdown).await
    }

    async fn records(&self, is_careful: bool) -> Result<Records, BrokerError> {
        let next = self.ledger.next_offset();
        if is_careful {
            return Records::one_by_one(self.reading, &self.topology, next).await;
        }
        Records::open(self.reading, &self.topology, next).await
    }

    /// Puts a marker into the ledger, by which to know where now is.
    async fn mark(&mut self) -> Result<String, BrokerError> {
        let id = new_marker_id();
        self.publisher.publish_now((), marker(&id, self.topology.ledger())).await?;
        Ok(id)
    }

    /// Reads the ledger up to `marker`.
    async fn catch_up(&mut self, records: &mut Records, marker: &str) -> Result<(), BrokerError> {
        records
            .until_marker(marker, |record| {
                self.set_clock();
                self.take_in(record);
            })
            .await
    }

    /// Counts and announces until `shutdown`.
    async fn count(&mut self, mut records: Records, mut questions: Questions, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let mut second = tokio::time::interval(PROGRESS_EVERY);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                read = records.next() => {
                    let read = read?;
                    records.ask_for_more().await?;
                    self.take_in_batch(read).await?;
                }
                baton = self.baton.next() => self.baton.take_in(baton?).await?,
                confirmed = self.publisher.confirmed(), if self.publisher.pending() > 0 => drop(confirmed?),
                question = questions.next() => {
                    self.set_clock();
                    question?.answer(&self.ledger, self.stalls.found()).await?;
                }
                dead = self.dead.next() => self.fail(dead).await?,
                resumed = self.paused.next(&self.topology) => self.paused.put_back(resumed).await?,
                looked = self.stalls.next() => self.stalls.take_in(looked),
                () = self.bindings.done() => {}
                _ = second.tick() => {
                    records.acknowledge().await?;
                    self.each_second().await?;
                }
                () = shutdown.requested() => return self.checkpoint().await,
            }
        }
    }

    async fn take_in_batch(&mut self, records: Vec<records::Read>) -> Result<(), BrokerError> {
        let read_at = self.set_clock();
        let mut touched = HashSet::new();
        for record in records {
            touched.extend(self.take_in(record));
        }
        self.act(touched, read_at).await
    }

    fn take_in(&mut self, read: records::Read) -> Option<Job> {
        let missing = read.offset.saturating_sub(self.ledger.next_offset());
        // A stream takes an offset for itself where a segment begins; more than that, retention has taken.
        if missing > 1 {
            tracing::error!(
                missing,
                offset = read.offset,
                "the ledger lacks records that were not counted: its retention may be shorter than its jobs"
            );
        }
        if read.malformed {
            self.metrics.malformed.inc();
        }
        if let Some(marker) = &read.marker {
            self.stalls.heard(marker);
            self.lost_done.extend(self.refused_done.heard(marker, &self.announcer));
        }
        self.metrics.ledger_lag.set(read.age_seconds);
        let round = if let Record::Event(JobEvent::Done(done)) = &read.record { Some(done.redrives) } else { None };
        let age = if self.is_abreast { Some(Duration::ZERO) } else { read.said_at.and_then(believed_age) };
        let applied = self.ledger.apply(read.offset, age, read.record);
        self.ledger.identify(read.offset, read.identity);
        let touched = match applied {
            Applied::Nothing => return None,
            Applied::To(job) => job,
            Applied::Ignored(job, why) => {
                self.ignored.note(self.metrics, read.offset, &job, why);
                return None;
            }
        };
        if let Some(known_since) = round.and_then(|round| self.announcer.heard(&touched, round)) {
            self.metrics.last_result_to_done.observe(known_since.elapsed().as_secs_f64());
            let state = self.ledger.job(&touched).map(|count| count.state().to_string());
            tracing::info!(job = %touched, state, "announced done");
        }
        if !self.moved.contains(&touched) {
            self.moved.insert(touched.clone());
        }
        Some(touched)
    }

    /// Does what follows from what the ledger says of `jobs`.
    async fn act(&mut self, jobs: impl IntoIterator<Item = Job>, read_at: Instant) -> Result<(), BrokerError> {
        for job in jobs {
            let Some(count) = self.ledger.job(&job) else { continue };
            self.orders.pause_or_resume(&mut self.publisher, &job, count).await?;
            if !count.is_due() {
                continue;
            }
            if let Some(message) = self.announcer.done(&job, count, self.ledger.seconds_of(count), read_at) {
                // Before the world is told: whoever comes after this aggregator says no more than the event.
                self.orders.drop_rest(&mut self.publisher, &job, count).await?;
                if count.was_paused() {
                    self.paused.forget(self.reading, &self.topology, &job).await?;
                }
                // Not waited for: others are to be counted meanwhile. Should it not be stored, this session ends, and the next says it.
                self.publisher.publish(vec![((), message)]).await?;
            }
        }
        Ok(())
    }

    /// Answers for companies that were given up. The answers come back by the ledger, and are counted like any other.
    async fn fail(&mut self, mut dead: Vec<DeadLetter>) -> Result<(), BrokerError> {
        let mut results = Vec::with_capacity(dead.len());
        for letter in &mut dead {
            let answer = letter.answer(&self.topology);
            self.metrics.dead_letters.with_label_values(&[answer.cause]).inc();
            self.dead.note(letter, &answer);
            results.extend(answer.result.map(|result| ((), result)));
        }
        self.publisher.publish(results).await?;
        self.publisher.flush().await?;
        for letter in &dead {
            letter.acknowledge().await;
        }
        Ok(())
    }

    async fn each_second(&mut self) -> Result<(), BrokerError> {
        for done in std::mem::take(&mut self.lost_done) {
            self.publisher.publish(vec![((), done)]).await?;
        }
        for done in self.publisher.take_refused_done() {
            let marker = self.mark().await?;
            self.refused_done.mark(marker, done);
        }
        self.set_clock();
        self.silence.look(self.ledger.next_offset(), self.reading, &self.topology).await?;
        self.dead.subscribe(self.reading, &self.topology, self.ledger.models()).await?;
        self.dead.tell(Instant::now());
        self.paused.follow(self.reading, &self.topology, &self.ledger).await?;
        self.paused.try_again().await?;
        let forgotten = self.ledger.take_forgotten();
        self.orders.lift(&mut self.publisher, &forgotten).await?;
        if self.orders.is_time_to_repeat() {
            self.orders.repeat(&mut self.publisher, &self.ledger).await?;
            self.sweep().await?;
        }
        for expired in self.announcer.expired(&self.ledger) {
            self.publisher.publish_now((), expired).await?;
        }
        if self.moved.is_empty() {
            self.metrics.ledger_lag.set(0.0);
        }
        self.announcer.progress(&self.ledger, self.moved.drain()).await?;
        self.bindings.declare_if_due();
        for stalled in self.stalls.each_second(&self.ledger) {
            self.announcer.stalled(stalled).await?;
        }
        self.measure();
        let changed = self.ledger.next_offset() != self.checkpointed_offset;
        let since = self.checkpointed.elapsed();
        let due = since >= CHECKPOINT_EVERY
            && (changed || since >= RENEW_EVERY || (since >= RENEW_BUSY_EVERY && self.ledger.is_busy()));
        if due {
            self.prepare_checkpoint();
            let sent = self.baton.begin_to_renew(&mut self.publisher, &self.ledger).await?;
            if sent {
                self.note_checkpoint();
            }
        }
        Ok(())
    }

    /// A consumer that heard of the end of a paused job too late may have set companies of it aside after its queue was deleted.
    async fn sweep(&mut self) -> Result<(), BrokerError> {
        for (job, _) in self.ledger.jobs().filter(|(_, count)| count.was_paused() && count.done_at().is_some()) {
            self.paused.forget(self.reading, &self.topology, job).await?;
        }
        Ok(())
    }

    fn measure(&self) {
        self.metrics.ledger_offset.set(i64::try_from(self.ledger.next_offset()).unwrap_or(i64::MAX));
        self.metrics.jobs_stalled.set(i64::try_from(self.stalls.found().len()).unwrap_or(i64::MAX));
        self.metrics.set_jobs(self.ledger.jobs().map(|(_, count)| count.state()));
    }

    /// Sets the ledger's clock forward by the time that has passed, and returns the present.
    fn set_clock(&mut self) -> Instant {
        let now = Instant::now();
        self.ledger.advance(now.duration_since(std::mem::replace(&mut self.measured, now)));
        now
    }

    fn prepare_checkpoint(&mut self) {
        self.set_clock();
        self.ledger.keep_at(Timestamp::now());
        self.ledger.optimize();
    }

    async fn checkpoint(&mut self) -> Result<(), BrokerError> {
        self.prepare_checkpoint();
        self.baton.renew(&mut self.publisher, &self.ledger).await?;
        self.note_checkpoint();
        Ok(())
    }

    fn note_checkpoint(&mut self) {
        self.checkpointed = Instant::now();
        self.checkpointed_offset = self.ledger.next_offset();
    }
}

/// How long ago something was, by the clock of another machine and this one's; nothing where they cannot be believed.
fn believed_age(then: Timestamp) -> Option<Duration> {
    then.until(Timestamp::now()).filter(|age| *age <= CLOCKS_BELIEVED)
}
