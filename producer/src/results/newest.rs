//! Which of several results of one company counts: the first of the newest round in which it was enqueued.

use roaring::RoaringBitmap;
use rollcall_shared::broker::BrokerConnection;
use rollcall_shared::message::{CompanySet, Indices, JobStatus, Redriven, ResultHeaders};
use rollcall_shared::topology::Topology;

use super::replay::{Replay, Replayed};
use crate::ask::Asker;
use crate::run::Failure;

/// What of a job's results counts.
#[derive(Default)]
pub(crate) struct Newest {
    /// The companies of each redrive, the first at 0.
    redrives: Vec<RoaringBitmap>,
    /// The companies with an outcome, where that is known: not every result in the ledger was in time.
    counted: Option<RoaringBitmap>,
    /// How many companies the job has, where that is known: somebody else's result may be of none of them.
    total: Option<u64>,
    seen: RoaringBitmap,
}

impl Newest {
    /// Looks through the ledger for redrives of a job, where it has any.
    pub(crate) async fn of(
        link: &BrokerConnection,
        topology: &Topology,
        asker: &mut Asker,
        status: &JobStatus,
    ) -> Result<Newest, Failure> {
        let mut newest = Newest { total: status.total, ..Newest::default() };
        if status.redrives == 0 {
            return Ok(newest);
        }
        newest.counted = asker.companies(&status.job, CompanySet::Counted).await?.map(|Indices(counted)| counted);
        let mut replay = Replay::open(link, topology, status).await?;
        while let Some(replayed) = replay.next().await? {
            if let Replayed::Redriven(redriven) = replayed {
                newest.hear(redriven);
            }
        }
        Ok(newest)
    }

    fn hear(&mut self, redriven: Redriven) {
        let Redriven { round, indices: Indices(indices), .. } = redriven;
        // Of two that redrive at the same time, the first does.
        if round as usize == self.redrives.len() + 1 {
            self.redrives.push(indices);
        }
    }

    /// Whether this result is the one that counts. It is asked of a job's results in their order.
    pub(crate) fn wins(&mut self, result: &ResultHeaders) -> bool {
        let index = result.index.0;
        let newest = self.redrives.iter().rposition(|redriven| redriven.contains(index)).map_or(0, |at| at + 1);
        let in_time = self.counted.as_ref().is_none_or(|counted| counted.contains(index));
        let in_the_job = self.total.is_none_or(|total| u64::from(index) < total);
        let in_round = newest == 0 || result.round as usize == newest;
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
        let mut newest = Newest { total: Some(5), ..Newest::default() };
        for (round, indices) in [(1, "1-3"), (1, "0"), (2, "3")] {
            newest.hear(Redriven {
                job: "j".parse().unwrap(),
                round,
                by: String::new(),
                indices: indices.parse().unwrap(),
                companies: 0,
                total: Some(5),
                redriven_at: "2026-01-01T00:00:00Z".parse().unwrap(),
                opening: None,
            });
        }
        let mut wins = |index, round| {
            let outcome = Outcome::Succeeded;
            let cause = String::new();
            newest.wins(&ResultHeaders {
                job: "j".parse().unwrap(),
                index: Index(index),
                outcome,
                attempt: 1,
                round,
                opening: None,
                cause,
                republished: false,
            })
        };
        assert!(wins(0, 0) && !wins(0, 0), "the first");
        assert!(!wins(1, 0) && wins(1, 1) && !wins(1, 1), "redriven once");
        assert!(!wins(3, 0) && !wins(3, 1) && wins(3, 2), "redriven twice");
        assert!(wins(4, 7), "a round that never was, of a company that was never redriven");
        assert!(!wins(5, 0), "a company that the job does not have");
    }
}
