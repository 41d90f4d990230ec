//! Dates, times and durations of Parquet, as ISO 8601 has them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::timezone::Tz;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_json::writer::Encoder;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use chrono::{DateTime, Datelike as _, Offset as _, SecondsFormat, TimeZone as _, Utc};

use super::bad_input::Reason;
use super::unrepresentable::Unrepresentable;

/// The encoder of an array of them.
pub(super) fn encoder<'a>(
    array: &'a dyn Array,
    unrepresentable: Arc<Unrepresentable>,
) -> Result<Box<dyn Encoder + 'a>, ArrowError> {
    let options = FormatOptions::new().with_display_error(false);
    let options = match array.data_type() {
        // Milliseconds of a whole day, which the library shows with the time 00:00:00.
        DataType::Date64 => options.with_datetime_format(Some("%Y-%m-%d")),
        _ => options,
    };
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let out_of_range = match array.data_type() {
        DataType::Time32(_) | DataType::Time64(_) => "a time of day before 00:00:00, or of 24:00:00 or more",
        DataType::Duration(_) => "a duration of more than 292 million years",
        _ => "a date or time out of range, as an infinity is written",
    };
    Ok(Box::new(Times { formatter, exceptions: exceptions(array), text: String::new(), out_of_range, unrepresentable }))
}

struct Times<'a> {
    formatter: ArrayFormatter<'a>,
    /// By row; there are none in almost every batch.
    exceptions: HashMap<usize, Exception>,
    text: String,
    /// What a value is that the library cannot write.
    out_of_range: &'static str,
    unrepresentable: Arc<Unrepresentable>,
}

impl Encoder for Times<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.text.clear();
        match self.exceptions.get(&row) {
            Some(Exception::InUtc(time)) => self.text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Some(Exception::Infinite) => {
                self.unrepresentable.found(Reason::Unrepresentable { found: "an infinite time".to_owned() });
            }
            None => {
                // Of some values the library writes that it cannot write them, and says nothing else of it.
                let is_written = self.formatter.value(row).write(&mut self.text).is_ok() && is_iso(&self.text);
                if !is_written {
                    self.unrepresentable.found(Reason::Unrepresentable { found: self.out_of_range.to_owned() });
                }
            }
        }
        out.push(b'"');
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'"');
    }
}

/// Whether a text has no other characters than dates, times and durations in ISO 8601 have.
fn is_iso(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"+-:.TZPDHMS".contains(&byte))
}

/// What the library would tell wrong.
enum Exception {
    /// An infinity of DuckDB in nanoseconds, which passes for a time in 2262 or 1677.
    Infinite,
    /// A time in a zone whose offset had seconds then. RFC 3339 has no such offset, so it is told in UTC.
    InUtc(DateTime<Utc>),
}

/// The last zone to give up an offset with seconds was Monrovia.
const LAST_OFFSET_WITH_SECONDS_YEAR: i32 = 1972;

fn exceptions(array: &dyn Array) -> HashMap<usize, Exception> {
    let DataType::Timestamp(unit, zone) = array.data_type() else { return HashMap::new() };
    let zone: Option<Tz> = zone.as_ref().and_then(|zone| zone.parse().ok());
    let exception = |count: i64| {
        if *unit == TimeUnit::Nanosecond && count.unsigned_abs() >= i64::MAX.unsigned_abs() {
            return Some(Exception::Infinite);
        }
        let time = instant(count, *unit)?;
        has_seconds(time, zone?).then_some(Exception::InUtc(time))
    };
    let data = array.to_data();
    let counts: &[i64] = data.buffer(0);
    counts.iter().enumerate().filter_map(|(row, &count)| Some((row, exception(count)?))).collect()
}

/// Whether RFC 3339 cannot write the offset that a zone had then.
fn has_seconds(time: DateTime<Utc>, zone: Tz) -> bool {
    let is_old = time.year() <= LAST_OFFSET_WITH_SECONDS_YEAR;
    is_old && zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc() % 60 != 0
}

/// A time with the offset that its zone had then, or in UTC where that had seconds.
pub(super) fn in_zone(time: DateTime<Utc>, zone: Tz) -> String {
    if has_seconds(time, zone) {
        return time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    }
    time.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// So many units since 1970; nothing where that is out of range.
fn instant(count: i64, unit: TimeUnit) -> Option<DateTime<Utc>> {
    match unit {
        TimeUnit::Second => DateTime::from_timestamp_secs(count),
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(count),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(count),
        TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(count)),
    }
}
