//! The work message: one company waiting to be scored.

use lapin::BasicProperties;
use lapin::types::FieldTable;

use super::headers::{Malformed, number, opening, persistent, put_integer, put_text, text};
use super::names::{Index, Job};
use super::opening::Opening;
use super::retry::RetryPolicy;
use super::settings::Priority;

/// The `type` property of a work message.
pub const WORK_TYPE: &str = "rollcall.company.v1";

/// Bytes of a company id, at most. Other clients may send so many; our own producer accepts fewer.
pub const LONGEST_COMPANY_ID: usize = 512;

/// Bytes of a trace context, at most; a longer one is left out. W3C Trace Context has 55 today.
pub(super) const LONGEST_TRACEPARENT: usize = 256;

/// One company of a job on its way to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The job that it belongs to.
    pub job: Job,
    /// Its index in the job.
    pub index: Index,
    /// Its owner's id of it.
    pub company_id: String,
    /// Which attempt at scoring it this is, from 1.
    pub attempt: u32,
    /// How often its job had been redriven when it was enqueued.
    pub round: u32,
    /// The opening of its job; `None` if its producer does not say.
    pub opening: Option<Opening>,
    /// Which of the model's queues it belongs in.
    pub priority: Priority,
    /// How often it was delivered without an acknowledgement, in earlier messages of this attempt.
    pub deliveries: u32,
    /// How many of those deliveries came from the quarantine, where it was scored alone.
    pub deliveries_alone: u32,
    /// Its retry policy; `None` if its job leaves that to the consumers.
    pub retry: Option<RetryPolicy>,
    /// Its W3C trace context; empty if the sender had none.
    pub traceparent: String,
    /// The company's record: a JSON object, as text.
    pub record: Vec<u8>,
}

impl Work {
    /// `<job>/<index>`, the message id of the work and of its result.
    pub fn id(&self) -> String {
        format!("{}/{}", self.job, self.index)
    }

    /// The properties of the message, headers included; its body is the record. Headers with default values are left out.
    pub fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        put_text(&mut headers, "job", self.job.as_str());
        put_integer(&mut headers, "index", self.index.0);
        put_text(&mut headers, "company_id", &self.company_id);
        put_integer(&mut headers, "attempt", self.attempt);
        put_text(&mut headers, "traceparent", &self.traceparent);
        if self.round > 0 {
            put_integer(&mut headers, "round", self.round);
        }
        if let Some(opening) = self.opening {
            put_text(&mut headers, "opening", &opening.to_string());
        }
        if self.priority == Priority::High {
            put_text(&mut headers, "priority", "high");
        }
        if self.deliveries > 0 {
            put_integer(&mut headers, "deliveries", self.deliveries);
        }
        if self.deliveries_alone > 0 {
            put_integer(&mut headers, "deliveries_alone", self.deliveries_alone);
        }
        if let Some(retry) = &self.retry {
            put_text(&mut headers, "retry", &retry.to_string());
        }
        persistent(WORK_TYPE, self.id()).with_content_type("application/json".into()).with_headers(headers)
    }

    /// Reads a delivered work message, without its record, which the scorer parses.
    ///
    /// # Errors
    /// [`Malformed`] if the job or the index is missing or invalid, or the company id is too long for the header of its result: headers
    /// that do not fit in one frame end the connection.
    pub fn read(properties: &BasicProperties, record: Vec<u8>) -> Result<Work, Malformed> {
        let job = text(properties, "job")?;
        let index = number(properties, "index")?;
        // A result needs the job and the index only; another producer may leave out the rest.
        let company_id = text(properties, "company_id").map_or_else(|_| index.to_string(), str::to_owned);
        if company_id.len() > LONGEST_COMPANY_ID {
            let expected = format!("at most {LONGEST_COMPANY_ID} bytes in header 'company_id'");
            return Err(Malformed::new(expected, company_id.len().to_string()));
        }
        let traceparent = text(properties, "traceparent").ok().filter(|trace| trace.len() <= LONGEST_TRACEPARENT);
        Ok(Work {
            job: job.parse().map_err(|bad| Malformed::new("a job name in header 'job'", format!("{bad}")))?,
            index: Index(index),
            company_id,
            attempt: number(properties, "attempt").unwrap_or(1).max(1),
            round: number(properties, "round").unwrap_or_default(),
            opening: opening(properties).unwrap_or_default(),
            priority: if text(properties, "priority") == Ok("high") { Priority::High } else { Priority::Normal },
            deliveries: number(properties, "deliveries").unwrap_or_default(),
            deliveries_alone: number(properties, "deliveries_alone").unwrap_or_default(),
            retry: text(properties, "retry").ok().and_then(|retry| retry.parse().ok()),
            traceparent: traceparent.unwrap_or_default().to_owned(),
            record,
        })
    }
}

/// How often the broker has delivered a message of a quorum queue before, without an acknowledgement. RabbitMQ 3.10 counts every
/// redelivery; 4.x leaves out messages that were requeued.
pub fn earlier_deliveries(properties: &BasicProperties) -> u32 {
    number(properties, "x-delivery-count").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn work_reads_back_as_it_was_written(
            (index, company_id, attempt, counts, (high, opened), attempts, record)
                in (any::<u32>(), ".{0,60}", 1_u32..100, any::<(u32, u32, u32)>(), any::<(bool, bool)>(), 0_u32..5, any::<Vec<u8>>())
        ) {
            let work = Work {
                job: "j".parse().unwrap(),
                index: Index(index),
                company_id,
                attempt,
                round: counts.0,
                opening: opened.then(Opening::unique),
                priority: if high { Priority::High } else { Priority::Normal },
                deliveries: counts.1,
                deliveries_alone: counts.2,
                retry: (attempts > 0).then(|| format!("{attempts};5s").parse().unwrap()),
                traceparent: "00-1-2-01".to_owned(),
                record,
            };
            prop_assert_eq!(Work::read(&work.properties(), work.record.clone()), Ok(work));
        }
    }

    #[test]
    fn an_id_that_no_header_of_a_result_can_hold_is_refused_and_a_trace_left_out() {
        let mut headers = FieldTable::default();
        put_text(&mut headers, "job", "j");
        put_integer(&mut headers, "index", 0);
        put_text(&mut headers, "traceparent", &"x".repeat(100_000));
        put_text(&mut headers, "company_id", &"x".repeat(512));
        let read = |headers| Work::read(&BasicProperties::default().with_headers(headers), Vec::new());
        assert_eq!(read(headers.clone()).unwrap().traceparent, "");
        put_text(&mut headers, "company_id", &"x".repeat(513));
        assert!(read(headers).unwrap_err().to_string().contains("expected at most 512 bytes in header 'company_id', found 513"));
    }

    #[test]
    fn work_without_an_index_is_refused_by_name() {
        let mut headers = FieldTable::default();
        put_text(&mut headers, "job", "j");
        let properties = BasicProperties::default().with_headers(headers);
        assert!(Work::read(&properties, Vec::new()).unwrap_err().to_string().contains("'index'"));
    }
}
