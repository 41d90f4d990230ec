//! Dates, times and durations of Parquet, as ISO 8601 writes them.

use std::fmt::Display;
use std::io::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::temporal_conversions::{as_date, as_datetime, as_duration, as_time};
use arrow_array::timezone::Tz;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Datelike as _, Offset as _, SecondsFormat, TimeZone as _, Utc};

use super::super::bad_input::Reason;
use super::encoder::WriteValue;

/// The encoder of `array`; `None` if its values are not dates, times or durations, or its time zone is not known.
pub(super) fn write_times<'a>(array: &'a dyn Array) -> Option<WriteValue<'a>> {
    macro_rules! values {
        ($write:ident, $type:ty) => {
            $write(array.as_primitive::<$type>())
        };
    }
    Some(match array.data_type() {
        DataType::Date32 => values!(dates, Date32Type),
        DataType::Date64 => values!(dates, Date64Type),
        DataType::Time32(TimeUnit::Second) => values!(times_of_day, Time32SecondType),
        DataType::Time32(_) => values!(times_of_day, Time32MillisecondType),
        DataType::Time64(TimeUnit::Nanosecond) => values!(times_of_day, Time64NanosecondType),
        DataType::Time64(_) => values!(times_of_day, Time64MicrosecondType),
        DataType::Duration(TimeUnit::Second) => values!(durations, DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => values!(durations, DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => values!(durations, DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => values!(durations, DurationNanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => values!(timestamps, TimestampSecondType)?,
        DataType::Timestamp(TimeUnit::Millisecond, _) => values!(timestamps, TimestampMillisecondType)?,
        DataType::Timestamp(TimeUnit::Microsecond, _) => values!(timestamps, TimestampMicrosecondType)?,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => values!(timestamps, TimestampNanosecondType)?,
        _ => return None,
    })
}

fn dates<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &PrimitiveArray<T>) -> WriteValue<'_> {
    Box::new(|index, out| {
        let date = as_date::<T>(array.value(index).into()).ok_or_else(out_of_range)?;
        write_quoted(out, format_args!("{date:?}"))
    })
}

fn times_of_day<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &PrimitiveArray<T>) -> WriteValue<'_> {
    Box::new(|index, out| {
        let time = as_time::<T>(array.value(index).into())
            .ok_or_else(|| unrepresentable("a time of day before 00:00:00, or of 24:00:00 or more"))?;
        write_quoted(out, format_args!("{time:?}"))
    })
}

fn durations<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &PrimitiveArray<T>) -> WriteValue<'_> {
    Box::new(|index, out| {
        let duration = as_duration::<T>(array.value(index).into())
            .ok_or_else(|| unrepresentable("a duration of more than 292 million years"))?;
        write_quoted(out, format_args!("{duration}"))
    })
}

/// `None` if the time zone is not known.
fn timestamps<T: ArrowTimestampType>(array: &PrimitiveArray<T>) -> Option<WriteValue<'_>> {
    let zone: Option<Tz> = array.timezone().map(str::parse).transpose().ok()?;
    Some(Box::new(move |index, out| {
        let count = array.value(index);
        // DuckDB writes its infinities so, where they would pass for times in 2262 and 1677.
        if T::UNIT == TimeUnit::Nanosecond && count.unsigned_abs() >= i64::MAX.unsigned_abs() {
            return Err(unrepresentable("an infinite time"));
        }
        let time = as_datetime::<T>(count).ok_or_else(out_of_range)?;
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
    // Writing to memory does not fail.
    write!(out, "\"{text}\"").unwrap_or_default();
    Ok(())
}

fn out_of_range() -> Reason {
    unrepresentable("a date or time out of range, as an infinity is written")
}

fn unrepresentable(found: &str) -> Reason {
    Reason::Unrepresentable { found: found.to_owned() }
}
