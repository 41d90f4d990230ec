//! The scale signal: how much work a model has left, for whatever starts and stops its consumers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::Model;

/// Within what time consumers are to finish the work that is left, unless somebody says otherwise.
pub const DEFAULT_TARGET: Duration = Duration::from_secs(30);

/// What a company of a model counts for before one has been measured.
pub const UNMEASURED_SECONDS: f64 = 1.0;

/// The least that a company counts for: work that is left must never show as none.
const LEAST_SECONDS: f64 = 1e-6;

/// The work that a model has left, as its leader knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleSignal {
    /// The model.
    pub model: Model,
    /// Companies without an outcome that can be scored now: they wait in a work queue, or a consumer holds them.
    pub unfinished: u64,
    /// Companies of paused jobs.
    pub paused: u64,
    /// Companies whose next attempt is not due yet, as far as that is known.
    #[serde(default)]
    pub due_later: u64,
    /// Companies of stalled jobs, which no queue and no consumer has.
    #[serde(default)]
    pub stalled: u64,
    /// Seconds of one scoring thread for a company: measured, or [`UNMEASURED_SECONDS`]. Finite, and more than 0.
    pub seconds_per_company: f64,
    /// `unfinished` times `seconds_per_company`. Finite, and 0 exactly if nothing is unfinished.
    pub work_seconds: f64,
}

impl ScaleSignal {
    /// The signal of a model of which no company is paused, due later or lost; `measured` is the mean duration of scoring a company in seconds, if
    /// it is known.
    pub fn new(model: Model, unfinished: u64, measured: Option<f64>) -> ScaleSignal {
        let measured = measured.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        let seconds_per_company = measured.unwrap_or(UNMEASURED_SECONDS).clamp(LEAST_SECONDS, f64::MAX / 2f64.powi(64));
        let work_seconds = unfinished as f64 * seconds_per_company;
        ScaleSignal { model, unfinished, paused: 0, due_later: 0, stalled: 0, seconds_per_company, work_seconds }
    }

    /// The signal of a model of which nothing is known.
    pub fn idle(model: Model) -> ScaleSignal {
        ScaleSignal::new(model, 0, None)
    }

    /// How many consumers of `threads` scoring threads finish the work within `target`: at least one if any is left, and never more
    /// than there are companies.
    ///
    /// `consumers_wanted = min(unfinished, max(1, ceil(work_seconds / (target × threads))))`
    pub fn consumers_wanted(&self, target: Duration, threads: u16) -> u64 {
        let each = target.as_secs_f64().max(LEAST_SECONDS) * f64::from(threads.max(1));
        let wanted = (self.work_seconds / each).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive; a cast of more than u64 saturates"
        )]
        let wanted = wanted as u64;
        wanted.max(1).min(self.unfinished)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signal(unfinished: u64, measured: Option<f64>) -> ScaleSignal {
        ScaleSignal::new("m".parse().unwrap(), unfinished, measured)
    }

    #[test]
    fn consumers_are_wanted_for_as_much_work_as_they_do_within_the_target() {
        for (unfinished, measured, target, threads, wanted) in [
            (0, None, 30, 1, 0),
            (1, None, 30, 1, 1),
            (240, None, 30, 1, 8),
            (241, None, 30, 1, 9),
            (240, None, 30, 4, 2),
            (240, Some(0.5), 30, 1, 4),
            (227_000, Some(0.001), 60, 1, 4),
            (3, Some(3_600.0), 30, 1, 3),
            (10, Some(0.0), 30, 1, 1),
        ] {
            let found = signal(unfinished, measured).consumers_wanted(Duration::from_secs(target), threads);
            assert_eq!(found, wanted, "{unfinished} companies of {measured:?} s in {target} s by {threads} threads");
        }
    }

    proptest! {
        #[test]
        fn a_signal_is_never_negative_never_nan_and_zero_exactly_if_nothing_is_left(
            (unfinished, measured, target, threads)
                in (prop_oneof![Just(0), 0_u64..1_000, any::<u64>()], prop::option::of(any::<f64>()), any::<Duration>(), any::<u16>())
        ) {
            let signal = signal(unfinished, measured);
            let wanted = signal.consumers_wanted(target, threads);
            prop_assert!(signal.work_seconds.is_finite() && signal.work_seconds >= 0.0, "{:?}", signal);
            prop_assert!(signal.seconds_per_company.is_finite() && signal.seconds_per_company > 0.0, "{:?}", signal);
            prop_assert_eq!(signal.work_seconds == 0.0, unfinished == 0);
            prop_assert_eq!(wanted == 0, unfinished == 0);
            prop_assert!(wanted <= unfinished);
            let json = serde_json::to_string(&signal).unwrap();
            prop_assert_eq!(serde_json::from_str::<ScaleSignal>(&json).unwrap().unfinished, unfinished);
        }

        #[test]
        fn more_work_never_wants_fewer_consumers(
            (fewer, more, seconds) in (0_u64..10_000_000, 0_u64..10_000_000, 0.0..100.0_f64)
        ) {
            let wanted = |companies| signal(companies, Some(seconds)).consumers_wanted(Duration::from_secs(30), 1);
            prop_assert!(wanted(fewer.min(more)) <= wanted(fewer.max(more)));
        }
    }
}
