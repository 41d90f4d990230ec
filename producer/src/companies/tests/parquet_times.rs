use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Date64Array, DurationMicrosecondArray, DurationMillisecondArray, DurationNanosecondArray,
    DurationSecondArray, Time32SecondArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};

use super::parquet::{assert_first_is_bad, file, text};
use super::*;

#[test]
fn times_with_a_zone_are_told_with_their_offset() {
    let zones =
        [("UTC", "2024-07-01T12:00:00Z"), ("+05:30", "2024-07-01T17:30:00+05:30"), ("Europe/Paris", "2024-07-01T14:00:00+02:00")];
    for (zone, expected) in zones {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_719_835_200_000_000]).with_timezone(zone));
        assert_eq!(read("a.parquet", file([("t", times)])).records(), [format!(r#"{{"t":"{expected}"}}"#)]);
    }
}

/// Paris was 9 min 21 s ahead until 1911, Monrovia 44 min 30 s behind until 1972; RFC 3339 has whole minutes only.
#[test]
fn times_in_a_zone_whose_offset_had_seconds_are_told_in_utc() {
    const DAY: i64 = 86_400_000_000;
    let zones = [
        ("Europe/Paris", [r#""1900-01-01T00:00:00Z""#, r#""1970-01-01T01:00:00+01:00""#]),
        ("Africa/Monrovia", [r#""1900-01-01T00:00:00Z""#, r#""1970-01-01T00:00:00Z""#]),
    ];
    for (zone, expected) in zones {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![-25_567 * DAY, 0]).with_timezone(zone));
        assert_eq!(
            read("a.parquet", file([("t", times)])).records(),
            expected.map(|expected| format!(r#"{{"t":{expected}}}"#)),
            "{zone}"
        );
    }
}

/// DuckDB writes infinities in nanoseconds so, which could pass for times.
#[test]
fn an_infinite_time_in_nanoseconds_is_a_bad_row() {
    let times = TimestampNanosecondArray::from(vec![i64::MAX, -i64::MAX, i64::MAX - 1]);
    for times in [times.clone(), times.with_timezone("UTC")] {
        let reading = read("a.parquet", file([("t", Arc::new(times)), ("name", text(["x", "y", "z"]))]));
        assert_eq!(reading.errors.len(), 2, "{reading:?}");
        assert!(
            reading
                .errors
                .iter()
                .all(|error| error.contains("field \"t\": expected a value that JSON can hold, found an infinite time;"))
        );
        assert!(reading.records()[0].starts_with(r#"{"t":"2262-04-11T23:47:16.854775806"#), "{reading:?}");
    }
}

#[test]
fn a_date_is_a_date_in_either_type_of_arrow() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![19_782, -1]));
    let milliseconds: ArrayRef = Arc::new(Date64Array::from(vec![19_782 * 86_400_000, -86_400_000]));
    let reading = read("a.parquet", file([("days", days), ("milliseconds", milliseconds)]));
    assert_eq!(
        reading.records(),
        [r#"{"days":"2024-02-29","milliseconds":"2024-02-29"}"#, r#"{"days":"1969-12-31","milliseconds":"1969-12-31"}"#,]
    );
}

#[test]
fn a_duration_that_cannot_be_told_is_a_bad_row_at_any_depth() {
    let columns: [ArrayRef; 3] = [
        Arc::new(DurationSecondArray::from(vec![i64::MAX, i64::MAX / 1_000])),
        Arc::new(DurationSecondArray::from(vec![-i64::MAX, -i64::MAX / 1_000])),
        Arc::new(DurationMillisecondArray::from(vec![i64::MIN, i64::MAX])),
    ];
    for column in columns {
        assert_first_is_bad(&column, "a duration of more than 292 million years");
    }
    let longest: [ArrayRef; 2] = [
        Arc::new(DurationMicrosecondArray::from(vec![i64::MIN, i64::MAX])),
        Arc::new(DurationNanosecondArray::from(vec![i64::MIN, i64::MAX])),
    ];
    for column in longest {
        assert_eq!(read("a.parquet", file([("t", column)])).companies.len(), 2);
    }
}

#[test]
fn a_time_of_day_that_is_none_is_a_bad_row() {
    let columns: [ArrayRef; 3] = [
        Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000, 86_399_999_999])),
        Arc::new(Time64MicrosecondArray::from(vec![-1, 0])),
        Arc::new(Time32SecondArray::from(vec![86_400, 86_399])),
    ];
    for column in columns {
        assert_first_is_bad(&column, "a time of day before 00:00:00, or of 24:00:00 or more");
    }
}
