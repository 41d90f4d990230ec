//! A private broker, which a test may kill, restart, freeze and thaw without asking anybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, SystemTime};

use crate::fleet::project;
use crate::wait::eventually;

/// Each takes a core while it starts: more at a time would only make each other late.
const AT_A_TIME: usize = 2;

/// RabbitMQ 3.10.8, killed within half a second of declaring a quorum queue, has forgotten where that queue's log is, and comes
/// back with the queue leaderless for ever. That is not what is tested here.
const SETTLED: Duration = Duration::from_secs(3);

/// What every private broker's name begins with; the process id of its test follows.
const NAME: &str = "private";

/// A broker, stopped and forgotten when it is dropped.
#[derive(Debug)]
pub struct Broker {
    name: String,
    url: String,
    /// Nothing where it is not ours to stop.
    seat: Option<Seat>,
}

impl Broker {
    /// A broker of one's own, whatever `AMQP_URL` names; nothing, and a line that says so, where RabbitMQ is not installed.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn private() -> Option<Broker> {
        Broker::taking(1)
    }

    /// The same, and alone: to be the first of a cluster.
    pub(crate) fn first_of_cluster() -> Option<Broker> {
        Broker::taking(AT_A_TIME)
    }

    fn taking(places: usize) -> Option<Broker> {
        if !is_installed() {
            eprintln!("skipped: RabbitMQ is not installed, and this test kills or stops its broker");
            return None;
        }
        let seat = Some(Seat::take(places));
        sweep();
        let name = fresh_name();
        let url = said(&script(&["start", &name]));
        Some(Broker { name, url, seat })
    }

    /// One more node in the cluster of this one, which has taken the seat for it.
    pub(crate) fn another(&self) -> Broker {
        let name = fresh_name();
        let url = said(&script(&["join", &name, &self.name]));
        Broker { name, url, seat: Some(Seat::take(0)) }
    }

    /// The broker that `deploy/local/with-broker` has started for this process, and will stop; nothing where it has not.
    pub fn given() -> Option<Broker> {
        let name = std::env::var("ROLLCALL_TEST_BROKER").ok()?;
        let url = std::env::var("AMQP_URL").ok()?;
        Some(Broker { name, url, seat: None })
    }

    /// Its folder: configuration, data, log and process id.
    pub fn folder(&self) -> PathBuf {
        project().join(".rollcall").join(&self.name)
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn process_id(&self) -> u32 {
        fs::read_to_string(self.folder().join("pid")).unwrap().trim().parse().unwrap()
    }

    /// Its URL, vhost included.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has it evaluate an expression of Erlang; returns what comes of it.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn evaluate(&self, expression: &str) -> String {
        said(&script(&["ctl", &self.name, "-q", "eval", expression]))
    }

    /// Ends it as a power cut would, once every queue on it is old enough to survive that.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill_9(&self) {
        self.settle();
        said(&script(&["kill", &self.name]));
    }

    /// Waits until a kill would not take a queue with it that was declared just now.
    pub fn settle(&self) {
        eventually("every queue's place is on the broker's disk", || {
            let newest = self.queue_folders().into_iter().filter_map(|folder| born(&folder)).max();
            newest.is_none_or(|born| born.elapsed().is_ok_and(|age| age >= SETTLED)).then_some(())
        });
    }

    /// The folder of every quorum queue and stream: made when it is declared.
    fn queue_folders(&self) -> Vec<PathBuf> {
        let data = self.folder().join("data");
        let of_kind = |kind: &str| entries(&data).into_iter().map(|node| node.join(kind)).collect::<Vec<_>>();
        let nodes = ["quorum", "coordination"].iter().flat_map(|kind| of_kind(kind));
        nodes.flat_map(|kind| entries(&kind)).flat_map(|node| entries(&node)).filter(|entry| entry.is_dir()).collect()
    }

    /// Brings it back, on the same port and with the same data.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&self) {
        said(&script(&["start", &self.name]));
    }

    /// Stops it where it is: its connections stay open, and nobody answers.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn freeze(&self) {
        said(&script(&["freeze", &self.name]));
    }

    /// Lets a frozen one go on.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn thaw(&self) {
        said(&script(&["thaw", &self.name]));
    }

    /// The queues of the default vhost whose state is `down`.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn queues_down(&self) -> Vec<String> {
        let queues = self.ctl(&["list_queues", "--no-table-headers", "name", "state"]);
        queues.lines().filter_map(|queue| queue.strip_suffix("\tdown")).map(ToOwned::to_owned).collect()
    }

    /// `rabbitmqctl` against it; returns what it prints.
    ///
    /// # Panics
    /// Where that fails.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        said(&script(&[&["ctl", &self.name, "--quiet"], arguments].concat()))
    }
}

impl Broker {
    /// `rabbitmqctl` against it; `None` where that fails, as it does while the broker is away.
    pub fn try_ctl(&self, arguments: &[&str]) -> Option<String> {
        let output = script(&[&["ctl", &self.name, "--quiet"], arguments].concat());
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.seat.is_some() {
            // A failure here must not hide that of the test.
            drop(script(&["stop", &self.name]));
        }
    }
}

fn fresh_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("{NAME}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn script(arguments: &[&str]) -> Output {
    let broker = project().join("deploy/local/broker");
    Command::new(&broker).args(arguments).output().unwrap_or_else(|error| panic!("cannot run {}: {error}", broker.display()))
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn is_installed() -> bool {
    let servers = entries(Path::new("/usr/lib/rabbitmq/lib"));
    servers.iter().any(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rabbitmq_server-")))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// When a folder was made; on a file system that does not know, when something was last made in it.
fn born(folder: &Path) -> Option<SystemTime> {
    let metadata = fs::metadata(folder).ok()?;
    metadata.created().or_else(|_| metadata.modified()).ok()
}

/// Stops the brokers of test processes that were killed before they could.
fn sweep() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        for left in entries(&project().join(".rollcall")) {
            let Some(name) = left.file_name().and_then(|name| name.to_str()) else { continue };
            let process = name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('-')?.split('-').next());
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                drop(script(&["stop", name]));
            }
        }
    });
}

/// The right to run so many private brokers.
#[derive(Debug)]
struct Seat {
    places: usize,
}

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

fn taken() -> MutexGuard<'static, usize> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    fn take(places: usize) -> Seat {
        let free = FREED.wait_while(taken(), |taken| *taken + places > AT_A_TIME);
        *free.unwrap_or_else(PoisonError::into_inner) += places;
        Seat { places }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *taken() -= self.places;
        FREED.notify_all();
    }
}
