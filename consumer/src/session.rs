//! One session of a consumer with the broker: take work, hand it to the scoring threads, answer for it, obey orders.

mod ending;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::broker::{BrokerError, COALESCE, Publisher, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{ConsumerStatus, Job, Priority};
use rollcall_shared::telemetry::Readiness;
use rollcall_shared::topology::{Backlog, Topology};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::acks::Acks;
use crate::admit::{Admission, Standing, admit};
use crate::answer::{Answers, Place};
use crate::batch::{Room, Scored};
use crate::cli::ConsumerArgs;
use crate::hold::Target;
use crate::in_hand::{AttemptId, Carried};
use crate::intake::{Arrival, Intake, Taken};
use crate::orders::OrderLog;
use crate::status::StatusRequests;
use crate::waiting::Waits;

/// How often to compare what is held with what should be, beside each arrival.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is beyond the target goes back after this part of `--hold`, and this time at most: what has just come may be begun at any moment.
const GIVE_BACK_AFTER_PART: u32 = 4;
const GIVE_BACK_AFTER_AT_MOST: Duration = Duration::from_millis(500);

/// What comes while the scorer is broken goes back after this: another consumer may take it, and if there is none it comes again.
const GIVE_BACK_WHILE_BROKEN: Duration = Duration::from_secs(1);

/// How often the broker is asked, at most, what waits in the queues.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// After so many companies in a row that were not to be scored, as after a large job was cancelled, the scorer's speed says nothing of how
/// many to take.
const PASSED_ON: usize = 32;

/// Companies that wait on the broker for each that is in a call, for a trial of a larger batch to cost the job nothing that shows.
const BACKLOG: usize = 16;

/// A session, and what outlives it.
pub(crate) struct Session<'a> {
    pub(crate) args: &'a ConsumerArgs,
    pub(crate) room: &'a Room,
    /// How long it may take to end, once it is asked to.
    pub(crate) patience: Duration,
    pub(crate) ready: &'a Readiness,
    pub(crate) number: u64,
}

/// What a session has open with the broker.
struct Open {
    topology: Topology,
    /// By which the broker is asked what waits, and when it was asked last.
    questions: Channel,
    asked: Instant,
    intake: Intake,
    answers: Answers,
    orders: OrderLog,
    standing: Standing,
    status_requests: StatusRequests,
    /// Companies since the last one that was to be scored.
    passed_on: usize,
    /// Whether more was taken than is to be held, because what came before was not to be scored.
    has_overshot: bool,
}

