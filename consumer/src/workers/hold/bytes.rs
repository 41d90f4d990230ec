//! How many companies fit into memory, by the sizes of their records and predictions.

/// Bytes of the records that are held of each work queue, and of their predictions, at most, by the mean sizes.
const HELD: f64 = (24 << 20) as f64;

/// Bytes of one call of a scorer at most, by the mean sizes. Its request and its answer are each put together in memory, beside what is held.
const IN_A_CALL: f64 = (4 << 20) as f64;

/// At most this many times the number of companies that have arrived are held: while few have arrived, little is known of their size.
const STEP: usize = 4;

/// The weight of the newest company in the means.
const WEIGHT: f64 = 1.0 / 16.0;

/// Bytes that a company has beside its record, roughly.
const BESIDE_THE_RECORD: usize = 500;

/// The mean sizes of recent companies and their predictions.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    arrived: usize,
    /// Moving means.
    record: f64,
    answer: f64,
}

impl Bytes {
    /// A company has arrived.
    pub(super) fn arrived(&mut self, record_bytes: usize) {
        let bytes = (record_bytes + BESIDE_THE_RECORD) as f64;
        self.record = if self.arrived == 0 { bytes } else { self.record + WEIGHT * (bytes - self.record) };
        self.arrived = self.arrived.saturating_add(1);
    }

    /// A company has been scored.
    pub(super) fn answered(&mut self, answer_bytes: usize) {
        let bytes = answer_bytes as f64;
        // The first answer sets the mean: if it is large, many more of its size may be in flight.
        let weight = if self.answer == 0.0 { 1.0 } else { WEIGHT };
        self.answer += weight * (bytes - self.answer);
    }

    /// How many companies to hold at most; no limit until one has arrived.
    pub(super) fn most_held(&self) -> usize {
        if self.arrived == 0 {
            return usize::MAX;
        }
        self.in_bytes(HELD).min(self.arrived.saturating_mul(STEP))
    }

    /// How many companies to score in one call at most.
    pub(super) fn most_in_a_call(&self) -> usize {
        self.in_bytes(IN_A_CALL)
    }

    fn in_bytes(&self, bytes: f64) -> usize {
        whole(bytes / (self.record + self.answer).max(1.0)).max(1)
    }
}

/// The whole part of a number, as a count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float to integer saturates, and NaN is 0")]
pub(super) fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 900_000;

    fn after(companies: usize, record: usize, answer: usize) -> Bytes {
        let mut bytes = Bytes::default();
        for _ in 0..companies {
            bytes.arrived(record);
            bytes.answered(answer);
        }
        bytes
    }

    #[test]
    fn of_large_records_few_are_held_and_fewer_are_scored_at_once() {
        let bytes = after(20, LARGE, 100);
        assert_eq!((bytes.most_held(), bytes.most_in_a_call()), (27, 4));
        let larger = after(20, 15 << 20, 100);
        assert_eq!((larger.most_held(), larger.most_in_a_call()), (1, 1));
    }

    #[test]
    fn a_large_answer_counts_like_a_large_record() {
        let bytes = after(20, 100, 3_000_000);
        assert_eq!((bytes.most_held(), bytes.most_in_a_call()), (8, 1));
    }

    #[test]
    fn before_some_have_come_no_more_than_a_few_are_asked_for() {
        assert_eq!(Bytes::default().most_held(), usize::MAX);
        let held: Vec<usize> = [1, 2, 8, 32, 128].map(|companies| after(companies, 100, 100).most_held()).into();
        assert_eq!(held, [4, 8, 32, 128, 512]);
    }

    #[test]
    fn records_that_become_large_are_noticed_within_a_few() {
        let mut bytes = after(10_000, 1_500, 100);
        assert!(bytes.most_held() > 512);
        (0..8).for_each(|_| bytes.arrived(LARGE));
        assert!(bytes.most_held() < 100, "{}", bytes.most_held());
        (0..100).for_each(|_| bytes.arrived(1_500));
        assert!(bytes.most_held() > 512, "{}", bytes.most_held());
    }
}
