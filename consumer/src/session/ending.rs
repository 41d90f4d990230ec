//! The end of a session: in good order when the process is asked to stop, or with the connection.

use std::time::Duration;

use rollcall_shared::broker::{BrokerError, COALESCE};
use rollcall_shared::message::ConsumerStatus;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::{Open, Session, note};
use crate::answer::Place;
use crate::batch::Scored;
use crate::in_hand::{AttemptId, Carried};
use crate::intake::Taken;

/// What is kept of the time to stop for giving back what is still being scored, at most.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Stops taking, gives back what nobody has begun, and answers for the rest. What is not scored in time goes back as it came: that
    /// is no attempt and no delivery.
    pub(super) async fn finish(&self, open: &mut Open, scored: &mut UnboundedReceiver<Vec<Scored>>) -> Result<(), BrokerError> {
        let until = Instant::now() + self.patience.saturating_sub(GIVE_BACK_WITHIN.min(self.patience / 2));
        if let Some(fault) = self.room.health.given_up() {
            let status = ConsumerStatus { fault: Some(fault), ..self.status(&open.answers) };
            open.status_requests.tell(&open.topology, &self.args.model, &status).await?;
        }
        let mut unseen = open.intake.close().await?;
        self.note(open, &mut unseen).await?;
        let is_blocked = open.answers.is_blocked();
        let (ours, earlier): (Vec<Taken>, Vec<Taken>) =
            self.room.waiting.clear().into_iter().partition(|taken| self.is_ours(taken));
        let redelivered = earlier.iter().filter_map(|taken| open.answers.in_hand.remove(&AttemptId::of(&taken.work)));
        let unbegun = unseen.taken.into_iter().chain(ours).chain(redelivered);
        // RabbitMQ 3.10 counts a return as a delivery, and so only what can't be published is returned.
        let (returned, sent_back): (Vec<Taken>, Vec<Taken>) = unbegun.partition(|taken| is_blocked && taken.deliveries == 0);
        for taken in returned {
            open.intake.give_back(taken.tag).await?;
            open.answers.acks.settle(taken.tag);
        }
        let deferred = open.answers.take_deferred();
        self.send_back(&mut open.answers, sent_back.into_iter().chain(deferred).collect()).await?;
        open.answers.acks.allow(0);
        open.answers.settle(None).await?;
        tracing::info!(companies = open.answers.acks.open(), "stopping: finishing what is being scored");
        if !self.answer_all(open, scored, until).await? {
            self.give_back_begun(open).await?;
            self.answer_rest(open, scored).await?;
        }
        let mut last = open.intake.settled().await?;
        self.note(open, &mut last).await?;
        self.send_back(&mut open.answers, last.taken).await?;
        self.answer_rest(open, scored).await
    }

    /// Waits until nothing is open, at most until then; says whether that is so.
    async fn answer_all(
        &self,
        open: &mut Open,
        scored: &mut UnboundedReceiver<Vec<Scored>>,
        until: Instant,
    ) -> Result<bool, BrokerError> {
        while open.answers.acks.open() > 0 {
            let Open { answers, status_requests, .. } = &mut *open;
            // Nothing of an answer is left in the middle: time is looked at only between two of them.
            tokio::select! {
                outcomes = scored.recv(), if answers.room() >= COALESCE => self.answer(answers, outcomes, scored).await?,
                confirmed = answers.confirmed(), if answers.pending() > 0 => answers.settle(confirmed?).await?,
                // Whoever asks what has become of these companies must hear that they are not lost.
                request = status_requests.next() => status_requests.answer(&request?, &self.status(answers)).await?,
                () = sleep_until(until) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits until nothing is open, for as long as the process has.
    async fn answer_rest(&self, open: &mut Open, scored: &mut UnboundedReceiver<Vec<Scored>>) -> Result<(), BrokerError> {
        self.answer_all(open, scored, Instant::now() + self.patience).await.map(drop)
    }

    /// Gives back what is still being scored.
    async fn give_back_begun(&self, open: &mut Open) -> Result<(), BrokerError> {
        // Their threads find no more to do.
        self.room.waiting.close();
        // A batch that failed meanwhile waits again.
        let begun = self.room.seats.take_out().into_iter().chain(self.room.waiting.clear()).filter(|taken| self.is_ours(taken));
        let begun: Vec<Taken> = begun.chain(open.answers.in_hand.drain_redelivered()).collect();
        tracing::warn!(
            event = "gave_back_begun",
            companies = begun.len(),
            "gave back companies that were not scored within --grace; they are scored again, and are charged no attempt"
        );
        self.send(&mut open.answers, begun, Place::Back).await
    }

    /// What the next session is to answer for, the connection being gone.
    pub(super) fn carry(&self, open: Open, scored: &mut UnboundedReceiver<Vec<Scored>>) -> Carried {
        let Open { mut intake, mut answers, .. } = open;
        let mut carried = Carried::default();
        note(&mut answers.acks, &mut intake.arrived_already());
        for (attempt, quarantined) in answers.acks.unacknowledged_companies() {
            carried.interrupt(attempt, *quarantined);
        }
        // What nobody has begun is delivered again.
        self.room.waiting.clear();
        let in_calls = self.room.seats.in_calls();
        carried.scored.extend(answers.scored.drain(..));
        while let Ok(more) = scored.try_recv() {
            carried.scored.extend(more);
        }
        for taken in in_calls.iter().chain(carried.scored.iter().map(|scored| &scored.taken)) {
            carried.in_hand.insert(AttemptId::of(&taken.work));
        }
        for (attempt, result) in answers.into_unconfirmed_results() {
            carried.in_hand.insert(attempt);
            carried.results.push(result);
        }
        carried
    }
}
