//! From a prediction to the acknowledgement of its work: what follows from scoring, publishing, and what the broker has confirmed.

pub(crate) mod disposition;
pub(crate) mod publish;
pub(crate) mod destination;
pub(crate) mod declarations;
pub(crate) mod deferred;
pub(crate) mod ticket;
pub(crate) mod unconfirmed;
pub(crate) mod acks;
