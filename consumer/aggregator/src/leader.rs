//! One session of an aggregator with the broker: it waits as a standby, becomes the leader, reads the ledger up to now, and then counts
//! and announces.
//!
//! The channel that holds the checkpoint is the channel that publishes done events, and all others that the ledger keeps;
//! `progress` and `stalled`, which it does not keep, have a channel of their own. The broker delivers the checkpoint to a standby
//! only after it has closed that channel, so no done event of a former leader can follow what its successor publishes. That, and
//! that a leader announces nothing before it has read the ledger up to a marker of its own, is why a job has one done event.

mod act;
mod announcements;
mod bindings;
mod checkpoint;
mod control_messages;
mod count;
mod dead_letters;
mod ignored_records;
mod paused_companies;
mod queue_depths;
mod reader_liveness;
mod records;
mod refused_done;
mod replaced_ledger;
mod stalled_jobs;
mod subscriptions;
mod unreadable_record;
mod waiting_retries;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, LeaderClient, Publisher, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Job, Timestamp, marker, new_marker_id};
use rollcall_shared::telemetry::{AggregatorMetrics, Readiness};
use rollcall_shared::topology::Topology;

use crate::cli::AggregatorArgs;
use crate::jobs::Jobs;
use crate::queries::Queries;
use crate::scale::{self, LatestSignals};
use announcements::Announcements;
use bindings::Bindings;
use checkpoint::Checkpoint;
use control_messages::ControlMessages;
use dead_letters::DeadLetters;
use ignored_records::IgnoredRecords;
use paused_companies::PausedCompanies;
use reader_liveness::ReaderLiveness;
use records::{LedgerReader, LedgerRecord};
use refused_done::RefusedDone;
use stalled_jobs::StalledJobs;
pub(crate) use unreadable_record::UnreadableRecord;
use waiting_retries::WaitingRetries;

/// Two machines' clocks tell how long ago something was, or for how long no aggregator counted. Beyond this it may be that their clocks differ,
/// and the time counts as unknown.
const MAX_CLOCK_AGE: Duration = Duration::from_secs(60);

/// How often progress is published, and everything else that is not done for each record.
const EVERY: Duration = Duration::from_secs(1);

/// Runs until `shutdown`, or until the connection is lost.
pub(crate) async fn session(
    args: &AggregatorArgs,
    shutdown: &Shutdown,
    ready: &Readiness,
    latest: &LatestSignals,
    unreadable: &mut UnreadableRecord,
) -> Result<(), BrokerError> {
    let topology = args.broker.topology();
    let publishing = connect(&args.broker, "rollcall aggregator: events").await?;
    let reading = connect(&args.broker, "rollcall aggregator: ledger").await?;
    let channel = publishing.channel().await?;
    topology.declare(&channel).await?;
    topology.declare_aggregator(&channel).await?;
    ready.set(true);
    tracing::info!(event = "standing_by", "waiting to become the leader");
    let mut publisher = Publisher::on(&publishing, channel.clone()).await?.with_ledger_fallback(&topology);
    let mut present_leader = LeaderClient::open(&publishing, &topology).await?;
    let leadership = tokio::select! {
        leadership = Checkpoint::wait_to_lead(&channel, &mut publisher, &topology, shutdown) => leadership?,
        lost = scale::follow_leader(&mut present_leader, latest) => match lost? {},
    };
    present_leader.close().await;
    let Some((checkpoint, saved)) = leadership else { return Ok(()) };
    let mut jobs = unreadable.continue_from(saved);
    tracing::info!(event = "became_leader", offset = jobs.next_offset(), "became the leader");
    jobs.continue_after(jobs.saved_at().and_then(believed_age));
    let mut leader = Leader::new(jobs, checkpoint, publisher, &reading, &publishing, &args.broker, latest).await?;
    latest.metrics().active.set(1);
    let ended = leader.run(unreadable, shutdown).await;
    latest.metrics().active.set(0);
    if let Err(error) = ended {
        unreadable.note(&error, leader.jobs);
        return Err(error);
    }
    reading.close().await;
    publishing.close().await;
    Ok(())
}

/// The aggregator that counts.
struct Leader<'a> {
    jobs: Jobs,
    checkpoint: Checkpoint,
    /// On the channel that holds the checkpoint.
    publisher: Publisher<()>,
    /// For events that the ledger does not keep.
    unconfirmed: Channel,
    announcements: Announcements,
    control_messages: ControlMessages,
    dead_letters: DeadLetters,
    paused_companies: PausedCompanies,
    reader_liveness: ReaderLiveness,
    stalled_jobs: StalledJobs<'a>,
    waiting_retries: WaitingRetries<'a>,
    bindings: Bindings<'a>,
    ignored_records: IgnoredRecords,
    refused_done: RefusedDone,
    reading: &'a BrokerConnection,
    publishing: &'a BrokerConnection,
    /// Until when the ledger's clock has been advanced.
    clock_read: Instant,
    /// Whether the ledger has been read up to now: the next records are read as they are published.
    has_caught_up: bool,
    /// Jobs with new records since progress was last published.
    changed: HashSet<Job>,
    topology: Topology,
    metrics: &'a AggregatorMetrics,
    latest: &'a LatestSignals,
}

