//! The plot of a job's rate.

use std::fmt::Write as _;
use std::sync::Arc;

use maud::{Markup, html};
use rollcall_shared::message::JobStatus;

use super::steps::{Step, recent_rate, steps};
use crate::serve::http::problem::Problem;
use crate::serve::page::cache::History;
use crate::serve::page::figures::{outside, rate, span};

/// The size of the plot in its own units. It is drawn as wide as there is room.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 100.0;

/// Shows the rate of the latest round.
pub(super) fn show(status: &JobStatus, history: Result<&Arc<History>, &Problem>) -> Markup {
    html! {
        section.card #rate data-live aria-labelledby="rate-title" {
            h2 #rate-title { "Rate" }
            @match history {
                Err(problem) => p.note.warning { "The events cannot be read now: " (outside(problem.detail())) },
                Ok(history) => {
                    @let steps = steps(&history.progress);
                    @if steps.is_empty() {
                        p.hint {
                            "There is no rate to show: it is measured about once a second while companies are scored, and kept for a while."
                        }
                    } @else {
                        (plot(&steps))
                        p { (in_words(&steps, recent_rate(&history.progress).filter(|_| !status.state.is_final()))) }
                    }
                }
            }
        }
    }
}

fn plot(steps: &[Step]) -> Markup {
    let highest = steps.iter().map(|step| step.rate).fold(0.0, f64::max);
    let (top, whole) = (ceiling(highest), steps.last().map_or(1.0, |step| step.to));
    let (area, line) = paths(steps, top, whole);
    html! {
        figure.plot {
            figcaption.y { "companies/s" }
            div.y-labels aria-hidden="true" { span { (tick(top)) } span { (tick(top / 2.0)) } span { "0" } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-labelledby="plot-title plot-words" {
                title #plot-title { "Companies with an outcome in each second" }
                desc #plot-words { (in_words(steps, None)) }
                @for y in [0.0, HEIGHT / 2.0, HEIGHT] {
                    line.grid x1="0" x2=(WIDTH) y1=(y) y2=(y) vector-effect="non-scaling-stroke" {}
                }
                path.area d=(area) {}
                path.line d=(line) fill="none" vector-effect="non-scaling-stroke" {}
            }
            div.x-labels aria-hidden="true" { span { "0s" } span { (span(whole / 2.0)) } span { (span(whole)) } }
            p.x { "time since the first outcome" }
        }
    }
}

/// The outline of the area below the steps, and the line above it.
fn paths(steps: &[Step], top: f64, whole: f64) -> (String, String) {
    let (x, y) = (|seconds: f64| seconds / whole * WIDTH, |rate: f64| HEIGHT - rate / top * HEIGHT);
    let mut line = String::new();
    for (at, Step { from, to, rate }) in steps.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        // Writing to a String cannot fail.
        write!(line, "{command}{:.1} {:.2}L{:.1} {:.2}", x(*from), y(*rate), x(*to), y(*rate)).ok();
    }
    let first = steps.first().map_or(0.0, |step| x(step.from));
    let area = format!("{line}L{:.1} {HEIGHT}L{first:.1} {HEIGHT}Z", x(steps.last().map_or(0.0, |step| step.to)));
    (area, line)
}

/// The next number above that is 1, 2, 4, 5 or 8 times a power of ten: halves of these are short, too.
fn ceiling(highest: f64) -> f64 {
    if highest <= 0.0 || !highest.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    let fits = [1.0, 2.0, 4.0, 5.0, 8.0].map(|factor| factor * power).into_iter().find(|&top| top >= highest);
    fits.unwrap_or(10.0 * power)
}

fn tick(rate_per_second: f64) -> String {
    if rate_per_second >= 100.0 {
        rate(rate_per_second).trim_end_matches("/s").to_owned()
    } else {
        format!("{}", round(rate_per_second))
    }
}

/// Without the noise of binary fractions.
fn round(number: f64) -> f64 {
    const DIGITS: f64 = 1e6;
    (number * DIGITS).round() / DIGITS
}

fn in_words(steps: &[Step], now: Option<f64>) -> String {
    let highest = steps.iter().map(|step| step.rate).fold(0.0, f64::max);
    let seconds: f64 = steps.iter().map(|step| step.to - step.from).sum();
    let companies: f64 = steps.iter().map(|step| step.rate * (step.to - step.from)).sum();
    let mean = if seconds > 0.0 { companies / seconds } else { 0.0 };
    let now = now.map_or_else(String::new, |now| format!("Now {}. ", rate(now)));
    format!("{now}On average {}, at most {}, over {}.", rate(mean), rate(highest), span(seconds))
}

#[cfg(test)]
mod tests {
    use super::super::example_status;
    use super::*;

    #[test]
    fn the_axis_ends_at_a_short_number_that_is_not_exceeded() {
        for (highest, top) in [(0.0, 1.0), (0.3, 0.4), (1.0, 1.0), (7.0, 8.0), (8.5, 10.0), (12_345.0, 20_000.0), (f64::NAN, 1.0)]
        {
            assert!((ceiling(highest) - top).abs() < 1e-9, "{highest}: {}", ceiling(highest));
        }
        assert_eq!([0.2, 1.0, 2_500.0].map(tick), ["0.2", "1", "2,500"]);
    }

    #[test]
    fn one_step_is_a_block_and_several_are_a_line_within_the_plot() {
        let step = |from: f64, rate| Step { from, to: from + 1.0, rate };
        let (area, line) = paths(&[step(0.0, 5.0)], 10.0, 1.0);
        assert_eq!(line, "M0.0 50.00L1000.0 50.00");
        assert_eq!(area, "M0.0 50.00L1000.0 50.00L1000.0 100L0.0 100Z");
        let (_, line) = paths(&[step(0.0, 0.0), step(1.0, 10.0)], 10.0, 2.0);
        assert_eq!(line, "M0.0 100.00L500.0 100.00L500.0 0.00L1000.0 0.00");
    }

    #[test]
    fn the_same_numbers_stand_there_in_words() {
        let steps = [Step { from: 0.0, to: 10.0, rate: 100.0 }, Step { from: 10.0, to: 20.0, rate: 2_000.0 }];
        assert_eq!(in_words(&steps, Some(2_000.0)), "Now 2,000/s. On average 1,050/s, at most 2,000/s, over 20s.");
        let page = plot(&steps).into_string();
        assert!(page.contains(r#"role="img""#) && page.contains("<title") && page.contains("<desc"), "{page}");
    }

    #[test]
    fn without_points_it_says_why_there_is_no_plot() {
        let page = show(&example_status("running", [1, 0, 0]), Ok(&Arc::default())).into_string();
        assert!(page.contains("no rate to show") && !page.contains("<svg"), "{page}");
    }
}
