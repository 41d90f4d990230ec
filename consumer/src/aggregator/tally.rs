//! One session of an aggregator with the broker: wait for the baton, read the ledger up to now, then count and announce.
//!
//! The channel that holds the baton is the channel that publishes job events. The broker hands the baton on only after it has
//! closed that channel, so nothing that an old holder publishes can come after a new one has begun: that, and reading the
//! ledger up to a marker of its own before it announces anything, is why a job has one done event.

mod announce;
mod baton;
mod control;
mod dead;
mod paused;
mod records;
mod silence;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::broker::{BrokerError, Link, Publisher, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Job, JobEvent, MARKER_TYPE, Message, persistent};
use rollcall_shared::telemetry::{AggregatorMetrics, Readiness};
use rollcall_shared::topology::Topology;

use super::cli::AggregatorArgs;
use super::ledger::{Ledger, Record};
use super::serve::Questions;
use announce::Announcer;
use baton::Baton;
use control::Orders;
use dead::{Dead, DeadLetters};
use paused::PausedCompanies;
use records::Records;
use silence::Silence;

/// The baton is renewed this often while counts change: what a successor has to read again is at most this much.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// And this often when they do not: the broker takes back what stays unacknowledged for half an hour.
const RENEW_EVERY: Duration = Duration::from_secs(300);

/// Until the marker is read there is always a next record.
const NEXT_WITHIN: Duration = Duration::from_secs(30);

