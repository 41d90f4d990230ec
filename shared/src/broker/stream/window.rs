//! How many records the broker may send ahead of their acknowledgements.

/// Bytes of records sent ahead, on average. A record may have sixteen megabytes.
const BYTES: f64 = (8 << 20) as f64;

/// The size of the records is not known before the first has arrived.
const FIRST: u16 = 8;

/// One is sent while another is read.
const LEAST: u16 = 2;

/// Twice as many are not read faster.
const MOST: u16 = 250;

/// Records acknowledged together, at most. The broker then sends as many more.
const ACKNOWLEDGED_TOGETHER: u64 = 64;

/// The window grows in steps of at most this factor, since the next records may be larger.
const STEP: u16 = 8;

/// The weight of the newest record in the mean. A larger record weighs more, since more large ones may be on their way.
const WEIGHT_OF_LARGER: f64 = 1.0 / 16.0;
const WEIGHT_OF_SMALLER: f64 = 1.0 / 64.0;

/// Bytes of a record beside its body, about.
const BESIDE_THE_BODY: usize = 1_000;

/// Chooses the number of records by the mean size of the latest ones.
#[derive(Debug)]
pub(super) struct Window {
    records: u16,
    /// A moving mean; `None` before the first record.
    bytes_each: Option<f64>,
    /// Records read since the number was changed.
    read: u64,
    is_fixed: bool,
}

impl Window {
    pub(super) fn new() -> Window {
        Window { records: FIRST, bytes_each: None, read: 0, is_fixed: false }
    }

    /// One record at a time, whatever their size.
    pub(super) fn of_one() -> Window {
        Window { records: 1, is_fixed: true, ..Window::new() }
    }

    /// How many records are sent ahead.
    pub(super) fn records(&self) -> u16 {
        self.records
    }

    /// How many are acknowledged together: few enough that others are on their way meanwhile.
    pub(super) fn acknowledged_together(&self) -> u64 {
        u64::from(self.records / 4).clamp(1, ACKNOWLEDGED_TOGETHER)
    }

    /// Takes a record with such a body into account.
    pub(super) fn read(&mut self, body: usize) {
        let bytes = (body + BESIDE_THE_BODY) as f64;
        let mean = self.bytes_each.unwrap_or(bytes);
        let weight = if bytes > mean { WEIGHT_OF_LARGER } else { WEIGHT_OF_SMALLER };
        self.bytes_each = Some(mean + weight * (bytes - mean));
        self.read += 1;
    }

    /// How many records are to be sent ahead from now on; `None` if the number does not change. Small changes of the size change nothing, since
    /// a new subscription costs time.
    pub(super) fn change(&mut self) -> Option<u16> {
        let wanted = wanted(self.bytes_each?);
        let more = wanted >= self.records.saturating_mul(2) && self.read >= 2 * u64::from(self.records);
        let fewer = wanted <= self.records / 4 || (wanted == LEAST && self.records > 2 * LEAST);
        if self.is_fixed || (!more && !fewer) {
            return None;
        }
        (self.records, self.read) = (wanted.min(self.records.saturating_mul(STEP)), 0);
        Some(self.records)
    }
}

/// How many records of this mean size are to be sent ahead.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer saturates, and it is clamped before"
)]
fn wanted(bytes_each: f64) -> u16 {
    (BYTES / bytes_each).clamp(f64::from(LEAST), f64::from(MOST)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads records, and returns the changes of the number.
    fn changes(window: &mut Window, records: usize, bytes: impl Fn(usize) -> usize) -> Vec<u16> {
        let change = |number| {
            window.read(bytes(number));
            window.change()
        };
        (0..records).filter_map(change).collect()
    }

    #[test]
    fn small_records_are_sent_further_ahead_step_by_step() {
        let mut window = Window::new();
        assert_eq!(changes(&mut window, 1_000, |_| 1_500), [64, 250]);
        assert_eq!(window.acknowledged_together(), 62);
    }

    #[test]
    fn of_large_records_there_are_few_on_their_way_at_any_time() {
        let mut window = Window::new();
        assert_eq!(changes(&mut window, 100, |_| 3 << 20), [2]);
        assert_eq!(window.acknowledged_together(), 1);
    }

    #[test]
    fn where_small_records_are_followed_by_large_ones_there_are_soon_fewer_and_then_more_again() {
        let mut window = Window::new();
        changes(&mut window, 1_000, |_| 1_500);
        let fewer = changes(&mut window, 12, |_| 3 << 20);
        assert!(fewer.first().is_some_and(|&first| first <= 62), "{fewer:?}");
        assert!(window.records() <= 20, "{fewer:?}");
        changes(&mut window, 1_000, |_| 1_500);
        assert_eq!(window.records(), MOST);
    }

    #[test]
    fn a_large_record_now_and_then_is_no_reason_for_a_new_subscription_each_time() {
        let mut window = Window::new();
        let changes = changes(&mut window, 10_000, |number| if number % 100 == 50 { 3 << 20 } else { 1_500 });
        assert!(changes.len() < 20, "{changes:?}");
    }

    proptest! {
        #[test]
        fn whatever_comes_the_window_is_within_its_limits(sizes in prop::collection::vec(0_usize..20 << 20, 0..300)) {
            let mut window = Window::new();
            for bytes in sizes {
                window.read(bytes);
                window.change();
                prop_assert!((LEAST..=MOST).contains(&window.records()));
                prop_assert!((1..=u64::from(window.records())).contains(&window.acknowledged_together()));
            }
        }
    }
}
