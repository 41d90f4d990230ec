//! Publishing a job. A session ends with the job or with the connection; the next goes on where the last one stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, Publisher, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Cancelled, Enqueued, Event, Index, Job, JobEvent, Message, Opened, Sealed, State, Work};
use rollcall_shared::topology::Topology;
use uuid::Uuid;

use super::claim::{Claim, Patience};
use super::rows::{Next, Rows};
use crate::companies::{BadInput, Company};
use crate::run::Failure;
use crate::status::thousands;

/// How the enqueuing ended. Where not everything is enqueued, a job is cancelled, and what is enqueued once more is left so.
pub(crate) enum Ending {
    /// Every company is enqueued.
    Sealed,
    /// A row could not be taken.
    BadInput(BadInput),
    /// What is no file could not be read on.
    Failed(Failure),
    /// Reading the file crashed.
    Crashed,
    /// A person interrupted it.
    Interrupted,
    /// The job's name is another producer's, whose job stands so.
    Taken(State),
}

/// What is to be done next.
enum Phase {
    Open,
    Claim,
    Enqueue,
    End(Ending),
    Ended(Ending),
}

/// A message published and not yet confirmed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    Company(u32),
    Event,
}

/// What is enqueued: a job from its beginning, the rest of one, or some companies of one once more.
pub(crate) enum Part {
    /// The whole job.
    Whole {
        /// Whether somebody chose its name, whom another may have come before.
        name_is_given: bool,
    },
    /// What comes from this index on: the job has been opened, and the companies before it are enqueued.
    From(u64),
    /// Some companies of a job that is sealed, which has been redriven so often.
    Some {
        /// How often.
        round: u32,
    },
}

/// How often the ledger is told how far the file has been enqueued.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A job on its way into the broker.
pub(crate) struct Enqueuing {
    opened: Opened,
    part: Part,
    rows: Rows,
    /// Companies taken from the file: the job's total, once the broker has stored them all.
    taken: u64,
    /// Whether the file has no more. It says so once, and a connection may be lost afterwards.
    is_read: bool,
    /// Companies that the broker has stored, for whoever watches.
    enqueued: Arc<AtomicU64>,
    /// How many of them the ledger has been told of, and when.
    told: (u64, Instant),
    trace: Uuid,
    claim: Claim,
    phase: Option<Phase>,
    /// Companies that a lost connection left unconfirmed.
    again: Vec<(Sent, Message)>,
}

impl Enqueuing {
    pub(crate) fn new(opened: Opened, part: Part, rows: Rows, enqueued: Arc<AtomicU64>) -> Enqueuing {
        let (phase, taken) = match part {
            Part::Whole { .. } => (Phase::Open, 0),
            Part::From(position) => (Phase::Enqueue, position),
            Part::Some { .. } => (Phase::Enqueue, 0),
        };
        enqueued.store(taken, Ordering::Relaxed);
        let (trace, told) = (Uuid::now_v7(), (taken, Instant::now()));
        let claim = Claim::to(matches!(part, Part::Whole { name_is_given: true }));
        Enqueuing {
            opened,
            part,
            rows,
            taken,
            is_read: false,
            enqueued,
            told,
            trace,
            claim,
            phase: Some(phase),
            again: Vec::new(),
        }
    }

    /// The job.
    pub(crate) fn job(&self) -> &Job {
        &self.opened.job
    }

    /// Companies stored by the broker so far.
    pub(crate) fn enqueued(&self) -> u64 {
        self.enqueued.load(Ordering::Relaxed)
    }

    /// What has come of it, where that is less than everything.
    pub(crate) fn left(&self) -> String {
        let job = &self.opened.job;
        let enqueued = format!("{} companies were enqueued before that", thousands(self.enqueued()));
        match (&self.part, &self.phase) {
            (Part::Some { .. }, _) => enqueued,
            (_, Some(Phase::Ended(_))) => format!("job {job} is cancelled; {enqueued}"),
            _ => format!("job {job} is neither sealed nor cancelled; {enqueued}"),
        }
    }

    /// How it ended, once it has.
    pub(crate) fn ending(self) -> Option<Ending> {
        match self.phase {
            Some(Phase::Ended(ending)) => Some(ending),
            _ => None,
        }
    }

