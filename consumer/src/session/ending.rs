//! The end of a session: in good order when the process is asked to stop, or with the connection.

use std::time::Duration;

use rollcall_shared::broker::{BrokerError, COALESCE};
use rollcall_shared::message::ConsumerStatus;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::{Open, Session};
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
        let unbegun = unseen.taken.into_iter().chain(self.ours(self.room.waiting.clear()));
        let (again, first): (Vec<Taken>, Vec<Taken>) = unbegun.partition(|taken| taken.deliveries > 0);
        for taken in first {
            open.intake.give_back(taken.tag).await?;
            open.answers.acks.settle(taken.tag);
        }
        self.send_back(&mut open.answers, again).await?;
        let deferred = open.answers.take_deferred().into_iter().map(|(taken, _)| taken).collect();
        self.send_back(&mut open.answers, deferred).await?;
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
        let begun = self.ours(self.room.seats.take_out());
        let begun: Vec<Taken> = begun.into_iter().chain(open.answers.in_hand.drain_redelivered()).collect();
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
        let unseen = intake.arrived_already().map(|unseen| unseen.taken).unwrap_or_default();
        let unbegun = self.ours(self.room.waiting.clear());
        let deferred = answers.take_deferred().into_iter().map(|(taken, _)| taken);
        for taken in unseen.into_iter().chain(unbegun).chain(deferred).chain(answers.in_hand.drain_redelivered()) {
            carried.interrupt(&AttemptId::of(&taken.work), taken.suspect);
        }
        let in_calls = self.room.seats.in_calls();
        carried.scored.extend(answers.scored.drain(..));
        while let Ok(more) = scored.try_recv() {
            carried.scored.extend(more);
        }
        let mut in_hand: Vec<AttemptId> = Vec::new();
        for taken in in_calls.iter().chain(carried.scored.iter().map(|scored| &scored.taken)) {
            in_hand.push(AttemptId::of(&taken.work));
        }
        for taken in
            self.ours(in_calls).iter().chain(&self.ours(carried.scored.iter().map(|scored| scored.taken.clone()).collect()))
        {
            carried.interrupt(&AttemptId::of(&taken.work), taken.suspect);
        }
        for unconfirmed in answers.into_unconfirmed() {
            if let Some(quarantined) = unconfirmed.delivered {
                carried.interrupt(&unconfirmed.attempt, quarantined);
            }
            if let Some(result) = unconfirmed.result {
                in_hand.push(unconfirmed.attempt);
                carried.results.push(result);
            }
        }
        in_hand.into_iter().for_each(|attempt| carried.in_hand.insert(attempt));
        carried
    }
}
