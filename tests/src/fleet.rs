//! A fleet in a vhost of its own: producers, consumers and aggregators as their users start them.

use std::ffi::OsStr;
use std::fs;
use std::io::{PipeWriter, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::Broker;
use crate::ledger::{Bodies, JobRecord, read_ledger};
use crate::process::{Ended, Process};
use crate::relay::Relay;
use crate::vhost::Vhost;
use crate::wait::eventually;

/// Longest that any producer command here may take.
const PRODUCER_DEADLINE: Duration = Duration::from_secs(120);

/// A scorer that does with a company what its column `do` says; see `fixtures/scorer.py`.
pub const SCORER: &str = "command:/usr/bin/python3 tests/fixtures/scorer.py";

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A test's jobs wait in turn unless it says otherwise, however small they are: a user's small job would go ahead.
fn in_turn(arguments: &[&str]) -> &'static [&'static str] {
    if arguments.contains(&"--priority") { &[] } else { &["--priority", "normal"] }
}

fn binary(name: &str) -> PathBuf {
    // This test's own executable is in target/<profile>/deps.
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join(name)
}

/// A fleet; its processes end with it.
#[derive(Debug, Clone)]
pub struct Fleet {
    vhost: Vhost,
    folder: Arc<TempDir>,
    started: Arc<AtomicUsize>,
}

impl Fleet {
    /// A fleet without processes yet.
    pub fn fresh() -> Fleet {
        Fleet::of(Vhost::fresh())
    }

    /// A fleet without processes yet, on a broker that has made nothing for any other.
    pub fn alone() -> Fleet {
        Fleet::of(Vhost::alone())
    }

    /// A fleet without processes yet, and the only one, on a broker of its own.
    pub fn on(broker: &Broker) -> Fleet {
        Fleet::of(Vhost { url: broker.url().to_owned(), prefix: "rollcall".to_owned() })
    }

    fn of(vhost: Vhost) -> Fleet {
        Fleet { vhost, folder: Arc::new(TempDir::new().unwrap()), started: Arc::default() }
    }

    /// The same fleet, pointed at another URL.
    pub fn at(mut self, url: &str) -> Fleet {
        url.clone_into(&mut self.vhost.url);
        self
    }

    /// The same fleet by way of a relay: what is started here is behind it, what is started on the fleet itself is not.
    pub fn behind(&self, relay: &Relay) -> Fleet {
        self.clone().at(&relay.url(self.url()))
    }

