//! The bare loop: as many messages of the same sizes, through the same queues, by a program that does nothing else. Rollcall
//! is compared with it. It is not the minimum that broker and lapin allow, but one program with the fastest settings of those
//! tried.
//!
//! It publishes a work message for each company (persistent, mandatory, confirmed) to the quorum queue, takes it, publishes a
//! result of the same size (persistent, mandatory, confirmed) through the topic exchange into the stream, acks the work when
//! that is confirmed, and reads the stream to its end, all concurrently. Rollcall's own code declares queues, exchanges and
//! bindings, and work messages have Rollcall's properties, headers and bodies.
//!
//! What it leaves out: it reads its file before the clock starts, parses no body, uses one body for all results, scores
//! nothing, only counts messages, retries nothing, and handles no control messages. All of it is one process: this program,
//! started with the argument `bare-loop`.

mod roles;

use std::io::{Write, pipe};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use rollcall_producer::companies::{Companies, Company, ReadOptions};
use rollcall_shared::message::RESULT_TYPE;
use rollcall_shared::topology::Topology;
use rollcall_tests::Fleet;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::Barrier;

use crate::job::{DEADLINE, JOB, MODEL, delete_vhost};
use crate::usage::{Cpu, wait_until_broker_is_idle, watch_broker};
use roles::{CONNECTED, Loop};

/// The argument that runs this program as the bare loop.
pub const ARGUMENT: &str = "bare-loop";

/// One thread for enqueuing and answering, besides the main thread, which counts, and lapin's own thread for each connection.
/// Tried on two cores: all on one thread took a third longer; two threads, or a runtime for each role, took no less time and
/// more CPU.
const WORKER_THREADS: usize = 1;

/// The measurements of a bare loop.
pub struct BareLoop {
    pub companies: u32,
    /// From the first message published to the last result read; all roles are connected before that.
    pub seconds: f64,
    /// Of its process, in that time.
    pub cpu: Cpu,
    /// From the moment when all are connected, as for Rollcall; `None` if the broker was not started for this run.
    pub broker: Option<Cpu>,
}

impl BareLoop {
    /// Runs the companies of `file` through fresh queues, with results of `result_bytes` each.
    pub fn run(file: &Path, result_bytes: usize) -> BareLoop {
        let fleet = Fleet::alone();
        let mut command = fleet.command(std::env::current_exe().unwrap());
        command.arg(ARGUMENT).arg(file).arg(result_bytes.to_string());
        let (input, mut control) = pipe().unwrap();
        command.stdin(input);
        let mut process = fleet.start(ARGUMENT, command);
        process.wait_until_it_says(CONNECTED);
        wait_until_broker_is_idle();
        let broker = watch_broker();
        writeln!(control, "begin").unwrap();
        let said = process.wait(DEADLINE).expect(0).json();
        let broker = broker.map(|broker| broker.used().cpu);
        delete_vhost(&fleet);
        let figure = |key: &str| said[key].as_f64().unwrap();
        let cpu = Cpu { user_seconds: figure("cpu_user_seconds"), system_seconds: figure("cpu_system_seconds") };
        let companies = u32::try_from(said["companies"].as_u64().unwrap()).unwrap();
        BareLoop { companies, seconds: figure("seconds"), cpu, broker }
    }

    pub fn companies_per_second(&self) -> f64 {
        f64::from(self.companies) / self.seconds
    }

    pub fn json(&self) -> Value {
        let cpu = |cpu: Cpu| json!({ "cpu_user_seconds": cpu.user_seconds, "cpu_system_seconds": cpu.system_seconds });
        json!({
            "companies": self.companies,
            "seconds": self.seconds,
            "companies_per_second": self.companies_per_second(),
            "bare_loop": cpu(self.cpu),
            "broker": self.broker.map(cpu),
        })
    }
}

/// Runs the bare loop; its arguments are a file of companies and the bytes of a result.
pub fn main(arguments: &[String]) {
    let [file, result_bytes] = arguments else { panic!("expected a file and a number of bytes, found {arguments:?}") };
    let companies: Vec<Company> =
        Companies::open(Path::new(file), &ReadOptions::default()).unwrap().map(Result::unwrap).collect();
    let count = companies.len();
    let of = Loop {
        url: std::env::var("AMQP_URL").unwrap(),
        topology: Topology::new(&std::env::var("ROLLCALL_PREFIX").unwrap()),
        job: JOB.parse().unwrap(),
        model: MODEL.parse().unwrap(),
        companies: count,
        result_bytes: result_bytes.parse().unwrap(),
        ready: Arc::new(Barrier::new(3)),
    };
    let runtime = Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build().unwrap();
    let (began, ended, cpu) = runtime.block_on(async {
        of.declare().await;
        let answering = tokio::spawn(of.clone().answer());
        let enqueuing = tokio::spawn(of.clone().enqueue(companies));
        let ended = of.count().await;
        answering.await.unwrap();
        let (began, before) = enqueuing.await.unwrap();
        (began, ended, Cpu::of(std::process::id()) - before)
    });
    println!(
        "{}",
        json!({
            "companies": count,
            "seconds": (ended - began).as_secs_f64(),
            "cpu_user_seconds": cpu.user_seconds,
            "cpu_system_seconds": cpu.system_seconds,
        })
    );
}

/// The mean size of the first `of` results in a fleet's ledger.
pub fn result_bytes(fleet: &Fleet, of: u32) -> usize {
    const AT_MOST: u32 = 20_000;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(read_sizes(fleet.url(), &fleet.name("ledger"), of.min(AT_MOST)))
}

async fn read_sizes(url: &str, ledger: &str, of: u32) -> usize {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(500, BasicQosOptions::default()).await.unwrap();
    let mut from_first = FieldTable::default();
    from_first.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let mut records = channel.basic_consume(ledger.into(), "".into(), BasicConsumeOptions::default(), from_first).await.unwrap();
    let (mut results, mut bytes) = (0, 0);
    while results < of {
        let record = records.next().await.unwrap().unwrap();
        if record.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == RESULT_TYPE) {
            results += 1;
            bytes += record.data.len();
        }
        record.ack(BasicAckOptions::default()).await.unwrap();
    }
    connection.close(200, "".into()).await.unwrap();
    bytes / usize::try_from(results).unwrap()
}
