//! Numbers, times and text from outside, as the page shows them.

use std::time::Duration;

use indicatif::HumanCount;
use maud::{Markup, html};
use rollcall_shared::message::Timestamp;
use rollcall_shared::terminal::escape_controls;

/// A number with its thousands set apart.
pub(super) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// `1 company`, `2 companies`.
pub(super) fn companies(number: u64) -> String {
    if number == 1 { "1 company".to_owned() } else { format!("{} companies", count(number)) }
}

/// The part of the whole in percent. It is 100 only of the whole.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    part.min(whole).saturating_mul(100) / whole.max(1)
}

/// A rate in companies a second; a slow one in companies a minute.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 100.0 => format!("{}/s", HumanCount(whole(rate.round()))),
        rate if rate >= 1.0 => format!("{rate:.1}/s"),
        rate if rate > 0.0 => format!("{:.1}/min", rate * 60.0),
        _ => "0/s".to_owned(),
    }
}

/// A length of time, to the second; a short one to the tenth.
pub(super) fn span(seconds: f64) -> String {
    const SHORT: f64 = 10.0;
    if seconds < SHORT {
        return format!("{}s", format!("{:.1}", seconds.max(0.0)).trim_end_matches(".0"));
    }
    humantime::format_duration(Duration::from_secs(whole(seconds.round()))).to_string()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float to integer saturates")]
fn whole(number: f64) -> u64 {
    // Longer than any job, and short enough for humantime.
    number.min(1e12) as u64
}

/// A point in time. The script shows it by the clock of whoever looks.
pub(super) fn time(at: Timestamp) -> Markup {
    let at = at.to_string();
    let (date, time) = at.split_once('T').unwrap_or((&at, ""));
    let seconds = time.split('.').next().unwrap_or_default();
    html! { time datetime=(at) { (date) " " (seconds) " UTC" } }
}

/// Text from outside. It cannot turn the direction of what stands around it, and hides nothing.
pub(super) fn outside(text: &str) -> Markup {
    html! { bdi { (escape_controls(text)) } }
}

/// Text from outside in which commands stand between backticks, as in the messages of all programs of Rollcall.
pub(super) fn with_commands(text: &str) -> Markup {
    let text = escape_controls(text);
    html! {
        bdi {
            @for (at, part) in text.split('`').enumerate() {
                @if at % 2 == 1 { code { (part) } } @else { (part) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        assert_eq!(
            [0.0, 0.5, 1.0, 99.94, 1_234.5, 12_345.6].map(rate),
            ["0/s", "30.0/min", "1.0/s", "99.9/s", "1,235/s", "12,346/s"]
        );
        assert_eq!([0.0, 9.94, 10.0, 125.4, 4_325.0].map(span), ["0s", "9.9s", "10s", "2m 5s", "1h 12m 5s"]);
        assert_eq!([percent(0, 0), percent(999, 1_000), percent(5, 5), percent(7, 5)], [0, 99, 100, 100]);
        assert_eq!([1, 2_000].map(companies), ["1 company", "2,000 companies"]);
    }

    #[test]
    fn a_time_is_shown_in_utc_and_kept_exactly_for_the_script() {
        let shown = time("2026-11-30T20:41:45.123Z".parse().unwrap()).into_string();
        assert_eq!(shown, r#"<time datetime="2026-11-30T20:41:45.123Z">2026-11-30 20:41:45 UTC</time>"#);
    }

    #[test]
    fn text_from_outside_is_no_markup_and_shows_what_it_would_hide() {
        let hostile = "<img src=x onerror=alert(1)>\"'&\u{202e}gpj.exe\u{0}\n";
        let shown = outside(hostile).into_string();
        assert_eq!(shown, r#"<bdi>&lt;img src=x onerror=alert(1)&gt;&quot;'&amp;\u{202e}gpj.exe\u{0}\n</bdi>"#);
        let shown = with_commands("start `aggregator <x>`, or see `").into_string();
        assert_eq!(shown, "<bdi>start <code>aggregator &lt;x&gt;</code>, or see <code></code></bdi>");
    }
}