    /// Goes on until the job is sealed or cancelled, or the connection is lost.
    pub(crate) async fn session(&mut self, broker: &BrokerArgs, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let link = connect(broker, &format!("rollcall producer {}", self.opened.job)).await?;
        let channel = link.channel().await?;
        let topology = broker.topology();
        topology.declare(&channel).await?;
        topology.declare_model(&channel, &self.opened.model).await?;
        let mut publisher = Publisher::on(&link, channel).await?.with_ledger_fallback(&topology);
        let ended = self.go_on(&mut publisher, &link, &topology, shutdown).await;
        // An event is made anew from the phase; a company is known only from its message.
        self.again.extend(publisher.into_unconfirmed().into_iter().filter(|(sent, _)| *sent != Sent::Event));
        // In the file's order, so that what is confirmed is always the first so many.
        self.again.sort_unstable_by_key(|(sent, _)| *sent);
        ended?;
        link.close().await;
        Ok(())
    }

    async fn go_on(
        &mut self,
        publisher: &mut Publisher<Sent>,
        link: &BrokerConnection,
        topology: &Topology,
        shutdown: &Shutdown,
    ) -> Result<(), BrokerError> {
        let again = std::mem::take(&mut self.again);
        publisher.publish(again).await?;
        loop {
            let next = match self.phase.take() {
                Some(Phase::Open) => {
                    self.phase = Some(Phase::Open);
                    let opened = JobEvent::Opened(self.opened.clone());
                    self.tell(publisher, topology, opened).await?;
                    Phase::Claim
                }
                Some(Phase::Claim) => {
                    self.phase = Some(Phase::Claim);
                    self.ask_whose_name(Patience::UntilRead, link, topology, shutdown).await?;
                    self.refused(shutdown).map_or(Phase::Enqueue, Phase::End)
                }
                Some(Phase::Enqueue) => {
                    self.phase = Some(Phase::Enqueue);
                    Phase::End(self.enqueue(publisher, link, topology, shutdown).await?)
                }
                Some(Phase::End(ending)) => {
                    // The ending is kept over a lost connection: the file does not say it again.
                    self.phase = Some(Phase::End(ending));
                    publisher.flush().await?;
                    self.enqueued.store(self.taken, Ordering::Relaxed);
                    if let Some(event) = self.last_word() {
                        self.tell(publisher, topology, event).await?;
                    }
                    match self.phase.take() {
                        Some(Phase::End(ending)) => Phase::Ended(ending),
                        _ => return Ok(()),
                    }
                }
                ended => {
                    self.phase = ended;
                    return Ok(());
                }
            };
            self.phase = Some(next);
        }
    }

    async fn tell(&mut self, publisher: &mut Publisher<Sent>, topology: &Topology, event: JobEvent) -> Result<(), BrokerError> {
        publisher.publish_now(Sent::Event, message(topology, event)?).await?;
        Ok(())
    }

    /// Asks whose the job's name is, where that is not known yet.
    async fn ask_whose_name(
        &mut self,
        patience: Patience,
        link: &BrokerConnection,
        topology: &Topology,
        shutdown: &Shutdown,
    ) -> Result<(), BrokerError> {
        if self.claim.is_unknown() {
            tokio::select! {
                claim = Claim::ask(&self.opened, patience, link, topology) => self.claim = claim?,
                () = shutdown.requested() => {}
            }
        }
        Ok(())
    }

    /// Why nothing more is to be enqueued; nothing where there is no reason.
    fn refused(&self, shutdown: &Shutdown) -> Option<Ending> {
        match self.claim {
            Claim::Taken(state) => Some(Ending::Taken(state)),
            _ => shutdown.is_requested().then_some(Ending::Interrupted),
        }
    }

    /// Publishes every company.
    async fn enqueue(
        &mut self,
        publisher: &mut Publisher<Sent>,
        link: &BrokerConnection,
        topology: &Topology,
        shutdown: &Shutdown,
    ) -> Result<Ending, BrokerError> {
        loop {
            if self.claim.is_due() {
                self.ask_whose_name(Patience::Once, link, topology, shutdown).await?;
                if let Some(ending) = self.refused(shutdown) {
                    return Ok(ending);
                }
            }
            if self.is_read {
                return self.end(link, topology, shutdown).await;
            }
            let batch = tokio::select! {
                batch = self.rows.next() => batch,
                // The rows may come from somebody who pauses.
                () = tokio::time::sleep(TELL_EVERY) => {
                    let mut confirmed = Vec::new();
                    publisher.confirmed_by_now(&mut confirmed)?;
                    self.count(&confirmed);
                    self.tell_position(publisher, topology).await?;
                    continue;
                }
                () = shutdown.requested() => return Ok(Ending::Interrupted),
            };
            match batch {
                Next::Companies(companies) => {
                    self.taken += companies.len() as u64;
                    let sent = |company: Company| (Sent::Company(company.index), self.message(topology, company));
                    let messages = companies.into_iter().map(sent).collect();
                    self.publish(publisher, messages).await?;
                    self.tell_position(publisher, topology).await?;
                }
                Next::Bad(bad) => return Ok(Ending::BadInput(bad)),
                Next::Failed(failure) => return Ok(Ending::Failed(failure)),
                Next::End => self.is_read = true,
                Next::Crashed => return Ok(Ending::Crashed),
            }
        }
    }

