//! Which of several results of one company counts: the first of the latest round in which it was enqueued.

use roaring::RoaringBitmap;
use rollcall_shared::broker::BrokerConnection;
use rollcall_shared::message::{CompanySet, Indices, JobStatus, Redriven, ResultHeaders};
use rollcall_shared::topology::Topology;

use super::replay::{Replay, Replayed};
use crate::aggregator_client::AggregatorClient;
use crate::error::ProducerError;

/// The latest round of each company of a job.
#[derive(Default)]
pub(crate) struct LatestRound {
    /// The companies of each redrive; that of round 1 is at 0.
    redrives: Vec<RoaringBitmap>,
    /// The companies with an outcome, if that is known: a result may have come after the job's end.
    with_outcome: Option<RoaringBitmap>,
    /// How many companies the job has, if that is known: another publisher's result may name an index beyond it.
    total: Option<u64>,
    /// The companies with a result that counts, so far.
    seen: RoaringBitmap,
}

impl LatestRound {
    /// Reads a job's redrives from the ledger, if it has any.
    pub(crate) async fn of(
        link: &BrokerConnection,
        topology: &Topology,
        aggregator: &mut AggregatorClient,
        status: &JobStatus,
    ) -> Result<LatestRound, ProducerError> {
        let mut latest = LatestRound { total: status.total, ..LatestRound::default() };
        if status.redrives == 0 {
            return Ok(latest);
        }
        latest.with_outcome = aggregator.companies(&status.job, CompanySet::Counted).await?.map(|Indices(counted)| counted);
        let mut replay = Replay::open(link, topology, status).await?;
        while let Some(replayed) = replay.next().await? {
            if let Replayed::Redriven(redriven) = replayed {
                latest.note_redrive(redriven);
            }
        }
        Ok(latest)
    }

    fn note_redrive(&mut self, redriven: Redriven) {
        let Redriven { round, indices: Indices(indices), .. } = redriven;
        // Of two redrives at the same time, the first one has the round.
        if round as usize == self.redrives.len() + 1 {
            self.redrives.push(indices);
        }
    }

    /// Whether this result is the one that counts for its company. To be called with a job's results in their order.
    pub(crate) fn counts(&mut self, result: &ResultHeaders) -> bool {
        let index = result.index.0;
        let round = self.redrives.iter().rposition(|redriven| redriven.contains(index)).map_or(0, |at| at + 1);
        let in_time = self.with_outcome.as_ref().is_none_or(|companies| companies.contains(index));
        let in_the_job = self.total.is_none_or(|total| u64::from(index) < total);
        let in_round = round == 0 || result.round as usize == round;
        in_time && in_the_job && in_round && self.seen.insert(index)
    }

    /// How many companies had a result that counts.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use rollcall_shared::message::{Index, Outcome};

    use super::*;

    #[test]
    fn the_first_result_of_the_newest_round_counts() {
        let mut latest = LatestRound { total: Some(5), ..LatestRound::default() };
        for (round, indices) in [(1, "1-3"), (1, "0"), (2, "3")] {
            latest.note_redrive(Redriven {
                job: "j".parse().unwrap(),
                round,
                by: String::new(),
                indices: indices.parse().unwrap(),
                companies: 0,
                total: Some(5),
                redriven_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
                opening: None,
            });
        }
        let mut counts = |index, round| {
            let outcome = Outcome::Succeeded;
            let cause = String::new();
            latest.counts(&ResultHeaders {
                job: "j".parse().unwrap(),
                index: Index(index),
                outcome,
                attempt: 1,
                round,
                opening: None,
                cause,
                to_ledger_alone: false,
                duration: None,
            })
        };
        assert!(counts(0, 0) && !counts(0, 0), "the first");
        assert!(!counts(1, 0) && counts(1, 1) && !counts(1, 1), "redriven once");
        assert!(!counts(3, 0) && !counts(3, 1) && counts(3, 2), "redriven twice");
        assert!(counts(4, 7), "a round that never was, of a company that was never redriven");
        assert!(!counts(5, 0), "a company that the job does not have");
    }
}
