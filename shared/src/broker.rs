//! The connection to RabbitMQ: opening it, publishing with confirms, subscribing, and reconnecting after it is lost.
//!
//! lapin's own recovery is not used: after some faults its consumers receive nothing more, and no error says that it has given up.
//! Every user drops the connection on any error and starts again from [`supervise()`].

mod connect;
mod consumer_query;
mod dial;
pub(crate) mod error;
mod frame_max;
mod leader_query;
mod publish;
mod stream;
mod subscribe;
mod supervise;
mod url;

pub use connect::{BrokerArgs, BrokerConnection, close, connect};
pub use consumer_query::query_consumers;
pub use error::BrokerError;
pub use leader_query::{LeaderClient, QueryError};
pub use publish::{COALESCE, Publisher, publish_unconfirmed};
pub use stream::StreamReader;
pub use subscribe::{DIRECT_REPLY_TO, StreamOffset, Subscription};
pub use supervise::{Backoff, supervise, wait_for_broker};
