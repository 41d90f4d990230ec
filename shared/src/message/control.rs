//! Control messages: directives about one job to every consumer, on the control exchange.

use serde::{Deserialize, Serialize};

use super::headers::{Message, persistent};
use super::indices::Indices;
use super::names::Job;

const CONTROL_TYPE: &str = "rollcall.control.v1";

/// What consumers are to do with a job's companies, or are to know of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
// The field has another name in messages: the control log may have older ones.
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Directive {
    /// Remove the companies of this round and of earlier rounds from the queue, unscored: the job has ended without them.
    Drop {
        /// How often the job had been redriven.
        round: u32,
    },
    /// Move them to the job's queue of paused companies, unscored.
    Pause,
    /// Score them: a pause is over.
    Resume,
    /// Forget all directives about this job: another job may take its name.
    Forget,
    /// A lost connection ended a delivery of each of these companies, and the consumer did not crash: the delivery does not count
    /// towards `--max-deliveries`.
    Interrupted(Interrupted),
}

/// Deliveries that a lost connection ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interrupted {
    /// How often the job had been redriven.
    pub round: u32,
    /// Which attempt at the companies it was.
    pub attempt: u32,
    /// Whether they were delivered from the quarantine, where each is scored alone.
    pub quarantined: bool,
    /// The companies.
    pub indices: Indices,
}

/// A directive about one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlMessage {
    /// The job that the directive is about.
    pub job: Job,
    /// The directive.
    #[serde(flatten)]
    pub directive: Directive,
}

impl ControlMessage {
    /// The message, for the exchange of that name.
    ///
    /// # Errors
    /// If a value has no JSON form.
    pub fn message(&self, exchange: String) -> Result<Message, serde_json::Error> {
        Ok(Message {
            exchange,
            routing_key: self.job.to_string(),
            properties: persistent(CONTROL_TYPE, Job::unique().to_string()).with_content_type("application/json".into()),
            body: serde_json::to_vec(self)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_flat_document() {
        let drop = ControlMessage { job: "j".parse().unwrap(), directive: Directive::Drop { round: 2 } };
        let text = serde_json::to_string(&drop).unwrap();
        assert_eq!(text, r#"{"job":"j","order":"drop","round":2}"#);
        assert_eq!(serde_json::from_str::<ControlMessage>(&text).unwrap(), drop);
        let interrupted = Interrupted { round: 0, attempt: 2, quarantined: true, indices: "0-3".parse().unwrap() };
        let interrupted = ControlMessage { job: "j".parse().unwrap(), directive: Directive::Interrupted(interrupted) };
        let text = serde_json::to_string(&interrupted).unwrap();
        assert_eq!(text, r#"{"job":"j","order":"interrupted","round":0,"attempt":2,"quarantined":true,"indices":"0-3"}"#);
        assert_eq!(serde_json::from_str::<ControlMessage>(&text).unwrap(), interrupted);
    }
}
