//! A broker that a test may kill, restart, freeze and thaw.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, SystemTime};

use crate::environment::{broker_url, project, test_broker};
use crate::orphans::{self, entries};
use crate::prerequisites::require_all;
use crate::report::skip;
use crate::wait::eventually;

/// Private brokers that may run at the same time. Each takes a core while it starts, so more would only delay each other.
const MAX_PRIVATE: usize = 2;

/// RabbitMQ 3.10.8 that is killed within half a second of declaring a quorum queue loses the location of that queue's log: the queue
/// stays without a leader. The tests are not about that.
const DURABLE_AFTER: Duration = Duration::from_secs(3);

/// The prefix of private brokers' names; the process id of the test follows.
const NAME: &str = "private";

/// A broker. A private one is stopped, and its data are deleted, when it is dropped.
#[derive(Debug)]
pub struct Broker {
    name: String,
    url: String,
    /// `None` if the broker is not private.
    permits: Option<Permits>,
}

impl Broker {
    /// Starts a broker of this test's own. Returns `None`, and reports the test as skipped, if RabbitMQ is not installed.
    pub fn private() -> Option<Broker> {
        Broker::start(1)
    }

    /// Starts the first node of a cluster, which takes all permits.
    pub(crate) fn first_of_cluster() -> Option<Broker> {
        Broker::start(MAX_PRIVATE)
    }

    fn start(permits: usize) -> Option<Broker> {
        require_all();
        if !is_installed() {
            skip("RabbitMQ is not installed, and this test kills or stops its broker");
            return None;
        }
        let permits = Some(Permits::acquire(permits));
        stop_orphans();
        let name = fresh_name();
        let url = stdout(&script(&["start", &name]));
        Some(Broker { name, url, permits })
    }

    /// Starts one more node of this one's cluster. The first node holds the permits.
    pub(crate) fn join(&self) -> Broker {
        let name = fresh_name();
        let url = stdout(&script(&["join", &name, &self.name]));
        Broker { name, url, permits: Some(Permits::acquire(0)) }
    }

    /// The broker that `deploy/local/with-broker` started for this process, and will stop; `None` if it did not.
    pub fn given() -> Option<Broker> {
        Some(Broker { name: test_broker()?, url: broker_url().to_owned(), permits: None })
    }

    /// Its folder: configuration, data, log and process id.
    pub fn folder(&self) -> PathBuf {
        project().join(".rollcall").join(&self.name)
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        fs::read_to_string(self.folder().join("pid")).unwrap().trim().parse().unwrap()
    }

    /// Its URL, vhost included.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of an Erlang expression.
    pub fn evaluate(&self, expression: &str) -> String {
        stdout(&script(&["ctl", &self.name, "-q", "eval", expression]))
    }

    /// Kills it with SIGKILL, once a kill can no longer destroy a queue that was declared just now.
    pub fn kill_9(&self) {
        self.wait_until_queues_are_durable();
        stdout(&script(&["kill", &self.name]));
    }

    /// Waits until every queue survives a kill.
    pub fn wait_until_queues_are_durable(&self) {
        eventually("every queue's location is on the broker's disk", || {
            let newest = self.queue_folders().into_iter().filter_map(|folder| created_at(&folder)).max();
            newest.is_none_or(|created| created.elapsed().is_ok_and(|age| age >= DURABLE_AFTER)).then_some(())
        });
    }

    /// The folder of every quorum queue and stream, created when the queue is declared.
    fn queue_folders(&self) -> Vec<PathBuf> {
        let data = self.folder().join("data");
        let of_kind = |kind: &str| entries(&data).into_iter().map(|node| node.join(kind)).collect::<Vec<_>>();
        let nodes = ["quorum", "coordination"].iter().flat_map(|kind| of_kind(kind));
        nodes.flat_map(|kind| entries(&kind)).flat_map(|node| entries(&node)).filter(|entry| entry.is_dir()).collect()
    }

    /// Stops it in order, and waits until its process has ended.
    pub fn stop(&self) {
        self.ctl(&["stop", self.folder().join("pid").to_str().unwrap()]);
    }

    /// Restarts it, on the same port and with the same data.
    pub fn restart(&self) {
        stdout(&script(&["start", &self.name]));
    }

    /// Stops it with SIGSTOP: its connections stay open, and nothing answers.
    pub fn freeze(&self) {
        stdout(&script(&["freeze", &self.name]));
    }

    /// Continues it with SIGCONT.
    pub fn thaw(&self) {
        stdout(&script(&["thaw", &self.name]));
    }

    /// The queues of the default vhost whose state is `down`.
    pub fn queues_down(&self) -> Vec<String> {
        let queues = self.ctl(&["list_queues", "--no-table-headers", "name", "state"]);
        queues.lines().filter_map(|queue| queue.strip_suffix("\tdown")).map(ToOwned::to_owned).collect()
    }

    /// The output of `rabbitmqctl`, which must succeed.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        stdout(&script(&[&["ctl", &self.name, "--quiet"], arguments].concat()))
    }

    /// The output of `rabbitmqctl`; `None` if it fails, as it does while the broker is down.
    pub fn try_ctl(&self, arguments: &[&str]) -> Option<String> {
        let output = script(&[&["ctl", &self.name, "--quiet"], arguments].concat());
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.permits.is_some() {
            // A failure here must not hide that of the test.
            drop(script(&["stop", &self.name]));
        }
    }
}

fn fresh_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    orphans::name(NAME, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs `deploy/local/broker`.
pub(crate) fn script(arguments: &[&str]) -> Output {
    let broker = project().join("deploy/local/broker");
    Command::new(&broker).args(arguments).output().unwrap_or_else(|error| panic!("cannot run {}: {error}", broker.display()))
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn is_installed() -> bool {
    let servers = entries(Path::new("/usr/lib/rabbitmq/lib"));
    servers.iter().any(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rabbitmq_server-")))
}

/// When a folder was created; when it was last modified, on a file system that does not record the former.
fn created_at(folder: &Path) -> Option<SystemTime> {
    let metadata = fs::metadata(folder).ok()?;
    metadata.created().or_else(|_| metadata.modified()).ok()
}

/// Stops the private brokers of test processes that were killed.
fn stop_orphans() {
    static STOPPED: Once = Once::new();
    STOPPED.call_once(|| {
        for folder in orphans::left_behind(&project().join(".rollcall"), NAME) {
            drop(script(&["stop", folder.file_name().unwrap().to_str().unwrap()]));
        }
    });
}

/// Permits of the semaphore that limits private brokers to `MAX_PRIVATE`; released when they are dropped.
#[derive(Debug)]
struct Permits(usize);

static ACQUIRED: Mutex<usize> = Mutex::new(0);
static RELEASED: Condvar = Condvar::new();

fn acquired() -> MutexGuard<'static, usize> {
    ACQUIRED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Permits {
    fn acquire(permits: usize) -> Permits {
        let free = RELEASED.wait_while(acquired(), |acquired| *acquired + permits > MAX_PRIVATE);
        *free.unwrap_or_else(PoisonError::into_inner) += permits;
        Permits(permits)
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        *acquired() -= self.0;
        RELEASED.notify_all();
    }
}
