//! Publishes a job's companies and events. A session ends with the job or with the connection; the next session continues from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use rollcall_shared::broker::{BrokerError, Publisher, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Cancelled, Enqueued, Event, Index, JobEvent, Message, Opened, Sealed, State, Work};
use rollcall_shared::topology::Topology;
use uuid::Uuid;

use super::claim::{Claim, Patience, name_taken};
use super::rows::{Next, Rows};
use crate::broker_session::{BrokerAccess, BrokerSession};
use crate::companies::{BadInput, Company};
use crate::error::ProducerError;

/// How long an interrupted producer tries to publish that its job is cancelled.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the position is published to the ledger.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Which companies are enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All companies of a new job. A name that the user gave may belong to another producer.
    Whole { name_is_given: bool },
    /// Companies from this index on: the job is open, and the companies before it are enqueued.
    From(u64),
    /// Some companies of a sealed job, in this round of redriving it.
    Redriven { round: u32 },
}

/// How publishing ended. On any ending but `Sealed` and `Taken`, a job that is not sealed is cancelled.
enum Ending {
    /// Every company is enqueued.
    Sealed,
    /// A row was refused.
    BadInput(BadInput),
    /// A source that is no file could not be read on.
    Failed(ProducerError),
    /// The thread that reads the file crashed.
    Crashed,
    Interrupted,
    /// The job's name belongs to another producer.
    Taken(State),
}

/// The ticket of a message that is not yet confirmed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    Company(u32),
    Event,
}

/// Publishes a job; keeps what must survive a lost connection.
pub(crate) struct JobPublisher {
    opened: Opened,
    scope: Scope,
    rows: Rows,
    /// The trace id of the job.
    trace: Uuid,
    /// Whether the broker has the `opened` event.
    is_opened: bool,
    claim: Claim,
    /// Companies taken from the file: the job's total, once the broker has stored them all.
    taken: u64,
    /// Whether the end of the file was read. `rows` says so only once, and the connection may be lost afterwards.
    is_read: bool,
    /// Companies that the broker has stored; shared with the code that follows the job.
    enqueued: Arc<AtomicU64>,
    /// The position that was last published to the ledger, and when.
    last_reported: (u64, Instant),
    /// Companies that a lost connection left unconfirmed.
    unconfirmed: Vec<(Sent, Message)>,
    /// How publishing ended. It is kept over a lost connection: the file does not say it again.
    ending: Option<Ending>,
    /// Whether the last event, if the ending has one, is published.
    is_closed: bool,
    /// Whether the job stays open if its file cannot be read on for a reason that is not the file's.
    stays_open_if_unreadable: bool,
}

/// A connection of the publisher.
struct Session<'a> {
    publisher: Publisher<Sent>,
    broker: &'a mut BrokerSession,
    topology: &'a Topology,
    shutdown: &'a Shutdown,
}

impl JobPublisher {
    pub(crate) fn new(opened: Opened, scope: Scope, rows: Rows, enqueued: Arc<AtomicU64>) -> JobPublisher {
        let taken = if let Scope::From(position) = scope { position } else { 0 };
        enqueued.store(taken, Ordering::Relaxed);
        JobPublisher {
            opened,
            scope,
            rows,
            trace: Uuid::now_v7(),
            is_opened: !matches!(scope, Scope::Whole { .. }),
            claim: Claim::new(scope == Scope::Whole { name_is_given: true }),
            taken,
            is_read: false,
            enqueued,
            last_reported: (taken, Instant::now()),
            unconfirmed: Vec::new(),
            ending: None,
            is_closed: false,
            stays_open_if_unreadable: false,
        }
    }

    /// Leaves the job open if its file cannot be read on for a reason that is not the file's: whoever publishes it will go on with it.
    pub(crate) fn stay_open_if_unreadable(self) -> JobPublisher {
        JobPublisher { stays_open_if_unreadable: true, ..self }
    }

    /// Publishes everything, over as many connections as it takes; returns the number of enqueued companies.
    pub(crate) async fn publish_all(mut self, broker: &BrokerAccess, shutdown: &Shutdown) -> Result<u64, ProducerError> {
        supervise(broker.args(), shutdown, PATIENCE, || {}, async || self.session(broker, shutdown).await).await?;
        let (job, enqueued, left) = (&self.opened.job, self.enqueued.load(Ordering::Relaxed), self.left());
        match self.ending.filter(|_| self.is_closed) {
            Some(Ending::Sealed) => Ok(enqueued),
            Some(Ending::BadInput(bad)) => Err(ProducerError::Aborted { bad: Box::new(bad), left }),
            Some(Ending::Failed(error)) => Err(error),
            Some(Ending::Taken(state)) => Err(name_taken(job, state, enqueued)),
            Some(Ending::Crashed) => Err(ProducerError::System(format!("reading the file crashed ({left})"))),
            Some(Ending::Interrupted) => Err(ProducerError::Interrupted(format!("interrupted ({left})"))),
            None => Err(ProducerError::Interrupted(format!("interrupted, and the broker does not answer ({left})"))),
        }
    }