    /// How the job ends once its file is read.
    async fn end(&mut self, link: &BrokerConnection, topology: &Topology, shutdown: &Shutdown) -> Result<Ending, BrokerError> {
        // What is sealed cannot be taken back.
        self.ask_whose_name(Patience::UntilRead, link, topology, shutdown).await?;
        if self.claim.is_unknown() {
            tracing::warn!(job = %self.opened.job, "no aggregator has said whether another producer opened a job of this name first; if so, none of these companies is counted");
        }
        Ok(self.refused(shutdown).unwrap_or(Ending::Sealed))
    }

    async fn publish(&mut self, publisher: &mut Publisher<Sent>, messages: Vec<(Sent, Message)>) -> Result<(), BrokerError> {
        let mut confirmed = Vec::new();
        while publisher.room() < messages.len() {
            match publisher.confirmed().await {
                Ok(sent) => confirmed.extend(sent),
                Err(error) => {
                    self.again.extend(messages);
                    self.count(&confirmed);
                    return Err(error);
                }
            }
        }
        self.count(&confirmed);
        publisher.publish(messages).await
    }

    /// Tells the ledger how far it has come, now and then, for whoever may have to go on.
    async fn tell_position(&mut self, publisher: &mut Publisher<Sent>, topology: &Topology) -> Result<(), BrokerError> {
        let position = self.enqueued();
        let (told, at) = self.told;
        if matches!(self.part, Part::Some { .. }) || position == told || at.elapsed() < TELL_EVERY {
            return Ok(());
        }
        self.told = (position, Instant::now());
        let enqueued = Enqueued { job: self.opened.job.clone(), position, opening: self.opened.opening };
        publisher.publish(vec![(Sent::Event, message(topology, JobEvent::Enqueued(enqueued))?)]).await
    }

    fn count(&self, confirmed: &[Sent]) {
        let companies = confirmed.iter().filter(|sent| **sent != Sent::Event).count();
        self.enqueued.fetch_add(companies as u64, Ordering::Relaxed);
    }

    fn message(&self, topology: &Topology, company: Company) -> Message {
        let Company { index, company_id, record } = company;
        let work = Work {
            job: self.opened.job.clone(),
            index: Index(index),
            company_id,
            attempt: 1,
            round: if let Part::Some { round } = self.part { round } else { 0 },
            opening: self.opened.opening,
            priority: self.opened.settings.priority,
            deliveries: 0,
            deliveries_alone: 0,
            retry: self.opened.settings.retry.clone(),
            traceparent: self.traceparent(index),
            record,
        };
        let routing_key = Topology::work_key(&self.opened.model, work.priority);
        Message { exchange: topology.work(), routing_key, properties: work.properties(), body: work.record }
    }

    /// W3C Trace Context: one trace a job, one span a company; a span id of zero would be invalid.
    fn traceparent(&self, index: u32) -> String {
        format!("00-{}-{:016x}-01", self.trace.simple(), u64::from(index) + 1)
    }

    fn last_word(&self) -> Option<JobEvent> {
        let Some(Phase::End(ending)) = &self.phase else { return None };
        if matches!(self.part, Part::Some { .. }) {
            // The job is sealed: what is left to enqueue of it can be enqueued at any time.
            return None;
        }
        let (job, opening) = (self.opened.job.clone(), self.opened.opening);
        let total = self.taken;
        let reason = match ending {
            Ending::Sealed => return Some(JobEvent::Sealed(Sealed { job, total, opening })),
            Ending::Taken(_) => return None,
            Ending::BadInput(bad) => bad.to_string(),
            Ending::Failed(failure) => failure.to_string(),
            Ending::Crashed => "reading its file crashed".to_owned(),
            Ending::Interrupted => "its producer was interrupted".to_owned(),
        };
        Some(JobEvent::Cancelled(Cancelled { job, reason, total: Some(total), redrives: 0, opening }))
    }
}

fn message(topology: &Topology, event: JobEvent) -> Result<Message, BrokerError> {
    Ok(Event::now(event).message(topology.events())?)
}