impl<'a> Leader<'a> {
    async fn new(
        jobs: Jobs,
        checkpoint: Checkpoint,
        publisher: Publisher<()>,
        reading: &'a BrokerConnection,
        publishing: &'a BrokerConnection,
        broker: &BrokerArgs,
        latest: &'a LatestSignals,
    ) -> Result<Leader<'a>, BrokerError> {
        let topology = broker.topology();
        Ok(Leader {
            jobs,
            checkpoint,
            publisher,
            unconfirmed: publishing.channel().await?,
            announcements: Announcements::new(&topology),
            control_messages: ControlMessages::new(&topology),
            dead_letters: DeadLetters::new(),
            paused_companies: PausedCompanies::new(Publisher::on(publishing, publishing.channel().await?).await?),
            reader_liveness: ReaderLiveness::new(),
            stalled_jobs: StalledJobs::new(broker, publishing, &topology),
            waiting_retries: WaitingRetries::new(broker, publishing, &topology),
            bindings: Bindings::new(reading, &topology),
            ignored_records: IgnoredRecords::default(),
            refused_done: RefusedDone::default(),
            reading,
            publishing,
            clock_read: Instant::now(),
            has_caught_up: false,
            changed: HashSet::new(),
            topology,
            metrics: latest.metrics(),
            latest,
        })
    }

    async fn run(&mut self, unreadable: &mut UnreadableRecord, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let marker = self.put_marker().await?;
        self.start_over_if_ledger_was_replaced().await?;
        let one_by_one = unreadable.is_ahead();
        let mut reader = self.open_reader(one_by_one).await?;
        tokio::select! {
            read = self.read_up_to(&marker, &mut reader) => read?,
            () = shutdown.requested() => return Ok(()),
        }
        if one_by_one {
            unreadable.passed();
            reader = self.open_reader(false).await?;
        }
        self.has_caught_up = true;
        tracing::info!(event = "counting", offset = self.jobs.next_offset(), "read the ledger up to now; counting");
        let queries = Queries::open(&self.publishing.channel().await?, &self.topology).await?;
        let jobs: Vec<Job> = self.jobs.all().map(|(job, _)| job.clone()).collect();
        self.act_on(jobs, Instant::now()).await?;
        self.lead(reader, queries, shutdown).await
    }

    /// Puts a marker into the ledger: a reader that has read it has read all that was there before.
    async fn put_marker(&mut self) -> Result<String, BrokerError> {
        let id = new_marker_id();
        self.publisher.publish_now((), marker(&id, self.topology.ledger())).await?;
        Ok(id)
    }

    async fn open_reader(&self, one_by_one: bool) -> Result<LedgerReader, BrokerError> {
        let next = self.jobs.next_offset();
        if one_by_one {
            return LedgerReader::open_one_by_one(self.reading, &self.topology, next).await;
        }
        LedgerReader::open(self.reading, &self.topology, next).await
    }

    /// Counts the ledger's records up to `marker`.
    async fn read_up_to(&mut self, marker: &str, reader: &mut LedgerReader) -> Result<(), BrokerError> {
        let count = |records: Vec<LedgerRecord>| {
            self.advance_clock();
            for record in records {
                self.count(record);
            }
        };
        reader.until_marker(marker, count).await
    }

    /// Counts, acts and answers queries until `shutdown`.
    async fn lead(&mut self, mut reader: LedgerReader, mut queries: Queries, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                records = reader.next() => {
                    let records = records?;
                    reader.ask_for_more().await?;
                    self.count_and_act(records).await?;
                }
                message = self.checkpoint.next() => self.checkpoint.receive(message?).await?,
                confirmed = self.publisher.confirmed(), if self.publisher.pending() > 0 => drop(confirmed?),
                query = queries.next() => {
                    self.advance_clock();
                    let signals = || self.jobs.scale_signals(self.waiting_retries.counts(), self.stalled_jobs.found());
                    query?.answer(&self.jobs, self.stalled_jobs.found(), signals).await?;
                }
                dead = self.dead_letters.next() => self.publish_failures(dead).await?,
                resumed = self.paused_companies.next(&self.topology) => self.paused_companies.put_back(resumed).await?,
                searched = self.stalled_jobs.next() => self.stalled_jobs.note_search(searched),
                counted = self.waiting_retries.next() => self.waiting_retries.note(counted),
                () = self.bindings.declared() => {}
                _ = tick.tick() => {
                    reader.acknowledge().await?;
                    self.every_second().await?;
                }
                () = shutdown.requested() => return self.save_checkpoint().await,
            }
        }
    }

    /// Advances the ledger's clock by the time that has passed, and returns the present.
    fn advance_clock(&mut self) -> Instant {
        let now = Instant::now();
        self.jobs.advance(now.duration_since(std::mem::replace(&mut self.clock_read, now)));
        now
    }

    /// Saves the present state, and waits until the broker has it.
    async fn save_checkpoint(&mut self) -> Result<(), BrokerError> {
        self.advance_clock();
        self.jobs.prepare_checkpoint(Timestamp::now());
        self.checkpoint.save(&mut self.publisher, &self.jobs).await
    }
}

/// How long ago something was, by the clocks of another machine and of this one; `None` if it is too long to believe.
fn believed_age(then: Timestamp) -> Option<Duration> {
    then.until(Timestamp::now()).filter(|age| *age <= MAX_CLOCK_AGE)
}
