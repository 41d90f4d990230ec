//! A reader of a stream that is interrupted again and again, as one in a `select!` is, reads every record.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
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
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for _ in 0..RECORDS {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), stream.into(), options, b"record", properties).await.unwrap();
    }
    // What is not stored by the time that the connection is closed may never be.
    channel.wait_for_confirms().await.unwrap();
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
    let (read, interruptions) = Runtime::new().unwrap().block_on(async {
        let link = connect(&broker, "test").await.unwrap();
        let mut reader = StreamReader::open_at(&link, stream.clone(), StreamOffset::At(0)).await.unwrap();
        let (began, mut read, mut interruptions, mut in_vain) = (Instant::now(), 0, 0_u64, 0);
        while read < RECORDS && began.elapsed() < Duration::from_secs(60) {
            let next = async {
                reader.ask_for_more().await?;
                reader.next().await
            };
            // Each time a little later, so that each step is interrupted once, however slow the broker is.
            let soon = Duration::from_micros(50 * in_vain);
            tokio::select! {
                record = next => {
                    record.unwrap();
                    (read, in_vain) = (read + 1, 0);
                }
                () = tokio::time::sleep(soon) => (interruptions, in_vain) = (interruptions + 1, in_vain + 1),
            }
        }
        (read, interruptions)
    });
    assert_eq!(read, RECORDS);
    assert!(interruptions > 100, "{interruptions}");
}