    /// What became of the job, if not everything was enqueued.
    fn left(&self) -> String {
        let job = &self.opened.job;
        let enqueued = format!("{} companies were enqueued before that", HumanCount(self.enqueued.load(Ordering::Relaxed)));
        match self.scope {
            Scope::Redriven { .. } => enqueued,
            _ if self.is_closed && matches!(self.last_event(), Some(JobEvent::Cancelled(_))) => {
                format!("job {job} is cancelled; {enqueued}")
            }
            _ => format!("job {job} is neither sealed nor cancelled; {enqueued}"),
        }
    }

    /// Publishes until the job is sealed or cancelled, or the connection is lost.
    async fn session(&mut self, broker: &BrokerAccess, shutdown: &Shutdown) -> Result<(), BrokerError> {
        let topology = broker.topology();
        let mut broker = broker.session(&format!("rollcall producer {}", self.opened.job)).await?;
        let channel = broker.channel().await?;
        topology.declare(&channel).await?;
        topology.declare_model(&channel, &self.opened.model).await?;
        let publisher = Publisher::on(broker.link(), channel).await?.with_ledger_fallback(&topology);
        let mut session = Session { publisher, broker: &mut broker, topology: &topology, shutdown };
        let published = self.publish(&mut session).await;
        // Events are made anew; a company is known only from its message.
        let unconfirmed = session.publisher.into_unconfirmed();
        self.unconfirmed.extend(unconfirmed.into_iter().filter(|(sent, _)| *sent != Sent::Event));
        // In the file's order, so that the confirmed companies are always the first ones of the file.
        self.unconfirmed.sort_unstable_by_key(|(sent, _)| *sent);
        published?;
        broker.close().await;
        Ok(())
    }

    async fn publish(&mut self, session: &mut Session<'_>) -> Result<(), BrokerError> {
        session.publisher.publish(std::mem::take(&mut self.unconfirmed)).await?;
        if self.ending.is_none() {
            self.ending = Some(self.publish_job(session).await?);
        }
        session.publisher.flush().await?;
        self.enqueued.store(self.taken, Ordering::Relaxed);
        if let Some(event) = self.last_event() {
            session.publish_event(event).await?;
        }
        self.is_closed = true;
        Ok(())
    }

    /// Opens the job, makes sure that its name is this producer's, and publishes its companies.
    async fn publish_job(&mut self, session: &mut Session<'_>) -> Result<Ending, BrokerError> {
        if !self.is_opened {
            session.publish_event(JobEvent::Opened(self.opened.clone())).await?;
            self.is_opened = true;
        }
        if self.claim.was_never_checked() {
            self.check_claim(Patience::UntilRead, session).await?;
        }
        if let Some(ending) = self.early_ending(session.shutdown) {
            return Ok(ending);
        }
        self.publish_companies(session).await
    }

    async fn publish_companies(&mut self, session: &mut Session<'_>) -> Result<Ending, BrokerError> {
        loop {
            if self.claim.is_due() {
                self.check_claim(Patience::Once, session).await?;
                if let Some(ending) = self.early_ending(session.shutdown) {
                    return Ok(ending);
                }
            }
            if self.is_read {
                return self.ending_at_end_of_file(session).await;
            }
            let next = tokio::select! {
                next = self.rows.next() => next,
                // The file may be a pipe whose writer pauses.
                () = tokio::time::sleep(REPORT_EVERY) => {
                    let mut confirmed = Vec::new();
                    session.publisher.confirmed_by_now(&mut confirmed)?;
                    self.count(&confirmed);
                    self.report_position(session).await?;
                    continue;
                }
                () = session.shutdown.requested() => return Ok(Ending::Interrupted),
            };
            match next {
                Next::Companies(companies) => {
                    self.taken += companies.len() as u64;
                    let message = |company: Company| (Sent::Company(company.index), self.message(session.topology, company));
                    let messages = companies.into_iter().map(message).collect();
                    self.publish_when_there_is_room(&mut session.publisher, messages).await?;
                    self.report_position(session).await?;
                }
                Next::Bad(bad) => return Ok(Ending::BadInput(bad)),
                Next::Failed(error) => return Ok(Ending::Failed(error)),
                Next::End => self.is_read = true,
                Next::Crashed => return Ok(Ending::Crashed),
            }
        }
    }

