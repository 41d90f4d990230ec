//! The consumers of models.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rollcall_shared::broker::connect;
use rollcall_shared::message::{JobStatus, Model};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::aggregator_client::AggregatorClient;
use crate::error::ProducerError;
use crate::fleet::FleetStatus;
use crate::serve::gateway::Gateway;
use crate::status::fleets_of;

/// An answer is good for so long: whoever looks sees no difference, and many who look ask the consumers no more often.
const FRESH: Duration = Duration::from_secs(2);

/// The page is shown without the consumers if they do not answer in this time.
const WITHIN: Duration = Duration::from_secs(4);

/// The consumers of a model, or why nothing is known of them.
pub(crate) type Fleet = Result<FleetStatus, FleetUnknown>;

/// Why nothing is known of the consumers of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FleetUnknown(pub(crate) String);

/// The consumers of models, as they were found last.
#[derive(Default)]
pub(crate) struct Fleets(Mutex<BTreeMap<Model, (Instant, Fleet)>>);

impl Fleets {
    /// The consumers of each model with a job among `jobs` that has not ended.
    pub(crate) async fn of(&self, jobs: &[JobStatus], gateway: &Gateway) -> BTreeMap<Model, Fleet> {
        let mut known = self.0.lock().await;
        known.retain(|_, (found, _)| found.elapsed() < FRESH);
        let unknown = |job: &&JobStatus| job.model.as_ref().is_some_and(|model| !known.contains_key(model));
        let asked: Vec<JobStatus> = jobs.iter().filter(|job| !job.state.is_final()).filter(unknown).cloned().collect();
        if !asked.is_empty() {
            let found = match timeout(WITHIN, find(&asked, gateway)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => of_all(&asked, &error.to_string()),
                Err(_) => of_all(&asked, &format!("no answer within {} s", WITHIN.as_secs())),
            };
            known.extend(found.into_iter().map(|(model, fleet)| (model, (Instant::now(), fleet))));
        }
        known.iter().map(|(model, (_, fleet))| (model.clone(), fleet.clone())).collect()
    }
}

/// Declares and counts queues, so that a broker that refuses closes the connection: it has one of its own.
async fn find(jobs: &[JobStatus], gateway: &Gateway) -> Result<BTreeMap<Model, Fleet>, ProducerError> {
    let (link, topology) = (connect(&gateway.broker, "rollcall gateway: consumers").await?, gateway.broker.topology());
    let mut aggregator = AggregatorClient::open(&link, &topology).await?;
    let fleets = fleets_of(jobs, &mut aggregator, &link, &topology).await;
    link.close().await;
    Ok(fleets.into_iter().map(|(model, fleet)| (model, fleet.map_err(|error| FleetUnknown(error.to_string())))).collect())
}

fn of_all(jobs: &[JobStatus], error: &str) -> BTreeMap<Model, Fleet> {
    jobs.iter().filter_map(|job| job.model.clone()).map(|model| (model, Err(FleetUnknown(error.to_owned())))).collect()
}
