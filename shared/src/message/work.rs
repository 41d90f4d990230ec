//! The work message: one company waiting to be scored.

use lapin::BasicProperties;
use lapin::types::FieldTable;

use super::headers::{Malformed, number, persistent, put_integer, put_text, text};
use super::{Index, Job, WORK_TYPE};

/// One company of a job on its way to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The job it belongs to.
    pub job: Job,
    /// Its place in the job.
    pub index: Index,
    /// The name its owner knows it by.
    pub company_id: String,
    /// Which try at scoring it this is, from 1.
    pub attempt: u32,
    /// W3C trace context; empty where the sender had none.
    pub traceparent: String,
    /// The company's record: a JSON object, as text.
    pub record: Vec<u8>,
}

impl Work {
    /// `<job>/<index>`: the same for every copy of this company's messages.
    pub fn id(&self) -> String {
        format!("{}/{}", self.job, self.index)
    }

    /// The message's properties, headers included; its body is the record.
    pub fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        put_text(&mut headers, "job", self.job.as_str());
        put_integer(&mut headers, "index", self.index.0);
        put_text(&mut headers, "company_id", &self.company_id);
        put_integer(&mut headers, "attempt", self.attempt);
        put_text(&mut headers, "traceparent", &self.traceparent);
        persistent(WORK_TYPE, self.id()).with_content_type("application/json".into()).with_headers(headers)
    }

    /// Reads a delivered work message. The record is not looked into: that is the scorer's.
    ///
    /// # Errors
    /// [`Malformed`] where the job or the index is missing or is not of its kind.
    pub fn read(properties: &BasicProperties, record: Vec<u8>) -> Result<Work, Malformed> {
        let job = text(properties, "job")?;
        let index = number(properties, "index")?;
        Ok(Work {
            job: job.parse().map_err(|bad| Malformed::new("a job name in header 'job'", format!("{bad}")))?,
            index: Index(index),
            // Job and index are all that an answer needs. Another producer may leave out the rest.
            company_id: text(properties, "company_id").map_or_else(|_| index.to_string(), str::to_owned),
            attempt: number(properties, "attempt").unwrap_or(1).max(1),
            traceparent: text(properties, "traceparent").unwrap_or_default().to_owned(),
            record,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn work_reads_back_as_it_was_written(
            (index, company_id, attempt, record) in (any::<u32>(), ".{0,60}", 1_u32..100, any::<Vec<u8>>())
        ) {
            let work = Work {
                job: "j".parse().unwrap(),
                index: Index(index),
                company_id,
                attempt,
                traceparent: "00-1-2-01".to_owned(),
                record,
            };
            prop_assert_eq!(Work::read(&work.properties(), work.record.clone()), Ok(work));
        }
    }

    #[test]
    fn work_without_an_index_is_refused_by_name() {
        let mut headers = FieldTable::default();
        put_text(&mut headers, "job", "j");
        let properties = BasicProperties::default().with_headers(headers);
        assert!(Work::read(&properties, Vec::new()).unwrap_err().to_string().contains("'index'"));
    }
}
