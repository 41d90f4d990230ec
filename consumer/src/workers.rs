//! From a work item to its prediction: the local queue, the threads that score, and how fast they are.

pub(crate) mod local_queue;
pub(crate) mod pool;
pub(crate) mod worker;
pub(crate) mod slot;
pub(crate) mod context;
pub(crate) mod hold;
pub(crate) mod health;
pub(crate) mod features;
