//! What can go wrong between a process and the broker, and what to do about it.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::lifecycle::Exit;

/// What can go wrong between a process and the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The URL does not parse, or a part of it cannot be honoured.
    #[error("expected an AMQP URL such as amqp://user:password@host:5672/%2f, found {found}; mend AMQP_URL or --amqp-url")]
    BadUrl {
        /// What is wrong, without the URL: it may contain a password.
        found: String,
    },
    /// Nothing answers at the URL.
    #[error("cannot reach the broker at {url}: {reason}; check that RabbitMQ runs there and that AMQP_URL names it")]
    Unreachable {
        /// The URL without its password.
        url: String,
        /// The network's error.
        reason: String,
    },
    /// This machine or process lacks a resource that a connection needs.
    #[error("cannot open a connection to the broker: {0}")]
    OutOfResources(String),
    /// All channels of a pool are in use. Says what is short, and what to do.
    #[error("{0}")]
    Busy(String),
    /// The broker answered, and refused the connection.
    #[error("the broker at {url} refuses the connection: {reason}; check the user, the password and the vhost in AMQP_URL")]
    Refused {
        /// The URL without its password.
        url: String,
        /// The broker's error.
        reason: String,
    },
    /// A queue or exchange exists with other arguments, or may not be declared.
    #[error(
        "cannot declare {kind} {name:?}: {reason}; {}", advice(.reason)
    )]
    Topology {
        /// Exchange, queue or binding.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The broker's error, which names the argument.
        reason: String,
    },
    /// The connection was lost, and did not come back within `--max-downtime`.
    #[error("gave up after {} without the broker (--max-downtime): {last}", humantime::format_duration(*.downtime))]
    Away {
        /// How long the process waited at least.
        downtime: Duration,
        /// The error of the last attempt.
        last: Box<BrokerError>,
    },
    /// The connection or channel was lost while it was in use.
    #[error("lost the broker: {0}")]
    Lost(String),
    /// The broker ended a subscription.
    #[error("the broker cancelled the consumer of {queue}; was the queue deleted, or its node stopped?")]
    Cancelled {
        /// The queue or stream that it consumed.
        queue: String,
    },
    /// The headers of a message, with those that the broker adds, do not fit in a frame: no client can read it.
    #[error("lost the broker: a message whose headers do not fit in a frame ({0})")]
    Unreadable(String),
    /// No queue is bound for a message.
    #[error("no queue takes messages of exchange {exchange:?} with routing key {routing_key:?}; was it deleted?")]
    Unroutable {
        /// The exchange that it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
    },
    /// The broker did not store a message.
    #[error(
        "the broker did not store a message of exchange {exchange:?} with routing key {routing_key:?}; its queue may be without a leader or full"
    )]
    Nacked {
        /// The exchange that it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
    },
    /// A message of this process has no JSON form: a defect of this program, which no new connection mends. There is no `From` for it, so
    /// that `?` does not make it of an error in reading a message of another program.
    #[error("cannot write a message as JSON: {0}; please report this defect")]
    NotJson(#[source] serde_json::Error),
}

/// What to do if the broker refuses a declaration for this reason.
fn advice(reason: &str) -> &'static str {
    if reason.contains("limit") {
        "raise the limit (`rabbitmqctl set_vhost_limits`), or delete queues that are no longer used"
    } else if reason.contains("ACCESS_REFUSED") {
        "let the user in AMQP_URL configure it (`rabbitmqctl set_permissions`)"
    } else {
        "delete it or choose another --prefix"
    }
}

impl BrokerError {
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            BrokerError::BadUrl { .. } => Exit::BadInput,
            BrokerError::OutOfResources(_) | BrokerError::NotJson(_) => Exit::Failure,
            _ => Exit::Broker,
        }
    }

    /// Whether a new connection may succeed.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self,
            BrokerError::BadUrl { .. }
                | BrokerError::Refused { .. }
                | BrokerError::Topology { .. }
                | BrokerError::Away { .. }
                | BrokerError::NotJson(_)
        )
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        let reason = reason(&error);
        let is_frame = matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Hard(AMQPHardError::FRAMEERROR));
        // lapin's message when it closes the connection over a frame.
        if is_frame && reason.starts_with("frame too large") {
            BrokerError::Unreadable(reason)
        } else {
            BrokerError::Lost(reason)
        }
    }
}

/// The broker's own message if it sent one: it names the queue and the argument. For an internal error it sends nothing more than the
/// code.
pub(super) fn reason(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR) => {
            "the broker failed (INTERNAL_ERROR); its log has the cause, and a queue that it cannot start comes back when it is restarted"
                .to_owned()
        }
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// The error of a declaration or binding: [`BrokerError::Topology`] if the broker refused it.
pub(crate) fn declare_error(kind: &'static str, name: &str, error: lapin::Error) -> BrokerError {
    let refused = matches!(error.kind(), ErrorKind::ProtocolError(error) if matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::ACCESSREFUSED)
    ));
    if refused { BrokerError::Topology { kind, name: name.to_owned(), reason: reason(&error) } } else { error.into() }
}