/// Progress is told this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Runs until `shutdown`, or until the connection is lost.
pub(super) async fn session(
    args: &AggregatorArgs,
    shutdown: &Shutdown,
    metrics: &AggregatorMetrics,
    ready: &Readiness,
) -> Result<(), BrokerError> {
    let topology = args.broker.topology();
    let publishing = connect(&args.broker, "rollcall aggregator: events").await?;
    let reading = connect(&args.broker, "rollcall aggregator: ledger").await?;
    let channel = publishing.channel().await?;
    topology.declare(&channel).await?;
    topology.declare_aggregator(&channel).await?;
    ready.set(true);
    tracing::info!("waiting for the baton");
    let mut publisher = Publisher::on(&publishing, channel.clone()).await?;
    let Some((baton, ledger)) = Baton::take(&channel, &mut publisher, &topology, shutdown).await? else { return Ok(()) };
    tracing::info!(offset = ledger.next_offset(), "took the baton");
    let tally = Tally {
        announcer: Announcer::new(publishing.channel().await?, &topology),
        orders: Orders::new(&topology),
        dead: DeadLetters::default(),
        paused: PausedCompanies::default(),
        silence: Silence::new(),
        reading: &reading,
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
    let ended = tally.run(publishing.channel().await?, shutdown).await;
    metrics.active.set(0);
    ended?;
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
    reading: &'a Link,
    moved: HashSet<Job>,
    checkpointed: Instant,
    checkpointed_offset: u64,
    topology: Topology,
    metrics: &'a AggregatorMetrics,
}

impl Tally<'_> {
    async fn run(mut self, questions: Channel, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let marker = self.mark().await?;
        self.start_over_if_replaced().await?;
        let mut records = Records::open(self.reading.channel().await?, &self.topology, self.ledger.next_offset()).await?;
        let caught_up = tokio::select! {
            caught_up = self.catch_up(&mut records, &marker) => caught_up,
            () = shutdown.requested() => return Ok(()),
        };
        caught_up?;
        tracing::info!(offset = self.ledger.next_offset(), "read the ledger up to now; counting");
        let questions = Questions::open(questions, &self.topology).await?;
        let jobs: Vec<Job> = self.ledger.jobs().map(|(job, _)| job.clone()).collect();
        self.act(jobs, Instant::now()).await?;
        self.count(records, questions, shutdown).await
    }

    /// Puts a marker into the ledger, by which to know where now is.
    async fn mark(&mut self) -> Result<String, BrokerError> {
        let marker = format!("marker/{}", Job::unique());
        let message = Message {
            exchange: String::new(),
            routing_key: self.topology.ledger(),
            properties: persistent(MARKER_TYPE, marker.clone()),
            body: Vec::new(),
        };
        self.publisher.publish_now((), message).await?;
        Ok(marker)
    }

    /// A ledger that ends before the checkpoint is another ledger: it is counted from its beginning.
    async fn start_over_if_replaced(&mut self) -> Result<(), BrokerError> {
        // Where a marker has just been put, the last records come after every checkpoint.
        let end = records::last_offset(&self.reading.channel().await?, &self.topology).await?;
        if end >= self.ledger.next_offset() {
            return Ok(());
        }
        tracing::error!(
            ledger_end = end,
            checkpoint = self.ledger.next_offset(),
            "the ledger ends before the checkpoint: it was deleted and declared anew; counting it from its beginning"
        );
        let told: Vec<Job> = self.ledger.jobs().filter(|(_, count)| count.had_orders()).map(|(job, _)| job.clone()).collect();
        self.orders.lift(&mut self.publisher, &told).await?;
        self.ledger = Ledger::default();
        self.checkpoint().await
    }

    /// Reads the ledger up to `marker`.
    async fn catch_up(&mut self, records: &mut Records, marker: &str) -> Result<(), BrokerError> {
        loop {
            let read = tokio::time::timeout(NEXT_WITHIN, records.next()).await.map_err(|_| left_alone())??;
            records.ask_for_more().await?;
            let mut reached = false;
            for record in read {
                reached |= record.marker.as_deref() == Some(marker);
                self.take_in(record);
            }
            if reached {
                return Ok(());
            }
        }
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
                question = questions.next() => question?.answer(&self.ledger).await?,
                dead = self.dead.next() => self.fail(dead?).await?,
                resumed = self.paused.next(&self.topology) => resumed?.put_back(&mut self.publisher).await?,
                _ = second.tick() => {
                    records.acknowledge().await?;
                    self.each_second().await?;
                }
                () = shutdown.requested() => return self.checkpoint().await,
            }
        }
    }

    async fn take_in_batch(&mut self, records: Vec<records::Read>) -> Result<(), BrokerError> {
        let read_at = Instant::now();
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
        self.metrics.ledger_lag.set(read.age_seconds);
        if let Record::Event(JobEvent::Done(done)) = &read.record
            && let Some(known_since) = self.announcer.heard(done)
        {
            self.metrics.last_result_to_done.observe(known_since.elapsed().as_secs_f64());
            tracing::info!(job = %done.job, state = %done.state, "announced done");
        }
        let touched = self.ledger.apply(read.offset, read.record)?;
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
            if let Some(message) = self.announcer.done(&job, count, read_at) {
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

    /// Answers for a company that no consumer survived. The answer comes back by the ledger, and is counted like any other.
    async fn fail(&mut self, mut dead: Dead) -> Result<(), BrokerError> {
        if let Some(result) = dead.result(&self.topology) {
            self.publisher.publish_now((), result).await?;
        }
        dead.acknowledge().await
    }

    async fn each_second(&mut self) -> Result<(), BrokerError> {
        self.silence.look(self.ledger.next_offset(), self.reading, &self.topology).await?;
        self.dead.subscribe(self.reading, &self.topology, self.ledger.models()).await?;
        self.paused.follow(self.reading, &self.topology, &self.ledger).await?;
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
        self.measure();
        let changed = self.ledger.next_offset() != self.checkpointed_offset;
        let due = if changed { CHECKPOINT_EVERY } else { RENEW_EVERY };
        if self.checkpointed.elapsed() >= due {
            self.ledger.optimize();
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
        self.metrics.set_jobs(self.ledger.jobs().map(|(_, count)| count.state()));
    }

    async fn checkpoint(&mut self) -> Result<(), BrokerError> {
        self.ledger.optimize();
        self.baton.renew(&mut self.publisher, &self.ledger).await?;
        self.note_checkpoint();
        Ok(())
    }

    fn note_checkpoint(&mut self) {
        self.checkpointed = Instant::now();
        self.checkpointed_offset = self.ledger.next_offset();
    }
}

fn left_alone() -> BrokerError {
    BrokerError::Lost(format!("expected the ledger's records up to now, found none for {NEXT_WITHIN:?}"))
}
