//! A reader of a stream that is interrupted again and again, as one in a `select!` is, reads every record.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use rollcall_shared::broker::{BrokerArgs, StreamOffset, StreamReader, connect};
use rollcall_tests::Fleet;
use tokio::runtime::Runtime;

const RECORDS: u64 = 3_000;

async fn publish_records(channel: &Channel, stream: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(stream.into(), durable, arguments).await.unwrap();
    for _ in 0..RECORDS {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), stream.into(), options, b"record", properties).await.unwrap();
    }
}

#[test]
fn a_reader_that_is_interrupted_while_it_asks_for_more_reads_every_record() {
    let fleet = Fleet::fresh();
    let stream = fleet.name("test.stream");
    fleet.on_a_channel(async |channel| publish_records(channel, &stream).await);
    let broker = BrokerArgs {
        amqp_url: Some(fleet.url().to_owned()),
        prefix: "test".to_owned(),
        max_downtime: None,
        wait_for_broker: None,
    };
    let read = Runtime::new().unwrap().block_on(async {
        let link = connect(&broker, "test").await.unwrap();
        let mut reader = StreamReader::open_at(&link, stream.clone(), StreamOffset::At(0)).await.unwrap();
        let (began, mut read, mut interruptions) = (Instant::now(), 0, 0_u64);
        while read < RECORDS && began.elapsed() < Duration::from_secs(60) {
            let next = async {
                reader.ask_for_more().await?;
                reader.next().await
            };
            // Soon, and each time a little later, so that each step is interrupted once.
            let soon = Duration::from_micros(50 * (interruptions % 100));
            tokio::select! {
                record = next => {
                    record.unwrap();
                    read += 1;
                }
                () = tokio::time::sleep(soon) => interruptions += 1,
            }
        }
        read
    });
    assert_eq!(read, RECORDS);
}
