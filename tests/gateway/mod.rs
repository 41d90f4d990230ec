//! The gateway: what starts jobs, the API, what follows from their end, and who may do what.

mod notifications;

mod api;
mod bucket_uploads;
mod description;
mod inbox;
mod safety;
mod schedule;
mod webhooks;
