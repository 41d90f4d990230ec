//! Dead letters: why the broker put a message into a dead queue, and which company it was.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

use super::headers::{MALFORMED, Malformed, text};
use super::work::{LONGEST_COMPANY_ID, LONGEST_TRACEPARENT, Work};

/// Why a queue dead-lettered a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathReason {
    /// A consumer rejected it.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    MaxLength,
    /// It was delivered as often as the queue allows.
    DeliveryLimit,
}

/// A queue that dead-lettered a message, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The name of the queue.
    pub queue: String,
    /// Why.
    pub reason: DeathReason,
}

/// The queues that dead-lettered a message, the latest first, by the headers that the broker adds.
pub fn deaths(properties: &BasicProperties) -> Vec<Death> {
    // RabbitMQ 3.10 puts the latest at the front of `x-death`; 4.x has headers of their own for it.
    let last = death(text(properties, "x-last-death-queue").ok(), text(properties, "x-last-death-reason").ok());
    let headers = properties.headers().as_ref();
    let listed = match headers.and_then(|headers| headers.inner().get("x-death")) {
        Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice(),
        _ => &[],
    };
    let listed = listed.iter().filter_map(|entry| match entry {
        AMQPValue::FieldTable(entry) => death(word(entry, "queue"), word(entry, "reason")),
        _ => None,
    });
    last.into_iter().chain(listed).collect()
}

fn death(queue: Option<&str>, reason: Option<&str>) -> Option<Death> {
    let reason = match reason? {
        "rejected" => DeathReason::Rejected,
        "expired" => DeathReason::Expired,
        "maxlen" => DeathReason::MaxLength,
        "delivery_limit" => DeathReason::DeliveryLimit,
        _ => return None,
    };
    Some(Death { queue: queue?.to_owned(), reason })
}

fn word<'a>(table: &'a FieldTable, key: &str) -> Option<&'a str> {
    match table.inner().get(key)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

/// Reads as much of a dead letter as its failed result needs. Any other defect is returned beside it, and a header that is too long for a
/// result is cut.
///
/// # Errors
/// [`Malformed`] if the job or the index is missing or invalid.
pub fn read_dead_letter(properties: &BasicProperties, record: Vec<u8>) -> Result<(Work, Option<Malformed>), Malformed> {
    let mut headers = properties.headers().clone().unwrap_or_default();
    // A consumer cut the headers before it rejected the message, and recorded what was wrong with them.
    let mut malformed = text(properties, MALFORMED).ok().map(|found| Malformed::new("work", found));
    for (key, longest) in [("company_id", LONGEST_COMPANY_ID), ("traceparent", LONGEST_TRACEPARENT)] {
        let Some(long) = text(properties, key).ok().filter(|value| value.len() > longest) else { continue };
        malformed
            .get_or_insert(Malformed::new(format!("at most {longest} bytes in header '{key}'"), format!("{} bytes", long.len())));
        let end = (0..=longest).rev().find(|&end| long.is_char_boundary(end)).unwrap_or_default();
        let cut = LongString::from(long.get(..end).unwrap_or_default());
        headers.insert(key.into(), AMQPValue::LongString(cut));
    }
    let work = Work::read(&properties.clone().with_headers(headers), record)?;
    Ok((work, malformed))
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::super::headers::{put_integer, put_text};
    use super::*;

    fn with(headers: FieldTable) -> BasicProperties {
        BasicProperties::default().with_headers(headers)
    }

    fn listed(entries: &[(&str, &str)]) -> FieldTable {
        let mut deaths = FieldArray::default();
        for (queue, reason) in entries {
            let mut entry = FieldTable::default();
            put_text(&mut entry, "queue", queue);
            put_text(&mut entry, "reason", reason);
            deaths.push(AMQPValue::FieldTable(entry));
        }
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        headers
    }

    fn death(queue: &str, reason: DeathReason) -> Death {
        Death { queue: queue.to_owned(), reason }
    }

    #[test]
    fn the_latest_death_comes_first_on_either_broker() {
        assert_eq!(deaths(&BasicProperties::default()), []);
        let mut headers = listed(&[("q", "delivery_limit"), ("r", "expired"), ("s", "no such reason")]);
        let expected = [death("q", DeathReason::DeliveryLimit), death("r", DeathReason::Expired)];
        assert_eq!(deaths(&with(headers.clone())), expected);
        put_text(&mut headers, "x-last-death-queue", "r");
        put_text(&mut headers, "x-last-death-reason", "expired");
        assert_eq!(deaths(&with(headers)).first(), expected.last());
    }

    #[test]
    fn a_dead_letter_with_a_header_that_no_result_can_carry_is_answered_for_with_its_beginning() {
        let mut headers = FieldTable::default();
        put_text(&mut headers, "job", "j");
        put_integer(&mut headers, "index", 7);
        put_text(&mut headers, "company_id", &"é".repeat(60_000));
        let (work, malformed) = read_dead_letter(&with(headers.clone()), b"{}".to_vec()).unwrap();
        assert_eq!((work.index.0, work.company_id), (7, "é".repeat(LONGEST_COMPANY_ID / 2)));
        let malformed = malformed.unwrap().to_string();
        assert!(malformed.contains("512 bytes in header 'company_id'") && malformed.contains("120000"), "{malformed}");
        put_text(&mut headers, "company_id", "c");
        assert_eq!(read_dead_letter(&with(headers), Vec::new()).unwrap().1, None);
        assert!(read_dead_letter(&BasicProperties::default(), Vec::new()).is_err());
    }
}
