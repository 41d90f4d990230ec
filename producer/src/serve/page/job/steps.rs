//! The rate of a job over time: what is plotted.

use std::time::Duration;

use rollcall_shared::message::Timestamp;

use crate::serve::page::cache::ProgressPoint;

/// A time in which companies had outcomes at one rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// Seconds since the first point.
    pub(super) from: f64,
    pub(super) to: f64,
    /// Companies a second.
    pub(super) rate: f64,
}

/// More steps than these are narrower than a pixel or two.
const STEPS: usize = 200;

/// What of the latest past the present rate is measured by.
const RECENT: Duration = Duration::from_secs(15);

/// The steps between points, at most [`STEPS`]: of neighbours that are taken together, the mean.
pub(super) fn steps(points: &[ProgressPoint]) -> Vec<Step> {
    let Some(first) = points.first() else { return Vec::new() };
    let each: Vec<Step> = points.windows(2).filter_map(|pair| step(first.at, pair[0], pair[1])).collect();
    let together = each.len().div_ceil(STEPS).max(1);
    each.chunks(together).filter_map(mean).collect()
}

fn step(first: Timestamp, before: ProgressPoint, point: ProgressPoint) -> Option<Step> {
    let (from, to) = (first.until(before.at)?.as_secs_f64(), first.until(point.at)?.as_secs_f64());
    let length = Some(to - from).filter(|&length| length > 0.0)?;
    let since = point.counted.saturating_sub(before.counted);
    // A leader that has just taken over has nothing to measure by.
    let rate = if point.per_second > 0.0 { point.per_second } else { since as f64 / length };
    Some(Step { from, to, rate }).filter(|step| step.rate.is_finite())
}

fn mean(steps: &[Step]) -> Option<Step> {
    let (first, last) = (steps.first()?, steps.last()?);
    let seconds: f64 = steps.iter().map(|step| step.to - step.from).sum();
    let companies: f64 = steps.iter().map(|step| step.rate * (step.to - step.from)).sum();
    Some(Step { from: first.from, to: last.to, rate: companies / seconds })
}

/// The rate of the latest past; `None` before it can be measured.
pub(super) fn recent_rate(points: &[ProgressPoint]) -> Option<f64> {
    let last = points.last()?;
    let is_recent = |point: &&ProgressPoint| point.at.until(last.at).is_some_and(|ago| ago <= RECENT);
    let recent = points.iter().rev().take_while(is_recent).count();
    // A job of which a company ends now and then is measured by the last of them.
    let recent = &points[points.len() - recent.max(2).min(points.len())..];
    let steps: Vec<Step> = recent.windows(2).filter_map(|pair| step(recent[0].at, pair[0], pair[1])).collect();
    mean(&steps).map(|step| step.rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points a second apart, with so many companies in each.
    fn points(companies: &[u64]) -> Vec<ProgressPoint> {
        let mut counted = 0;
        let point = |(second, &companies): (usize, &u64)| {
            counted += companies;
            let at = format!("2026-11-30T12:{:02}:{:02}Z", second / 60, second % 60).parse().unwrap();
            ProgressPoint { at, counted, per_second: companies as f64 }
        };
        companies.iter().enumerate().map(point).collect()
    }

    #[test]
    fn between_no_points_and_at_one_point_there_is_no_rate() {
        for none in [&[][..], &[7]] {
            assert_eq!((steps(&points(none)), recent_rate(&points(none))), (Vec::new(), None));
        }
    }

    #[test]
    fn each_two_points_are_a_step_at_the_rate_of_the_second() {
        let found = steps(&points(&[0, 5, 7]));
        assert_eq!(found, [Step { from: 0.0, to: 1.0, rate: 5.0 }, Step { from: 1.0, to: 2.0, rate: 7.0 }]);
    }

    #[test]
    fn many_steps_are_taken_together_without_losing_a_company() {
        let companies: Vec<u64> = (0..2_001).map(|second| second % 13).collect();
        let found = steps(&points(&companies));
        assert!(found.len() <= STEPS && found.windows(2).all(|pair| pair[0].to == pair[1].from), "{}", found.len());
        let plotted: f64 = found.iter().map(|step| step.rate * (step.to - step.from)).sum();
        assert!((plotted - companies.iter().sum::<u64>() as f64).abs() < 1e-6, "{plotted}");
    }

    #[test]
    fn where_a_leader_has_just_taken_over_the_counts_tell_the_rate() {
        let mut found = points(&[0, 4, 6]);
        found[2].per_second = 0.0;
        assert_eq!(steps(&found)[1].rate, 6.0);
    }

    #[test]
    fn points_whose_clock_goes_back_are_no_steps() {
        let mut found = points(&[0, 4, 6]);
        found[2].at = found[0].at;
        assert_eq!(steps(&found).len(), 1);
    }

    #[test]
    fn the_present_rate_is_that_of_the_latest_past() {
        let mut companies = vec![1_000; 60];
        companies.extend([10; 20]);
        assert_eq!(recent_rate(&points(&companies)), Some(10.0));
        let mut slow = points(&[0, 1]);
        slow[1].at = "2026-11-30T13:00:00Z".parse().unwrap();
        assert_eq!(recent_rate(&slow), Some(1.0), "as the leader has measured it");
    }
}