    async fn check_claim(&mut self, patience: Patience, session: &mut Session<'_>) -> Result<(), BrokerError> {
        tokio::select! {
            claim = Claim::check(&self.opened, patience, session.broker) => self.claim = claim?,
            () = session.shutdown.requested() => {}
        }
        Ok(())
    }

    /// Why no more companies may be published; `None` if there is no reason.
    fn early_ending(&self, shutdown: &Shutdown) -> Option<Ending> {
        match self.claim {
            Claim::Taken(state) => Some(Ending::Taken(state)),
            _ => shutdown.is_requested().then_some(Ending::Interrupted),
        }
    }

    async fn ending_at_end_of_file(&mut self, session: &mut Session<'_>) -> Result<Ending, BrokerError> {
        // A sealed event cannot be taken back, so this is the last chance to check the claim.
        if self.claim.is_unknown() {
            self.check_claim(Patience::UntilRead, session).await?;
        }
        if self.claim.is_unknown() {
            tracing::warn!(event = "job_name_unverified", job = %self.opened.job, "no aggregator has said whether another producer opened a job of this name first; if so, none of these companies is counted");
        }
        Ok(self.early_ending(session.shutdown).unwrap_or(Ending::Sealed))
    }

    async fn publish_when_there_is_room(
        &mut self,
        publisher: &mut Publisher<Sent>,
        messages: Vec<(Sent, Message)>,
    ) -> Result<(), BrokerError> {
        let mut confirmed = Vec::new();
        while publisher.room() < messages.len() {
            match publisher.confirmed().await {
                Ok(sent) => confirmed.extend(sent),
                Err(error) => {
                    self.unconfirmed.extend(messages);
                    self.count(&confirmed);
                    return Err(error);
                }
            }
        }
        self.count(&confirmed);
        publisher.publish(messages).await
    }

    /// Publishes how many companies are enqueued, at most once a second, for a producer that may have to continue the job.
    async fn report_position(&mut self, session: &mut Session<'_>) -> Result<(), BrokerError> {
        let position = self.enqueued.load(Ordering::Relaxed);
        let (last_position, at) = self.last_reported;
        if matches!(self.scope, Scope::Redriven { .. }) || position == last_position || at.elapsed() < REPORT_EVERY {
            return Ok(());
        }
        self.last_reported = (position, Instant::now());
        let enqueued = Enqueued { job: self.opened.job.clone(), position, opening: self.opened.opening };
        let message = event_message(session.topology, JobEvent::Enqueued(enqueued))?;
        session.publisher.publish(vec![(Sent::Event, message)]).await
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
            round: if let Scope::Redriven { round } = self.scope { round } else { 0 },
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

    /// W3C Trace Context: one trace per job, one span per company. A span id of zero is invalid, so spans begin at 1.
    fn traceparent(&self, index: u32) -> String {
        format!("00-{}-{:016x}-01", self.trace.simple(), u64::from(index) + 1)
    }

    /// The event that seals or cancels the job; `None` if it is not this producer's to seal or cancel.
    fn last_event(&self) -> Option<JobEvent> {
        // A redriven job is sealed already, and the rest of it can be enqueued at any time.
        let ending = self.ending.as_ref().filter(|_| !matches!(self.scope, Scope::Redriven { .. }))?;
        let (job, total, opening) = (self.opened.job.clone(), self.taken, self.opened.opening);
        let reason = match ending {
            Ending::Sealed => return Some(JobEvent::Sealed(Sealed { job, total, opening })),
            Ending::Taken(_) => return None,
            Ending::BadInput(bad) if self.stays_open_if_unreadable && bad.may_pass() => return None,
            Ending::BadInput(bad) => bad.to_string(),
            Ending::Failed(error) => error.to_string(),
            Ending::Crashed => "reading its file crashed".to_owned(),
            Ending::Interrupted => "its producer was interrupted".to_owned(),
        };
        Some(JobEvent::Cancelled(Cancelled { job, reason, total: Some(total), redrives: 0, opening }))
    }
}

impl Session<'_> {
    /// Publishes an event, and returns when the ledger has it.
    async fn publish_event(&mut self, event: JobEvent) -> Result<(), BrokerError> {
        self.publisher.publish_now(Sent::Event, event_message(self.topology, event)?).await?;
        Ok(())
    }
}

fn event_message(topology: &Topology, event: JobEvent) -> Result<Message, BrokerError> {
    Event::now(event).message(topology.events()).map_err(BrokerError::NotJson)
}
