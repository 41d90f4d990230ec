//! The connection to RabbitMQ: opening it, publishing with confirms, and building everything anew when it is lost.
//!
//! lapin's own recovery is not used: after some faults its consumers fall silent, and nothing tells when it has given up.
//! Every user here drops the connection on any error and starts again from [`supervise()`].

mod connect;
mod dial;
mod frame_max;
mod publish;
mod roll_call;
mod stream;
mod supervise;
mod url;

pub use connect::{BrokerArgs, Link, close, connect};
pub use publish::{COALESCE, Publisher, publish_unconfirmed};
pub use roll_call::roll_call;
pub use stream::StreamReader;
pub use supervise::{Backoff, supervise};

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::lifecycle::Exit;

/// What to do where the broker refuses a declaration, by the reason that it gives.
fn what_to_do(reason: &str) -> &'static str {
    if reason.contains("limit") {
        "raise the limit (`rabbitmqctl set_vhost_limits`), or delete queues that are no longer used"
    } else if reason.contains("ACCESS_REFUSED") {
        "let the user in AMQP_URL configure it (`rabbitmqctl set_permissions`)"
    } else {
        "delete it or choose another --prefix"
    }
}

/// What can go wrong between a process and the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The URL is not one.
    #[error("expected an AMQP URL such as amqp://user:password@host:5672/%2f, found {found}; mend AMQP_URL or --amqp-url")]
    BadUrl {
        /// What is amiss, without the URL: it may hold a password.
        found: String,
    },
    /// Nothing answers there.
    #[error("cannot reach the broker at {url}: {reason}; check that RabbitMQ runs there and that AMQP_URL names it")]
    Unreachable {
        /// The URL without its password.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// This machine or process has too little of something to connect at all.
    #[error("cannot open a connection to the broker: {0}")]
    OutOfResources(String),
    /// The broker answered, and refused.
    #[error("the broker at {url} refuses the connection: {reason}; check the user, the password and the vhost in AMQP_URL")]
    Refused {
        /// The URL without its password.
        url: String,
        /// What the broker said.
        reason: String,
    },
    /// A queue or exchange exists with other arguments, or may not be declared.
    #[error(
        "cannot declare {kind} {name:?}: {reason}; {}", what_to_do(.reason)
    )]
    Topology {
        /// Exchange, queue or binding.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the broker said, which names the argument.
        reason: String,
    },
    /// It was lost, and has not come back for as long as was to be waited.
    #[error("gave up after {} without the broker (--max-downtime): {last}", humantime::format_duration(*.downtime))]
    Away {
        /// How long was waited at least.
        downtime: Duration,
        /// What the last attempt said.
        last: Box<BrokerError>,
    },
    /// The connection or channel was lost while it was in use.
    #[error("lost the broker: {0}")]
    Lost(String),
    /// A message has headers that do not fit in a frame, once the broker has added its own: nobody can read it.
    #[error("lost the broker: a message whose headers do not fit in a frame ({0})")]
    Unreadable(String),
    /// The broker took a message that no queue wanted.
    #[error("no queue takes messages of exchange {exchange:?} with routing key {routing_key:?}; was it deleted?")]
    Unroutable {
        /// Where it was published.
        exchange: String,
        /// Under which key.
        routing_key: String,
    },
    /// The broker would not store a message.
    #[error(
        "the broker did not store a message of exchange {exchange:?} with routing key {routing_key:?}; its queue may be without a leader or full"
    )]
    Nacked {
        /// Where it was published.
        exchange: String,
        /// Under which key.
        routing_key: String,
    },
}

impl BrokerError {
    /// The exit code of a process that ends with it.
    pub fn exit(&self) -> Exit {
        match self {
            BrokerError::BadUrl { .. } => Exit::BadInput,
            BrokerError::OutOfResources(_) => Exit::Failure,
            _ => Exit::Broker,
        }
    }

    /// Whether a new connection may mend it.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self,
            BrokerError::BadUrl { .. } | BrokerError::Refused { .. } | BrokerError::Topology { .. } | BrokerError::Away { .. }
        )
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        let reason = reason(&error);
        let is_frame = matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Hard(AMQPHardError::FRAMEERROR));
        // lapin's own words, where it closes the connection.
        if is_frame && reason.starts_with("frame too large") {
            BrokerError::Unreadable(reason)
        } else {
            BrokerError::Lost(reason)
        }
    }
}

/// The broker's own words where it sent some: they name the queue and the argument. Of its own failures it says nothing but that.
fn reason(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR) => {
            "its own failure (INTERNAL_ERROR); its log says which, and a queue that it cannot bring up comes back when it is restarted"
                .to_owned()
        }
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

pub(crate) fn declare_error(kind: &'static str, name: &str, error: lapin::Error) -> BrokerError {
    let refused = matches!(error.kind(), ErrorKind::ProtocolError(error) if matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::ACCESSREFUSED)
    ));
    if refused { BrokerError::Topology { kind, name: name.to_owned(), reason: reason(&error) } } else { error.into() }
}
