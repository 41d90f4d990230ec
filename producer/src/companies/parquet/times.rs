//! Dates, times and durations of Parquet, as ISO 8601 writes them.

use std::fmt::Display;
use std::io::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::temporal_conversions::{
    date32_to_datetime, date64_to_datetime, duration_ns_to_duration, duration_us_to_duration, time32ms_to_time, time32s_to_time,
    time64ns_to_time, time64us_to_time, timestamp_ms_to_datetime, timestamp_ns_to_datetime, timestamp_s_to_datetime,
    timestamp_us_to_datetime, try_duration_ms_to_duration, try_duration_s_to_duration,
};
use arrow_array::timezone::Tz;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Datelike as _, NaiveDateTime, NaiveTime, Offset as _, SecondsFormat, TimeDelta, TimeZone as _, Utc};

use super::super::bad_input::Reason;
use super::encoder::WriteValue;

/// The encoder of `array`; `None` if its values are not dates, times or durations, or its time zone is not known.
pub(super) fn write_times<'a>(array: &'a dyn Array) -> Option<WriteValue<'a>> {
    macro_rules! values {
        ($write:ident, $type:ty, $convert:expr) => {
            $write(array.as_primitive::<$type>(), $convert)
        };
    }
    Some(match array.data_type() {
        DataType::Date32 => values!(dates, Date32Type, date32_to_datetime),
        DataType::Date64 => values!(dates, Date64Type, date64_to_datetime),
        DataType::Time32(TimeUnit::Second) => values!(times_of_day, Time32SecondType, time32s_to_time),
        DataType::Time32(_) => values!(times_of_day, Time32MillisecondType, time32ms_to_time),
        DataType::Time64(TimeUnit::Nanosecond) => values!(times_of_day, Time64NanosecondType, time64ns_to_time),
        DataType::Time64(_) => values!(times_of_day, Time64MicrosecondType, time64us_to_time),
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => values!(durations, DurationSecondType, try_duration_s_to_duration),
            TimeUnit::Millisecond => values!(durations, DurationMillisecondType, try_duration_ms_to_duration),
            TimeUnit::Microsecond => values!(durations, DurationMicrosecondType, |count| Some(duration_us_to_duration(count))),
            TimeUnit::Nanosecond => values!(durations, DurationNanosecondType, |count| Some(duration_ns_to_duration(count))),
        },
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => values!(timestamps, TimestampSecondType, timestamp_s_to_datetime)?,
            TimeUnit::Millisecond => values!(timestamps, TimestampMillisecondType, timestamp_ms_to_datetime)?,
            TimeUnit::Microsecond => values!(timestamps, TimestampMicrosecondType, timestamp_us_to_datetime)?,
            TimeUnit::Nanosecond => values!(timestamps, TimestampNanosecondType, timestamp_ns_to_datetime)?,
        },
        _ => return None,
    })
}

fn dates<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, convert: fn(T::Native) -> Option<NaiveDateTime>) -> WriteValue<'_> {
    Box::new(move |index, out| {
        let time = convert(array.value(index)).ok_or_else(out_of_range)?;
        write_quoted(out, format_args!("{:?}", time.date()))
    })
}

fn times_of_day<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, convert: fn(T::Native) -> Option<NaiveTime>) -> WriteValue<'_> {
    Box::new(move |index, out| {
        let time = convert(array.value(index))
            .ok_or_else(|| unrepresentable("a time of day before 00:00:00, or of 24:00:00 or more"))?;
        write_quoted(out, format_args!("{time:?}"))
    })
}

fn durations<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, convert: fn(T::Native) -> Option<TimeDelta>) -> WriteValue<'_> {
    Box::new(move |index, out| {
        let duration = convert(array.value(index)).ok_or_else(|| unrepresentable("a duration of more than 292 million years"))?;
        write_quoted(out, format_args!("{duration}"))
    })
}

/// `None` if the time zone is not known.
fn timestamps<T: ArrowTimestampType>(
    array: &PrimitiveArray<T>,
    convert: fn(i64) -> Option<NaiveDateTime>,
) -> Option<WriteValue<'_>> {
    let zone: Option<Tz> = array.timezone().map(str::parse).transpose().ok()?;
    Some(Box::new(move |index, out| {
        let count = array.value(index);
        // DuckDB writes infinities as these values; they would look like years 2262 and 1677.
        if T::UNIT == TimeUnit::Nanosecond && count.unsigned_abs() >= i64::MAX.unsigned_abs() {
            return Err(unrepresentable("an infinite time"));
        }
        let time = convert(count).ok_or_else(out_of_range)?;
        write_timestamp(time.and_utc(), zone, out)
    }))
}

/// Appends a time: with an offset, as RFC 3339 has it, if the column has a zone, and without one otherwise.
pub(super) fn write_timestamp(time: DateTime<Utc>, zone: Option<Tz>, out: &mut Vec<u8>) -> Result<(), Reason> {
    match zone {
        None => write_quoted(out, format_args!("{:?}", time.naive_utc())),
        Some(zone) if has_seconds(time, zone) => write_quoted(out, format_args!("{}", rfc3339(&time))),
        Some(zone) => write_quoted(out, format_args!("{}", rfc3339(&time.with_timezone(&zone)))),
    }
}

fn rfc3339<Z: chrono::TimeZone<Offset: Display>>(time: &DateTime<Z>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The last zone to give up an offset with seconds was Monrovia.
const LAST_OFFSET_WITH_SECONDS_YEAR: i32 = 1972;

/// Whether the offset of a zone had seconds at that time, which RFC 3339 cannot write.
fn has_seconds(time: DateTime<Utc>, zone: Tz) -> bool {
    let is_old = time.year() <= LAST_OFFSET_WITH_SECONDS_YEAR;
    is_old && zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc() % 60 != 0
}

/// Appends what dates, times and durations in ISO 8601 consist of, which JSON never escapes.
fn write_quoted(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) -> Result<(), Reason> {
    out.push(b'"');
    // Writing to memory does not fail.
    out.write_fmt(text).unwrap_or_default();
    out.push(b'"');
    Ok(())
}

fn out_of_range() -> Reason {
    unrepresentable("a date or time out of range, as an infinity is written")
}

fn unrepresentable(found: &str) -> Reason {
    Reason::Unrepresentable { found: found.to_owned() }
}
