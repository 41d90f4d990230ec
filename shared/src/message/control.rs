//! Control messages: what every consumer is told about one job, on the control exchange.

use serde::{Deserialize, Serialize};

use super::headers::persistent;
use super::{CONTROL_TYPE, Indices, Job, Message};

/// What consumers are to do with a job's companies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Order {
    /// Take those of this round and of earlier ones out of the queue, unscored: the job has ended without them.
    Drop {
        /// How often the job had been redriven.
        round: u32,
    },
    /// Set them aside, unscored.
    Pause,
    /// Score them: a pause is over.
    Resume,
    /// What was said of this job no longer holds: its name is free for another.
    Forget,
    /// A delivery of each of these ended with a connection, and the consumer lives: it does not count towards `--max-deliveries`.
    Interrupted(Interrupted),
}

/// Deliveries that a lost connection ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interrupted {
    /// How often the job had been redriven.
    pub round: u32,
    /// Which attempt at the companies it was.
    pub attempt: u32,
    /// Whether they were delivered from the quarantine, where each is scored by itself.
    pub quarantined: bool,
    /// Which companies.
    pub indices: Indices,
}

/// An order and the job that it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// The job.
    pub job: Job,
    /// What to do.
    #[serde(flatten)]
    pub order: Order,
}

impl Control {
    /// The message, for the exchange of that name.
    ///
    /// # Errors
    /// Never: an order always has a JSON form.
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
        let drop = Control { job: "j".parse().unwrap(), order: Order::Drop { round: 2 } };
        let text = serde_json::to_string(&drop).unwrap();
        assert_eq!(text, r#"{"job":"j","order":"drop","round":2}"#);
        assert_eq!(serde_json::from_str::<Control>(&text).unwrap(), drop);
        let interrupted = Interrupted { round: 0, attempt: 2, quarantined: true, indices: "0-3".parse().unwrap() };
        let interrupted = Control { job: "j".parse().unwrap(), order: Order::Interrupted(interrupted) };
        let text = serde_json::to_string(&interrupted).unwrap();
        assert_eq!(text, r#"{"job":"j","order":"interrupted","round":0,"attempt":2,"quarantined":true,"indices":"0-3"}"#);
        assert_eq!(serde_json::from_str::<Control>(&text).unwrap(), interrupted);
    }
}
