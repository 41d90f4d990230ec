//! A pool of channels for the requests of a gateway: opening a channel, with all that must be declared on it, takes longer than most
//! requests. A channel has one user at a time, since lapin can mix up the confirms of tasks that share one.

use std::error::Error;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, Status, TimeoutType};
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, close, connect};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::aggregator_client::AggregatorClient;

/// How long to wait for a free channel, and for one to be opened. A client is then told to come back later.
const WAIT: Duration = Duration::from_secs(10);

/// A channel to publish on, in confirm mode, and another one to ask the aggregator on.
pub(crate) struct PooledChannel {
    pub(crate) link: BrokerConnection,
    pub(crate) channel: Channel,
    pub(crate) aggregator: AggregatorClient,
    /// Whether an operation uses it, or was dropped in the middle: something of it may still be on its way.
    in_use: bool,
    /// One of as many as the pool has, until both channels are closed.
    slot: Option<OwnedSemaphorePermit>,
}

/// The connection would keep them open.
impl Drop for PooledChannel {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (channel, aggregator, slot) = (self.channel.clone(), self.aggregator.close(), self.slot.take());
        runtime.spawn(async move {
            tokio::join!(close(&channel), aggregator);
            drop(slot);
        });
    }
}

/// Opens channels, on one connection, which it opens anew once it is lost.
pub(crate) struct ChannelManager {
    opener: Arc<Opener>,
    slots: Arc<Semaphore>,
}

struct Opener {
    broker: BrokerArgs,
    name: String,
    connection: Mutex<Option<BrokerConnection>>,
}

impl Opener {
    async fn open(&self, slot: OwnedSemaphorePermit) -> Result<PooledChannel, BrokerError> {
        let link = self.connection().await?;
        let aggregator = AggregatorClient::open(&link, &self.broker.topology()).await?;
        let channel = link.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(PooledChannel { link, channel, aggregator, in_use: false, slot: Some(slot) })
    }

    async fn connection(&self) -> Result<BrokerConnection, BrokerError> {
        let mut connection = self.connection.lock().await;
        match &*connection {
            Some(open) if open.is_connected() => Ok(open.clone()),
            _ => Ok(connection.insert(connect(&self.broker, &self.name).await?).clone()),
        }
    }
}

impl managed::Manager for ChannelManager {
    type Type = PooledChannel;
    type Error = BrokerError;

    /// In a task of its own: a client that hangs up cancels its request, and a channel that is half open then would stay so.
    async fn create(&self) -> Result<PooledChannel, BrokerError> {
        let crashed = |error: &dyn Error| BrokerError::Lost(format!("opening a channel crashed: {error}"));
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|error| crashed(&error))?;
        let opener = Arc::clone(&self.opener);
        tokio::spawn(async move { opener.open(slot).await }).await.map_err(|error| crashed(&error))?
    }

    async fn recycle(&self, pooled: &mut PooledChannel, _: &Metrics) -> RecycleResult<BrokerError> {
        if !pooled.in_use && pooled.channel.status().connected() && pooled.aggregator.is_connected() {
            return Ok(());
        }
        Err(RecycleError::message("its last user has not finished, or it is closed"))
    }
}

/// A pool of channels.
#[derive(Clone)]
pub(crate) struct ChannelPool {
    pool: Pool<ChannelManager>,
    broker: Arc<BrokerArgs>,
}

impl ChannelPool {
    /// A pool of at most `size` channels. Its connection has this `name` in the broker's list.
    ///
    /// # Errors
    /// None that a configuration could cause: of the pool's builder.
    pub(crate) fn new(broker: &BrokerArgs, name: &str, size: usize) -> Result<ChannelPool, BrokerError> {
        let opener = Arc::new(Opener { broker: broker.clone(), name: name.to_owned(), connection: Mutex::new(None) });
        let pool = Pool::builder(ChannelManager { opener, slots: Arc::new(Semaphore::new(size)) }).max_size(size);
        let pool = pool.wait_timeout(Some(WAIT)).create_timeout(Some(WAIT)).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|error| BrokerError::OutOfResources(error.to_string()))?;
        Ok(ChannelPool { pool, broker: Arc::new(broker.clone()) })
    }

    /// The broker's flags.
    pub(crate) fn broker(&self) -> &BrokerArgs {
        &self.broker
    }

    /// How many channels there are, are free, and are waited for.
    pub(crate) fn status(&self) -> Status {
        self.pool.status()
    }

    /// Waits for a free channel.
    ///
    /// # Errors
    /// [`BrokerError::Busy`] if none is free in time; otherwise as opening one.
    pub(crate) async fn lease(&self) -> Result<Lease, BrokerError> {
        match self.pool.get().await {
            Ok(mut object) => {
                object.in_use = true;
                Ok(Lease(object))
            }
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(BrokerError::Busy(format!(
                "no channel to the broker was free within {} s; try again later, or allow more at a time",
                WAIT.as_secs()
            ))),
            Err(PoolError::Timeout(TimeoutType::Create)) => Err(BrokerError::Lost(format!(
                "expected it to open a channel within {} s, found that it did not; it may be short of memory or disk",
                WAIT.as_secs()
            ))),
            Err(error) => Err(BrokerError::Lost(error.to_string())),
        }
    }
}

/// A channel that is lent to one operation.
pub(crate) struct Lease(Object<ChannelManager>);

impl Lease {
    /// Gives it back with nothing on its way, so that another operation may use it. One that is dropped instead is replaced.
    pub(crate) fn give_back(mut self) {
        self.0.in_use = false;
    }
}

impl Deref for Lease {
    type Target = PooledChannel;
    fn deref(&self) -> &PooledChannel {
        &self.0
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PooledChannel {
        &mut self.0
    }
}
