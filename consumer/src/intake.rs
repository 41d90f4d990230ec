//! From the broker to a decision: subscriptions, what becomes of a work item as it arrives, and the control messages that it depends on.

pub(crate) mod subscriptions;
pub(crate) mod subscription_group;
pub(crate) mod work_item;
pub(crate) mod triage;
pub(crate) mod job_directives;
pub(crate) mod control_log;
pub(crate) mod interruptions;