    /// The same fleet, with connections that notice within `seconds` and a little that the other side is silent.
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

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in its folder.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }

    /// Everything that processes called `name` have said on standard error so far.
    pub fn said_by_all(&self, name: &str) -> String {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let theirs = files.filter(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            file.starts_with(&format!("{name}-")) && file.ends_with(".err")
        });
        theirs.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
    }

    /// Keeps its folder for a person to look into, and says where it is.
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

    /// One of the programs as at a terminal: a script that runs the tests in its background hands down that Ctrl-C is ignored, and `nohup`
    /// that SIGHUP is.
    fn own_command(&self, name: &str) -> Command {
        let mut command = self.command("env");
        command.arg("--default-signal=INT,HUP").arg(binary(name));
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
        consumer.wait_until_it_says("taking_work");
        consumer
    }

    /// Starts one of the programs, `aggregator`, `consumer` or `producer`, in the project's folder, and waits for nothing.
    pub fn program<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A]) -> Process {
        self.start(name, self.program_command(name, arguments))
    }

    /// One of the programs with `arguments`, in the project's folder, not yet started.
    pub fn program_command<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A]) -> Command {
        let mut command = self.own_command(name);
        command.args(arguments).current_dir(project());
        command
    }

    /// Starts a consumer of the demo's model, `questionnaire`, with few particles: these tests are not about precision.
    pub fn demo_consumer(&self) -> Process {
        self.consumer("questionnaire", "bayes:deploy/demo/questionnaire.bif", &["--particles", "50", "--threads", "1"])
    }

    /// The producer with `arguments`, not yet started.
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
        self.start_producer(&[&arguments, more, in_turn(more)].concat())
    }

    /// A producer that has taken `companies` of `job` for model `m`, and waits for the rest on its standard input.
    pub fn unfinished_enqueue(&self, job: &str, companies: u32, more: &[&str]) -> (Process, PipeWriter) {
        let (input, mut rest) = pipe().unwrap();
        let mut producer = self.producer_command(&[&["enqueue", "-", "-m", "m", "--job", job], more, in_turn(more)].concat());
        producer.stdin(input);
        let producer = self.start("producer", producer);
        let rows: String = (0..companies).map(|row| format!("{row}\n")).collect();
        rest.write_all(format!("company_id\n{rows}").as_bytes()).unwrap();
        eventually(&format!("job {job} is opened"), || (self.status(job)["state"] == "unsealed").then_some(()));
        (producer, rest)
    }

    /// Sets the policy for the ledger; the size of segments must be set before it is declared. Says so and returns false where
    /// the broker is not ours to administer.
    pub fn set_ledger_policy(&self, definition: &str) -> bool {
        self.rabbitmqctl("set_policy", &["--apply-to", "queues", "ledger", "ledger$", definition]).is_some()
    }

    /// `rabbitmqctl COMMAND` for its vhost, and what that prints; says so and returns nothing where the broker is not ours to administer.
    ///
    /// # Panics
    /// Where the command fails.
    pub fn rabbitmqctl(&self, command: &str, arguments: &[&str]) -> Option<String> {
        let Ok(broker) = std::env::var("ROLLCALL_TEST_BROKER") else {
            eprintln!("skipped: the broker is not ours to administer");
            return None;
        };
        let mut ctl = Command::new(project().join("deploy/local/broker"));
        ctl.args(["ctl", &broker, "-q", command]);
        if command.ends_with("_vhost") {
            ctl.arg(self.vhost_name());
        } else if command != "eval" {
            ctl.args(["-p", self.vhost_name()]);
        }
        let said = ctl.args(arguments).output().unwrap();
        assert!(said.status.success(), "rabbitmqctl {command} {arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
        Some(String::from_utf8_lossy(&said.stdout).into_owned())
    }

    /// Lets the process of a queue stand still, so that it confirms nothing; false where the broker is not ours to administer.
    pub fn freeze_queue(&self, queue: &str) -> bool {
        let (vhost, queue) = (self.vhost_name(), self.name(queue));
        let process = format!("rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>))");
        self.rabbitmqctl("eval", &[&format!("{{ok, Q}} = {process}, sys:suspend(amqqueue:get_pid(Q)).")]).is_some()
    }

    fn vhost_name(&self) -> &str {
        let (_, vhost) = self.url().rsplit_once('/').unwrap();
        vhost.split('?').next().unwrap_or(vhost)
    }

    /// Does something on a channel to its broker, as another program might.
    pub fn on_a_channel<T>(&self, act: impl AsyncFnOnce(&lapin::Channel) -> T) -> T {
        crate::queue::on_a_channel(self.url(), act)
    }

    /// Lets nobody declare a queue in the fleet's vhost that is not there yet, or lets everybody again. Says so and returns false where the
    /// broker is not ours to administer.
    pub fn refuse_queues(&self, refuse: bool) -> bool {
        let Ok(broker) = std::env::var("ROLLCALL_TEST_BROKER") else {
            eprintln!("skipped: the broker is not ours to set a limit on");
            return false;
        };
        let (_, vhost) = self.url().rsplit_once('/').unwrap();
        let limits = if refuse { r#"{"max-queues":1}"# } else { "{}" };
        let mut set = Command::new(project().join("deploy/local/broker"));
        set.args(["ctl", &broker, "-q", "set_vhost_limits", "-p", vhost, limits]);
        set.status().unwrap().success()
    }

    /// Publishes a message to `exchange` of the fleet as somebody else's service might, from another language.
    pub fn somebody_publishes(&self, exchange: &str, routing_key: &str, kind: &str, headers: &serde_json::Value, body: &str) {
        let mut publish = self.command("/usr/bin/python3");
        publish.arg(project().join("tests/fixtures/publish.py")).args([&self.name(exchange), routing_key, kind]);
        publish.args([&headers.to_string(), body]);
        self.start("publish", publish).wait(PRODUCER_DEADLINE).expect(0);
    }

    /// How many messages wait in a queue; nothing where there is no such queue.
    pub fn waiting_in(&self, queue: &str) -> Option<u32> {
        crate::queue::waiting_in(self.url(), queue)
    }

    /// Binds a queue to all of an exchange, as a subscriber does who bounds it to `most` messages, refuses more, and never reads.
    ///
    /// # Panics
    /// Where the broker refuses it.
    pub fn bind_bounded(&self, queue: &str, exchange: &str, most: u32) {
        assert!(self.try_bind_bounded(queue, exchange, most), "the broker refuses {queue}");
    }

    /// The same; `false` where the broker is away.
    pub fn try_bind_bounded(&self, queue: &str, exchange: &str, most: u32) -> bool {
        crate::queue::bind_bounded(self.url(), &self.name(queue), &self.name(exchange), most).is_ok()
    }

    /// Deletes a queue; `false` where the broker is away.
    pub fn delete(&self, queue: &str) -> bool {
        crate::queue::delete(self.url(), &self.name(queue))
    }

    /// Empties a queue.
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

    /// What the ledger says of `job`.
    pub fn ledger(&self, job: &str) -> JobRecord {
        read_ledger(self.url(), &self.name("ledger"), Bodies::Kept).remove(job).unwrap_or_default()
    }

    /// How many companies of `job` the ledger has an outcome of.
    pub fn answered(&self, job: &str) -> usize {
        read_ledger(self.url(), &self.name("ledger"), Bodies::Ignored).get(job).map_or(0, |record| record.outcomes.len())
    }

    /// What the ledger says of `job` once it has a done event.
    pub fn finished(&self, job: &str) -> JobRecord {
        eventually(&format!("job {job} has a done event in the ledger"), || {
            Some(self.ledger(job)).filter(|record| !record.done.is_empty())
        })
    }

    /// Asks the aggregator how `job` stands, once it knows the job.
    pub fn status(&self, job: &str) -> serde_json::Value {
        eventually(&format!("the aggregator knows job {job}"), || {
            let asked = self.producer(&["status", job, "--output", "json"]);
            (asked.code == Some(0)).then(|| asked.json())
        })
    }

    /// Waits until some, and not all, of a job's companies are counted.
    ///
    /// # Panics
    /// Where all of them are by then.
    pub fn mid_job(&self, job: &str, companies: u64) {
        let counted =
            eventually("some companies are counted", || self.status(job)["succeeded"].as_u64().filter(|&counted| counted > 0));
        assert!(counted < companies, "the job is over before the test has begun: make it longer");
    }
}
