//! A fleet in its own vhost: producers, consumers and aggregators, started as users start them.

use std::ffi::OsStr;
use std::fs;
use std::io::{PipeWriter, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::{self, Broker};
use crate::environment::{project, test_broker};
use crate::ledger::{Bodies, JobRecord, read_ledger};
use crate::prerequisites::require_all;
use crate::process::{Ended, Process};
use crate::programs::programs;
use crate::relay::Relay;
use crate::report::skip;
use crate::vhost::Vhost;
use crate::wait::{eventually, soon};

/// The time limit for a producer command.
const PRODUCER_DEADLINE: Duration = Duration::from_secs(120);

/// A scorer that treats a company as its column `do` says; see `fixtures/scorer.py`.
pub const SCORER: &str = "command:/usr/bin/python3 tests/fixtures/scorer.py";

/// Jobs of a test have normal priority unless it sets another: with the default, `auto`, small jobs use the express queue.
fn normal_priority(arguments: &[&str]) -> &'static [&'static str] {
    if arguments.contains(&"--priority") { &[] } else { &["--priority", "normal"] }
}

/// A network that predicts this many answers from the number of employees in [`Fleet::companies`].
fn network_of(questions: u32) -> String {
    let question = |number| {
        format!(
            "variable Q_{number} {{ type discrete [ 2 ] {{ yes, no }}; }}\n\
             probability ( Q_{number} | employees ) {{ (micro) 0.2, 0.8; (small) 0.3, 0.7; (medium) 0.5, 0.5; (large) 0.7, 0.3; (enterprise) 0.9, 0.1; }}\n"
        )
    };
    let employees = "network questions { }\n\
        variable employees { type discrete [ 5 ] { micro, small, medium, large, enterprise }; }\n\
        probability ( employees ) { table 0.5, 0.2, 0.15, 0.1, 0.05; }\n";
    employees.to_owned() + &(1..=questions).map(question).collect::<String>()
}

/// A fleet. Its processes are killed when they are dropped.
#[derive(Debug, Clone)]
pub struct Fleet {
    vhost: Vhost,
    folder: Arc<TempDir>,
    started: Arc<AtomicUsize>,
}

impl Fleet {
    /// A fleet without processes.
    pub fn fresh() -> Fleet {
        require_all();
        Fleet::of(Vhost::fresh())
    }

    /// A fleet without processes, on a broker without other prepared vhosts.
    pub fn alone() -> Fleet {
        Fleet::of(Vhost::alone())
    }

    /// A fleet without processes that has a broker to itself.
    pub fn on(broker: &Broker) -> Fleet {
        Fleet::of(Vhost { url: broker.url().to_owned(), prefix: "rollcall".to_owned() })
    }

    fn of(vhost: Vhost) -> Fleet {
        Fleet { vhost, folder: Arc::new(TempDir::new().unwrap()), started: Arc::default() }
    }

    /// The same fleet at another URL.
    pub fn at(mut self, url: &str) -> Fleet {
        url.clone_into(&mut self.vhost.url);
        self
    }

    /// The same fleet through a relay: processes started from the returned fleet connect through it.
    pub fn behind(&self, relay: &Relay) -> Fleet {
        self.clone().at(&relay.url(self.url()))
    }

    /// The same fleet with this AMQP heartbeat. A silent connection is closed after about twice as long.
    pub fn with_heartbeat(&self, seconds: u32) -> Fleet {
        self.clone().at(&format!("{}?heartbeat={seconds}", self.url()))
    }

    /// The URL of its vhost.
    pub fn url(&self) -> &str {
        &self.vhost.url
    }

    /// A name on the broker: `name("ledger")` is `rollcall.ledger`.
    pub fn name(&self, role: &str) -> String {
        format!("{}.{role}", self.vhost.prefix)
    }

