//! A subscriber, as any service may be one, that records when messages arrive; and a publisher of single companies.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use rollcall_shared::message::{
    Event, Index, JobEvent, Message, Opened, Priority, RESULT_TYPE, ResultHeaders, Settings, Timestamp, Work,
};
use rollcall_shared::topology::Topology;
use rollcall_tests::Fleet;
use tokio::runtime::{Builder, Runtime};

use crate::job::MODEL;

/// Longer than any of these waits takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// A received message.
#[derive(Debug)]
enum Received {
    Result { job: String, index: usize },
    Done { job: String },
}

/// The messages of one job, with the times of their arrival.
pub struct Followed {
    /// The index and the time of each, in the order of arrival.
    pub results: Vec<(usize, Instant)>,
    pub done: Option<Instant>,
}

/// A subscriber with a queue of its own, bound to the model's results and to every done event.
pub struct Subscriber {
    runtime: Runtime,
    topology: Topology,
    publishing: Channel,
    received: Receiver<(Received, Instant)>,
    _connections: [Connection; 2],
}

impl Subscriber {
    pub fn of(fleet: &Fleet) -> Subscriber {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let prefix = fleet.name("");
        let topology = Topology::new(prefix.trim_end_matches('.'));
        let (sender, received) = channel();
        let connections = runtime.block_on(async {
            let connect = || Connection::connect(fleet.url(), ConnectionProperties::default());
            let (subscribing, publishing) = (connect().await.unwrap(), connect().await.unwrap());
            subscribe(subscribing.create_channel().await.unwrap(), &topology, sender).await;
            [subscribing, publishing]
        });
        let publishing = runtime.block_on(connections[1].create_channel()).unwrap();
        Subscriber { runtime, topology, publishing, received, _connections: connections }
    }

    /// Waits until this many results of `job`, and its done event if `to_the_end`, have arrived.
    pub fn follow(&self, job: &str, results: usize, to_the_end: bool) -> Followed {
        let mut followed = Followed { results: Vec::with_capacity(results), done: None };
        // Either may come first: the last result and the done event come from two exchanges.
        while followed.results.len() < results || (to_the_end && followed.done.is_none()) {
            match self.received.recv_timeout(DEADLINE).unwrap() {
                (Received::Result { job: of, index }, at) if of == job => followed.results.push((index, at)),
                (Received::Done { job: of }, at) if of == job => followed.done = Some(at),
                (other, _) => panic!("expected a message of job {job}, received {other:?}"),
            }
        }
        followed
    }

    /// Opens a job, as its producer would.
    pub fn open_job(&self, job: &str) {
        let opened = Opened {
            job: job.parse().unwrap(),
            opening: None,
            model: MODEL.parse().unwrap(),
            source: "bench".to_owned(),
            opened_at: Some(Timestamp::now()),
            settings: Settings::default(),
        };
        self.publish(&Event::now(JobEvent::Opened(opened)).message(self.topology.events()).unwrap());
    }

    /// Publishes one company of an open job.
    pub fn publish_company(&self, job: &str, index: u32) {
        let work = Work {
            job: job.parse().unwrap(),
            index: Index(index),
            company_id: index.to_string(),
            attempt: 1,
            round: 0,
            opening: None,
            priority: Priority::Normal,
            deliveries: 0,
            deliveries_alone: 0,
            retry: None,
            traceparent: String::new(),
            record: record(index),
        };
        let model = MODEL.parse().unwrap();
        let routing_key = Topology::work_key(&model, work.priority);
        let message = Message { exchange: self.topology.work(), routing_key, properties: work.properties(), body: work.record };
        self.publish(&message);
    }

    fn publish(&self, message: &Message) {
        let (exchange, key) = (message.exchange.as_str().into(), message.routing_key.as_str().into());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let publish = self.publishing.basic_publish(exchange, key, options, &message.body, message.properties.clone());
        // Unconfirmed: a lost message would show as a missing result.
        drop(self.runtime.block_on(publish).unwrap());
    }
}

/// A JSON object, about as long as the demo's records are.
fn record(index: u32) -> Vec<u8> {
    format!("{:<500}", format!("{{\"company_id\":\"{index}\"}}")).into_bytes()
}

async fn subscribe(channel: Channel, topology: &Topology, sender: Sender<(Received, Instant)>) {
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), own, FieldTable::default()).await.unwrap().name().clone();
    for (exchange, key) in [(topology.results(), format!("{MODEL}.#")), (topology.events(), "job.*.done".to_owned())] {
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.clone(), exchange.into(), key.into(), options, none).await.unwrap();
    }
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut deliveries = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap();
    tokio::spawn(async move {
        let _lives_as_long = channel;
        while let Some(Ok(delivery)) = deliveries.next().await {
            let at = Instant::now();
            if sender.send((read(&delivery), at)).is_err() {
                return;
            }
        }
    });
}

fn read(delivery: &Delivery) -> Received {
    if delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == RESULT_TYPE) {
        let ResultHeaders { job, index, .. } = ResultHeaders::read(&delivery.properties).unwrap();
        return Received::Result { job: job.to_string(), index: usize::try_from(index.0).unwrap() };
    }
    match Event::read(&delivery.data).unwrap().event {
        JobEvent::Done(done) => Received::Done { job: done.job.to_string() },
        other => panic!("expected a done event, found {other:?}"),
    }
}
