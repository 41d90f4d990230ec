//! Messages with any headers are parsed as work or results, or refused as malformed. What is parsed survives a round trip.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use libfuzzer_sys::fuzz_target;
use rollcall_fuzz::assert_one_line;
use rollcall_shared::message::{ResultHeaders, Work, earlier_deliveries, offset};

/// The keys that Rollcall reads, and one that it does not.
const KEYS: [&str; 15] = [
    "job",
    "index",
    "company_id",
    "attempt",
    "round",
    "opening",
    "priority",
    "deliveries",
    "retry",
    "traceparent",
    "outcome",
    "cause",
    "x-stream-offset",
    "x-delivery-count",
    "other",
];
/// Values that pass the first check.
const TEXTS: [&str; 7] = ["j", "succeeded", "failed", "high", "3;1s,1m30s", "0190163d-8694-739b-aea5-966c26f8ad91", ""];

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(headers) = table(&mut bytes) else { return };
    let properties = BasicProperties::default().with_headers(headers);
    match Work::read(&properties, bytes.take_rest().to_vec()) {
        Ok(work) => assert_eq!(Work::read(&work.properties(), work.record.clone()), Ok(work)),
        Err(malformed) => assert_one_line(&malformed.to_string()),
    }
    if let Err(malformed) = ResultHeaders::read(&properties) {
        assert_one_line(&malformed.to_string());
    }
    offset(&properties);
    earlier_deliveries(&properties);
});

fn table(bytes: &mut Unstructured<'_>) -> Result<FieldTable> {
    let mut table = FieldTable::default();
    for _ in 0..bytes.int_in_range(0..=16)? {
        table.insert((*bytes.choose(&KEYS)?).into(), value(bytes)?);
    }
    Ok(table)
}

fn value(bytes: &mut Unstructured<'_>) -> Result<AMQPValue> {
    Ok(match bytes.int_in_range(0..=18)? {
        0 => AMQPValue::Boolean(bool::arbitrary(bytes)?),
        1 => AMQPValue::ShortShortInt(i8::arbitrary(bytes)?),
        2 => AMQPValue::ShortShortUInt(u8::arbitrary(bytes)?),
        3 => AMQPValue::ShortInt(i16::arbitrary(bytes)?),
        4 => AMQPValue::ShortUInt(u16::arbitrary(bytes)?),
        5 => AMQPValue::LongInt(i32::arbitrary(bytes)?),
        6 => AMQPValue::LongUInt(u32::arbitrary(bytes)?),
        7 | 8 => AMQPValue::LongLongInt(i64::arbitrary(bytes)?),
        9 => AMQPValue::Float(f32::arbitrary(bytes)?),
        10 => AMQPValue::Double(f64::arbitrary(bytes)?),
        11 => AMQPValue::DecimalValue(DecimalValue { scale: u8::arbitrary(bytes)?, value: u32::arbitrary(bytes)? }),
        12 => AMQPValue::ShortString(<&str>::arbitrary(bytes)?.chars().take(60).collect::<String>().into()),
        13 => AMQPValue::LongString(<&[u8]>::arbitrary(bytes)?.to_vec().into()),
        14 | 15 => AMQPValue::LongString((*bytes.choose(&TEXTS)?).into()),
        16 => AMQPValue::Timestamp(u64::arbitrary(bytes)?),
        17 => AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void])),
        _ => AMQPValue::Void,
    })
}