    /// A path in the fleet's temporary folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the fleet's temporary folder.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    /// The standard error of all processes called `name` so far.
    pub fn stderr_of_all(&self, name: &str) -> String {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let theirs = files.filter(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            file.starts_with(&format!("{name}-")) && file.ends_with(".err")
        });
        theirs.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
    }

    /// Moves its folder out of the temporary one, so that a person can inspect it; returns the new path.
    pub fn keep(&self, name: &str) -> PathBuf {
        let kept = std::env::temp_dir().join(name);
        fs::rename(self.folder.path(), &kept).unwrap();
        kept
    }

    /// A command with the fleet's broker in its environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("AMQP_URL", &self.vhost.url).env("ROLLCALL_PREFIX", &self.vhost.prefix).stdin(Stdio::null());
        command
    }

    /// The executable of `aggregator`, `consumer` or `producer`.
    pub fn program_path(&self, name: &str) -> PathBuf {
        programs().join(name)
    }

    /// A program with default handling of SIGINT and SIGHUP: a script that runs the tests in the background makes its
    /// children ignore the one, `nohup` the other.
    fn own_command(&self, name: &str) -> Command {
        let mut command = self.command("env");
        command.arg("--default-signal=INT,HUP").arg(self.program_path(name));
        command
    }

    /// Starts a command.
    pub fn start(&self, name: &str, command: Command) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Process::start(&format!("{name}-{number}"), command, self.folder.path())
    }

    /// Starts an aggregator.
    pub fn aggregator(&self, arguments: &[&str]) -> Process {
        let mut command = self.own_command("aggregator");
        command.args(arguments);
        self.start("aggregator", command)
    }

    /// Starts a consumer of `model` and waits until it takes work.
    pub fn consumer(&self, model: &str, scorer: &str, arguments: &[&str]) -> Process {
        let mut command = self.own_command("consumer");
        command.args(["--model", model, "--scorer", scorer]).args(arguments).current_dir(project());
        let consumer = self.start("consumer", command);
        consumer.wait_until_event("taking_work");
        consumer
    }

    /// Starts `aggregator`, `consumer` or `producer` in the project's folder.
    pub fn program<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A]) -> Process {
        self.start(name, self.program_command(name, arguments))
    }

    /// A program with `arguments`, in the project's folder, not yet started.
    pub fn program_command<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A]) -> Command {
        let mut command = self.own_command(name);
        command.args(arguments).current_dir(project());
        command
    }

    /// Starts a consumer of a network of 24 questions, as the model `questionnaire`. Its results have a tenth of the size of the demo's: long
    /// jobs leave most of the cores to other tests.
    pub fn quick_consumer(&self) -> Process {
        let scorer = format!("bayes:{}", self.file("questions.bif", network_of(24)).display());
        self.consumer("questionnaire", &scorer, &["--particles", "50", "--threads", "1"])
    }

    /// Starts a consumer of the demo's model, `questionnaire`. Few particles suffice, since these tests do not check
    /// precision.
    pub fn demo_consumer(&self) -> Process {
        self.consumer("questionnaire", "bayes:deploy/demo/questionnaire.bif", &["--particles", "50", "--threads", "1"])
    }

    /// The producer with `arguments`, in the fleet's folder, not yet started.
    pub fn producer_command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = self.own_command("producer");
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Starts the producer.
    pub fn start_producer<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Process {
        self.start("producer", self.producer_command(arguments))
    }

    /// Runs the producer to its end.
    pub fn producer<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ended {
        self.start_producer(arguments).wait(PRODUCER_DEADLINE)
    }

    /// Enqueues `file` for `model` as `job`.
    pub fn enqueue(&self, file: &Path, model: &str, job: &str, more: &[&str]) -> Ended {
        self.start_enqueue(file, model, job, more).wait(PRODUCER_DEADLINE)
    }

    /// Starts to enqueue `file` for `model` as `job`.
    pub fn start_enqueue(&self, file: &Path, model: &str, job: &str, more: &[&str]) -> Process {
        let arguments = ["enqueue", file.to_str().unwrap(), "--model", model, "--job", job];
        self.start_producer(&[&arguments, more, normal_priority(more)].concat())
    }

    /// Starts a producer that has read `companies` of `job` for model `m`, and waits for more on its standard input.
    pub fn unfinished_enqueue(&self, job: &str, companies: u32, more: &[&str]) -> (Process, PipeWriter) {
        let (input, mut rest) = pipe().unwrap();
        let mut producer =
            self.producer_command(&[&["enqueue", "-", "-m", "m", "--job", job], more, normal_priority(more)].concat());
        producer.stdin(input);
        let producer = self.start("producer", producer);
        let rows: String = (0..companies).map(|row| format!("{row}\n")).collect();
        rest.write_all(format!("company_id\n{rows}").as_bytes()).unwrap();
        eventually(&format!("job {job} is opened"), || (self.status(job)["state"] == "unsealed").then_some(()));
        (producer, rest)
    }

    /// Sets the policy for the ledger. The segment size must be set before the ledger is declared. Returns false, and reports
    /// the test as skipped, if the tests do not administer the broker.
    pub fn set_ledger_policy(&self, definition: &str) -> bool {
        self.rabbitmqctl("set_policy", &["--apply-to", "queues", "ledger", "ledger$", definition]).is_some()
    }

    /// Runs `rabbitmqctl COMMAND` for the fleet's vhost and returns its output. Returns `None`, and reports the test as
    /// skipped, if the tests do not administer the broker.
    pub fn rabbitmqctl(&self, command: &str, arguments: &[&str]) -> Option<String> {
        let Some(broker) = test_broker() else {
            skip("the broker that AMQP_URL names is not the tests' own to administer; `make test` without AMQP_URL starts one");
            return None;
        };
        let vhost: &[&str] = match command {
            "eval" => &[],
            _ if command.ends_with("_vhost") => &[self.vhost_name()],
            _ => &["-p", self.vhost_name()],
        };
        let output = broker::script(&[&["ctl", &broker, "-q", command], vhost, arguments].concat());
        assert!(output.status.success(), "rabbitmqctl {command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Suspends the Erlang process of a queue, so that it confirms nothing. Returns false, and reports the test as skipped,
    /// if the tests do not administer the broker.
    pub fn freeze_queue(&self, queue: &str) -> bool {
        let (vhost, queue) = (self.vhost_name(), self.name(queue));
        let process = format!("rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>))");
        self.rabbitmqctl("eval", &[&format!("{{ok, Q}} = {process}, sys:suspend(amqqueue:get_pid(Q)).")]).is_some()
    }

    fn vhost_name(&self) -> &str {
        let (_, vhost) = self.url().rsplit_once('/').unwrap();
        vhost.split('?').next().unwrap_or(vhost)
    }

    /// Declares a durable topic exchange.
    pub fn declare_exchange(&self, name: &str) {
        crate::queue::declare_exchange(self.url(), name);
    }

    /// Runs `act` with a channel of a new connection.
    pub fn on_a_channel<T>(&self, act: impl AsyncFnOnce(&lapin::Channel) -> T) -> T {
        crate::queue::on_a_channel(self.url(), act)
    }

    /// Forbids or allows new queues in the fleet's vhost. Returns false, and reports the test as skipped, if the tests do not
    /// administer the broker.
    pub fn refuse_queues(&self, refuse: bool) -> bool {
        let limits = if refuse { r#"{"max-queues":1}"# } else { "{}" };
        self.rabbitmqctl("set_vhost_limits", &[limits]).is_some()
    }

    /// Publishes a message to an exchange of the fleet with Python's `pika`, as another service would.
    pub fn publish_from_python(&self, exchange: &str, routing_key: &str, kind: &str, headers: &serde_json::Value, body: &str) {
        let mut publish = self.command("/usr/bin/python3");
        publish.arg(project().join("tests/fixtures/publish.py")).args([&self.name(exchange), routing_key, kind]);
        publish.args([&headers.to_string(), body]);
        self.start("publish", publish).wait(PRODUCER_DEADLINE).expect(0);
    }

    /// The number of ready messages in a queue; `None` if there is no such queue.
    pub fn waiting_in(&self, queue: &str) -> Option<u32> {
        crate::queue::waiting_in(self.url(), queue)
    }

    /// Binds a queue to all messages of an exchange. It holds `most` messages, refuses more, and is never read.
    pub fn bind_bounded(&self, queue: &str, exchange: &str, most: u32) {
        assert!(self.try_bind_bounded(queue, exchange, most), "the broker refuses {queue}");
    }

    /// The same; `false` if the broker is down.
    pub fn try_bind_bounded(&self, queue: &str, exchange: &str, most: u32) -> bool {
        crate::queue::bind_bounded(self.url(), &self.name(queue), &self.name(exchange), most).is_ok()
    }

    /// Deletes a queue; `false` if the broker is down.
    pub fn delete(&self, queue: &str) -> bool {
        crate::queue::delete(self.url(), &self.name(queue))
    }

    /// Removes all messages from a queue.
    pub fn purge(&self, queue: &str) {
        crate::queue::purge(self.url(), queue);
    }

    /// A file of synthetic companies.
    pub fn companies(&self, companies: u32) -> PathBuf {
        let path = self.path(&format!("companies-{companies}.csv"));
        let to = path.to_str().unwrap();
        self.producer(&["generate", "--companies", &companies.to_string(), "--to", to]).expect(0);
        path
    }

    /// The records of `job` in the ledger.
    pub fn ledger(&self, job: &str) -> JobRecord {
        read_ledger(self.url(), &self.name("ledger"), Bodies::Kept).remove(job).unwrap_or_default()
    }

    /// The number of companies of `job` with an outcome in the ledger.
    pub fn answered(&self, job: &str) -> usize {
        read_ledger(self.url(), &self.name("ledger"), Bodies::Ignored).get(job).map_or(0, |record| record.outcomes.len())
    }

    /// The records of `job` in the ledger, once it has a done event, up to a marker that was published after that was read: a
    /// second done event that follows the first at once is among them.
    pub fn finished(&self, job: &str) -> JobRecord {
        eventually(&format!("job {job} has a done event in the ledger"), || {
            let jobs = read_ledger(self.url(), &self.name("ledger"), Bodies::Ignored);
            jobs.get(job).filter(|record| !record.done.is_empty()).map(|_| ())
        });
        self.ledger(job)
    }

    /// The aggregator's status of `job`, once the aggregator knows it.
    pub fn status(&self, job: &str) -> serde_json::Value {
        eventually(&format!("the aggregator knows job {job}"), || self.known_status(job))
    }

    /// The aggregator's status of `job`; `None` if the aggregator does not know it yet.
    fn known_status(&self, job: &str) -> Option<serde_json::Value> {
        let queried = self.producer(&["status", job, "--output", "json"]);
        (queried.code == Some(0)).then(|| queried.json())
    }

    /// Waits until some companies of a job are counted. Panics if all of them are by then.
    pub fn mid_job(&self, job: &str, companies: u64) {
        let counted =
            soon("some companies are counted", || self.known_status(job)?["succeeded"].as_u64().filter(|&counted| counted > 0));
        assert!(counted < companies, "the job is over before the test has begun: make it longer");
    }
}
