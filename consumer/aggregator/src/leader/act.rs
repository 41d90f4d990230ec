//! Acting: what follows from the state of the jobs, at once or every second.

use std::time::Instant;

use rollcall_shared::broker::{BrokerError, publish_unconfirmed};
use rollcall_shared::message::{Job, Timestamp};

use super::dead_letters::DeadLetter;
use super::{Leader, waiting_retries};

impl Leader<'_> {
    /// Sends what follows from the state of `jobs`: control messages, and the done events of those that are due.
    pub(super) async fn act_on(&mut self, jobs: impl IntoIterator<Item = Job>, read_at: Instant) -> Result<(), BrokerError> {
        for job in jobs {
            let Some(state) = self.jobs.get(&job) else { continue };
            self.control_messages.pause_or_resume(&mut self.publisher, &job, state).await?;
            if !state.is_due() {
                continue;
            }
            if let Some(message) = self.announcements.done(&job, state, self.jobs.running_seconds(state), read_at) {
                // Before the done event: a successor that finds the event does not send it.
                self.control_messages.drop_rest(&mut self.publisher, &job, state).await?;
                if state.was_paused() {
                    self.paused_companies.delete_queue(self.reading, &self.topology, &job).await?;
                }
                // The confirm is not awaited, so that counting goes on. If the event is not stored, this session ends, and the next one
                // publishes it.
                self.publisher.publish(vec![((), message)]).await?;
            }
        }
        Ok(())
    }

    /// Publishes a failed result for each company that was given up. The leader counts it when it reads it from the ledger.
    pub(super) async fn publish_failures(&mut self, mut dead: Vec<DeadLetter>) -> Result<(), BrokerError> {
        let mut results = Vec::with_capacity(dead.len());
        for letter in &mut dead {
            let failure = letter.failure(&self.topology);
            self.metrics.dead_letters.with_label_values(&[failure.cause]).inc();
            self.dead_letters.note(letter, &failure);
            results.extend(failure.result.map(|result| ((), result)));
        }
        self.publisher.publish(results).await?;
        self.publisher.flush().await?;
        for letter in &dead {
            letter.acknowledge().await;
        }
        Ok(())
    }

    /// Does what is not done for each record.
    pub(super) async fn every_second(&mut self) -> Result<(), BrokerError> {
        self.publish_refused_done().await?;
        self.advance_clock();
        self.reader_liveness.check(self.jobs.next_offset(), self.reading, &self.topology).await?;
        self.dead_letters.subscribe(self.reading, &self.topology, self.jobs.models()).await?;
        self.dead_letters.log(Instant::now());
        self.paused_companies.follow(self.reading, &self.topology, &self.jobs).await?;
        self.paused_companies.retry_refused().await?;
        let forgotten = self.jobs.take_forgotten();
        self.control_messages.withdraw(&mut self.publisher, &forgotten).await?;
        if self.control_messages.is_repetition_due() {
            self.control_messages.repeat(&mut self.publisher, &self.jobs).await?;
            self.delete_paused_queues().await?;
        }
        for expired in self.announcements.expired(&self.jobs) {
            self.publisher.publish_now((), expired).await?;
        }
        if self.changed.is_empty() {
            self.metrics.ledger_lag.set(0.0);
        }
        for progress in self.announcements.progress(&self.jobs, self.changed.drain()) {
            publish_unconfirmed(&self.unconfirmed, progress).await?;
        }
        self.bindings.declare_if_due();
        for stalled in self.stalled_jobs.every_second(&self.jobs) {
            if let Some(stalled) = self.announcements.stalled(stalled) {
                publish_unconfirmed(&self.unconfirmed, stalled).await?;
            }
        }
        self.waiting_retries.every_second(self.stalled_jobs.quiet_models(&self.jobs, waiting_retries::QUIET_AFTER));
        self.latest.set(self.jobs.scale_signals(self.waiting_retries.counts(), self.stalled_jobs.found()));
        self.measure();
        if self.checkpoint.is_due(&self.jobs) {
            self.advance_clock();
            self.jobs.prepare_checkpoint(Timestamp::now());
            self.checkpoint.begin_to_save(&mut self.publisher, &self.jobs).await?;
        }
        Ok(())
    }

    /// Sends done events that a subscriber's queue has refused and that the ledger lacks.
    async fn publish_refused_done(&mut self) -> Result<(), BrokerError> {
        for done in self.refused_done.take_lost() {
            self.publisher.publish(vec![((), done)]).await?;
        }
        for done in self.publisher.take_refused_done() {
            let marker = self.put_marker().await?;
            self.refused_done.await_marker(marker, done);
        }
        Ok(())
    }

    /// Deletes the queues of paused jobs that are done, again: a consumer that learned of the end too late may have put companies into a
    /// queue that was then declared once more.
    async fn delete_paused_queues(&mut self) -> Result<(), BrokerError> {
        for (job, _) in self.jobs.all().filter(|(_, state)| state.was_paused() && state.is_done()) {
            self.paused_companies.delete_queue(self.reading, &self.topology, job).await?;
        }
        Ok(())
    }

    fn measure(&self) {
        self.metrics.ledger_offset.set(i64::try_from(self.jobs.next_offset()).unwrap_or(i64::MAX));
        self.metrics.jobs_stalled.set(i64::try_from(self.stalled_jobs.found().len()).unwrap_or(i64::MAX));
        self.metrics.set_jobs(self.jobs.all().map(|(_, state)| state.state()));
    }
}