impl Session<'_> {
    /// Takes work and answers for it until `shutdown`, or until the connection is lost. Answers also for what earlier sessions left in
    /// `carried`, and leaves there what it could not answer for.
    pub(crate) async fn run(
        &self,
        scored: &mut UnboundedReceiver<Vec<Scored>>,
        carried: &mut Carried,
        shutdown: &Shutdown,
    ) -> Result<(), BrokerError> {
        let ConsumerArgs { broker, model, prefetch, hold, .. } = self.args;
        let threads = self.args.threads();
        let topology = broker.topology();
        // Two connections: a broker short of memory stops reading from those that publish, and acknowledgements must get through.
        let consuming = connect(broker, &format!("rollcall consumer {model}: work")).await?;
        let publishing = connect(broker, &format!("rollcall consumer {model}: results")).await?;
        let work = consuming.channel().await?;
        topology.declare(&work).await?;
        topology.declare_model(&work, model).await?;
        // What is not to be scored must be known before the first company comes.
        let (orders, standing) = OrderLog::open(&publishing, &topology, &carried.interruptions()).await?;
        carried.interrupted.clear();
        let results = Publisher::on(&publishing, publishing.channel().await?).await?.with_ledger_fallback(&topology);
        let intake = Intake::open(work.clone(), &topology, model, threads.min((*prefetch).into()), self.number).await?;
        let status_requests = StatusRequests::open(&publishing.channel().await?, &topology, model).await?;
        let metrics = Arc::clone(&self.room.metrics);
        let mut answers = Answers::open(results, publishing.clone(), (work, self.number), topology.clone(), model, metrics);
        answers.in_hand = std::mem::take(&mut carried.in_hand);
        self.ready.set(true);
        tracing::info!(%model, prefetch, hold_ms = hold.as_millis(), threads, "taking work");
        let (questions, asked) = (publishing.channel().await?, Instant::now());
        let mut open = Open {
            topology,
            questions,
            asked,
            intake,
            answers,
            orders,
            standing,
            status_requests,
            passed_on: 0,
            has_overshot: false,
        };
        if let Err(error) = self.serve(&mut open, scored, carried, shutdown).await {
            *carried = self.carry(open, scored);
            return Err(error);
        }
        consuming.close().await;
        publishing.close().await;
        Ok(())
    }

    async fn serve(
        &self,
        open: &mut Open,
        scored: &mut UnboundedReceiver<Vec<Scored>>,
        carried: &mut Carried,
        shutdown: &Shutdown,
    ) -> Result<(), BrokerError> {
        open.answers.publish_again(std::mem::take(&mut carried.results)).await?;
        self.publish(&mut open.answers, std::mem::take(&mut carried.scored)).await?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shutdown.is_requested() {
            let Open { intake, answers, orders, standing, status_requests, .. } = &mut *open;
            let room = answers.room() >= COALESCE;
            tokio::select! {
                arrival = intake.next(), if room => self.take(open, arrival?).await?,
                outcomes = scored.recv(), if room => self.answer(answers, outcomes, scored).await?,
                confirmed = answers.confirmed(), if answers.pending() > 0 => answers.settle(confirmed?).await?,
                said = orders.next() => {
                    let job = orders.take_in(&said?, standing).await?;
                    self.obey(open, job).await?;
                }
                request = status_requests.next() => status_requests.answer(&request?, &self.status(answers)).await?,
                _ = look.tick(), if room => self.look(open).await?,
                () = shutdown.requested() => {}
            }
            self.room.metrics.in_flight.set(gauge(open.answers.acks.open()));
            self.room.metrics.confirms_pending.set(gauge(open.answers.pending()));
        }
        self.finish(open, scored).await
    }

    fn status(&self, answers: &Answers) -> ConsumerStatus {
        ConsumerStatus {
            threads: self.args.threads() as u64,
            held: answers.acks.open() as u64,
            hold_target: self.room.hold.target().companies as u64,
            results_refused: answers.refused_lately(),
            seconds_per_company: self.room.hold.seconds_per_company(),
            fault: self.ready.fault(),
            taken: self.room.metrics.work_taken.get(),
            retry: self.args.retry_policy().ok(),
        }
    }

    async fn take(&self, open: &mut Open, mut arrival: Arrival) -> Result<(), BrokerError> {
        self.note(open, &mut arrival).await?;
        self.room.metrics.work_taken.inc_by(arrival.taken.len() as u64);
        arrival.taken.iter().for_each(|taken| self.room.hold.arrived(taken.work.record.len()));
        // Before any of it can be acknowledged: a subscription is changed while it is full.
        self.fit(open).await?;
        self.admit(open, arrival.taken).await
    }

    /// Lets the broker send as much as is to be held at the measured speed.
    async fn fit(&self, open: &mut Open) -> Result<(), BrokerError> {
        let target = self.room.hold.target();
        let most = || usize::from(self.args.prefetch).min(self.room.hold.most_in_memory());
        let companies = if open.passed_on < PASSED_ON { target.companies } else { most().max(target.companies) };
        open.answers.acks.allow(companies.saturating_sub(target.in_calls));
        open.intake.resize(&open.answers.acks, companies).await
    }

    /// Compares what is held with the target, gives back what is too old, and tells by metrics.
    async fn look(&self, open: &mut Open) -> Result<(), BrokerError> {
        self.fit(open).await?;
        let target = self.room.hold.target();
        let age = (self.args.hold / GIVE_BACK_AFTER_PART).min(GIVE_BACK_AFTER_AT_MOST);
        let has_excess = self.room.waiting.has_excess(target.waiting, self.ours_for(age));
        if (has_excess || self.room.hold.wants_larger_batch()) && open.asked.elapsed() >= ASK_EVERY {
            open.asked = Instant::now();
            let backlog = open.topology.backlog(&open.questions, &self.args.model).await?;
            // A broker that is too busy to say finds not even this consumer.
            if backlog.consumers > 0 {
                self.give_back_excess(open, backlog, target, age).await?;
                let in_calls = target.in_calls.saturating_mul(usize::try_from(backlog.consumers).unwrap_or(usize::MAX));
                if usize::try_from(backlog.waiting()).unwrap_or(usize::MAX) >= BACKLOG.saturating_mul(in_calls) {
                    self.room.hold.try_larger_batch();
                }
            }
        }
        open.answers.move_deferred().await?;
        open.answers.give_back_deferred(target.companies / 2).await?;
        self.room.metrics.hold_target.set(gauge(target.companies));
        self.room.metrics.batch_target.set(gauge(self.room.hold.batch()));
        self.room.metrics.seconds_per_company.set(self.room.hold.seconds_per_company().unwrap_or_default());
        if self.ready.fault().is_some() {
            let held = self.room.waiting.remove(self.ours_for(GIVE_BACK_WHILE_BROKEN));
            self.send_back(&mut open.answers, held).await?;
        }
        self.give_back_old(&mut open.answers).await
    }

    /// Gives back what is held beyond the target, where nothing of its queue waits on the broker: as long as something does, others
    /// have enough, and what goes back would go behind all of it. What was taken by mistake goes back in any case.
    async fn give_back_excess(
        &self,
        open: &mut Open,
        backlog: Backlog,
        target: Target,
        age: Duration,
    ) -> Result<(), BrokerError> {
        for (of, ready) in [
            (Waits::Batched(Priority::High), backlog.express),
            (Waits::Batched(Priority::Normal), backlog.normal),
            (Waits::Alone, backlog.quarantined),
        ] {
            let excess = if ready == 0 || open.has_overshot {
                self.room.waiting.remove_excess(of, target.waiting, self.ours_for(age))
            } else {
                Vec::new()
            };
            if excess.is_empty() {
                continue;
            }
            tracing::debug!(companies = excess.len(), target = target.companies, ?of, "gave back what others can score sooner");
            let place = match of {
                Waits::Batched(priority) => {
                    open.intake.release(priority, &open.answers.acks).await?;
                    Place::Back
                }
                // In the queue of work they would be put into a batch again.
                Waits::Alone => Place::Suspects,
            };
            self.send(&mut open.answers, excess, place).await?;
        }
        open.has_overshot = false;
        Ok(())
    }

    /// Notes what has arrived, and refuses what is no work.
    async fn note(&self, open: &mut Open, arrival: &mut Arrival) -> Result<(), BrokerError> {
        note(&mut open.answers.acks, arrival);
        for malformed in arrival.malformed.drain(..) {
            open.answers.bury(malformed).await?;
        }
        Ok(())
    }

    /// Hands companies to the scoring threads, or to wherever else they belong.
    async fn admit(&self, open: &mut Open, companies: Vec<Taken>) -> Result<(), BrokerError> {
        let arrived = companies.len();
        let (mut welcome, mut elsewhere) = (Vec::with_capacity(arrived), Vec::new());
        // Nothing else may be under way whose confirm would bring the acknowledgement along.
        let mut finished = false;
        for taken in companies {
            let admission = admit(&taken, &open.standing, self.args.max_deliveries.into());
            let taken = match admission {
                // A result that is on its way is answer enough for what was delivered again.
                Admission::Score | Admission::Isolate | Admission::Recheck | Admission::GiveUp | Admission::SetAside
                    if taken.deliveries > 0 =>
                {
                    match open.answers.take_in(taken).await? {
                        Some(taken) => taken,
                        None => {
                            finished = true;
                            continue;
                        }
                    }
                }
                _ => taken,
            };
            match admission {
                Admission::Score => welcome.push(taken),
                Admission::Isolate => elsewhere.push((taken, Place::Suspects)),
                Admission::Renew => elsewhere.push((taken, Place::Back)),
                Admission::SetAside => elsewhere.push((taken, Place::Paused)),
                Admission::Drop => {
                    finished = true;
                    open.answers.forget(taken.tag);
                }
                Admission::Recheck | Admission::GiveUp => {
                    let (job, index, deliveries) = (&taken.work.job, taken.work.index, taken.deliveries);
                    let place = if admission == Admission::GiveUp { Place::Dead } else { Place::Recheck };
                    tracing::warn!(event = "given_up", %job, %index, deliveries, ?place, "a company was delivered too often without an answer");
                    elsewhere.push((taken, place));
                }
            }
        }
        if welcome.is_empty() {
            open.passed_on = open.passed_on.saturating_add(arrived);
        } else {
            open.has_overshot |= open.passed_on >= PASSED_ON;
            open.passed_on = 0;
        }
        self.room.waiting.add(welcome);
        if !elsewhere.is_empty() {
            open.answers.move_to(elsewhere).await?;
        }
        if finished { open.answers.acknowledge().await } else { Ok(()) }
    }

    /// Whether this session took it. A call that began in an earlier session may fail in this one, and its companies then wait to be
    /// scored alone; they stay there, since their redelivery is acknowledged with their result.
    fn is_ours(&self, taken: &Taken) -> bool {
        taken.session == self.number
    }

    /// Names the companies of this session that were taken so long ago.
    fn ours_for(&self, age: Duration) -> impl Fn(&Taken) -> bool {
        let session = self.number;
        move |taken| taken.session == session && taken.taken_at.elapsed() >= age
    }

    /// An order holds for what has been taken and not begun, too.
    async fn obey(&self, open: &mut Open, job: Option<Job>) -> Result<(), BrokerError> {
        let Some(job) = job else { return Ok(()) };
        let mut concerned = self.room.waiting.remove(|taken| self.is_ours(taken) && taken.work.job == job);
        concerned.extend(open.answers.take_deferred_pauses(&job));
        self.admit(open, concerned).await
    }

    /// Publishes a batch's outcomes, and with them those that have already come behind it.
    async fn answer(
        &self,
        answers: &mut Answers,
        outcomes: Option<Vec<Scored>>,
        scored: &mut UnboundedReceiver<Vec<Scored>>,
    ) -> Result<(), BrokerError> {
        let mut ready = outcomes.unwrap_or_default();
        while ready.len() < COALESCE
            && let Ok(more) = scored.try_recv()
        {
            ready.extend(more);
        }
        self.publish(answers, ready).await
    }

    async fn publish(&self, answers: &mut Answers, ready: Vec<Scored>) -> Result<(), BrokerError> {
        answers.scored.extend(ready);
        while !answers.scored.is_empty() {
            answers.make_room().await?;
            answers.publish_scored().await?;
        }
        Ok(())
    }

    /// The broker closes the channel of a consumer that holds a company for too long. What has not been begun in half that
    /// time goes back, so that the other half is left for scoring it.
    async fn give_back_old(&self, answers: &mut Answers) -> Result<(), BrokerError> {
        let old = self.room.waiting.remove(self.ours_for(self.args.consumer_timeout / 2));
        if old.is_empty() {
            return Ok(());
        }
        tracing::warn!(companies = old.len(), "gave back companies that waited for too long; a lower --hold takes fewer at once");
        self.send_back(answers, old).await
    }

    /// Sends companies back as new messages: to give back one that was delivered before would count as another delivery.
    async fn send_back(&self, answers: &mut Answers, companies: Vec<Taken>) -> Result<(), BrokerError> {
        self.send(answers, companies, Place::Back).await
    }

    async fn send(&self, answers: &mut Answers, companies: Vec<Taken>, place: Place) -> Result<(), BrokerError> {
        for chunk in companies.chunks(COALESCE) {
            answers.make_room().await?;
            answers.move_to(chunk.iter().cloned().map(|taken| (taken, place))).await?;
        }
        Ok(())
    }
}

/// Notes which deliveries have arrived, and what they are. Nothing is awaited between a delivery's arrival and this: a connection that is
/// lost later has interrupted them.
fn note(acks: &mut Acks, arrival: &mut Arrival) {
    for (tag, subscription) in arrival.tags.drain(..) {
        acks.arrived(tag, subscription);
    }
    for taken in &arrival.taken {
        acks.identify(taken.tag, AttemptId::of(&taken.work), taken.suspect);
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
