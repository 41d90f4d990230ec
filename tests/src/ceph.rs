//! A Ceph Object Gateway, which publishes notifications of uploads, and an S3 client that shares no code with Rollcall's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{project, test_ceph};
use crate::orphans;
use crate::queue::declare_exchange;
use crate::report::skip;

/// The prefix of private ones' folders; the process id of the test follows.
const NAME: &str = "ceph";

/// A Ceph. A private one is stopped, and its objects are forgotten, when it is dropped.
#[derive(Debug)]
pub struct Ceph {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    is_private: bool,
}

/// A bucket that no other test uses. It is not deleted: its Ceph is.
#[derive(Debug)]
pub struct Bucket<'a> {
    ceph: &'a Ceph,
    name: String,
    /// What is put, and what is got.
    files: TempDir,
}

/// An object, as S3 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its `ETag`, without quotes.
    pub etag: String,
    /// Its version; `None` if the bucket has no versions.
    pub version: Option<String>,
}

impl Ceph {
    /// The Ceph that `tests/gateway/run` started for all tests of this process, and will stop. Returns `None`, and reports the test as
    /// skipped, if it did not.
    pub fn given() -> Option<Ceph> {
        let Some(folder) = test_ceph() else {
            skip("there is no Ceph for this test; run `make test-gateway`, which installs and starts one");
            return None;
        };
        let environment = environment(&script("env", &folder));
        Some(Ceph { folder, environment, is_private: false })
    }

    /// Starts a Ceph of this test's own, which may be killed. Returns `None`, and reports the test as skipped, if Ceph is not installed.
    pub fn private() -> Option<Ceph> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        if !is_installed() {
            skip("Ceph is not installed, and this test kills its own; run `make test-gateway`, which installs it");
            return None;
        }
        stop_orphans();
        let folder = parent().join(orphans::name(NAME, NEXT.fetch_add(1, Ordering::Relaxed)));
        let environment = environment(&script("start", &folder));
        Some(Ceph { folder, environment, is_private: true })
    }

    /// What an S3 client needs in its environment: the variables that begin with `AWS_`.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Makes a bucket.
    pub fn bucket(&self) -> Bucket<'_> {
        self.make_bucket(&[])
    }

    /// Makes a bucket that keeps all versions of its objects.
    pub fn versioned_bucket(&self) -> Bucket<'_> {
        self.make_bucket(&["--versioned"])
    }

    /// Makes a bucket that publishes a notification of each new object; see [`Bucket::notify`].
    pub fn bucket_with_notifications(&self, url: &str, exchange: &str) -> Bucket<'_> {
        let bucket = self.bucket();
        bucket.notify(url, exchange, &[]);
        bucket
    }

    fn make_bucket(&self, options: &[&str]) -> Bucket<'_> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = orphans::name("bucket", NEXT.fetch_add(1, Ordering::Relaxed));
        self.s3(&[&["bucket", &name], options].concat(), &[]);
        Bucket { ceph: self, name, files: TempDir::new().unwrap() }
    }

    /// Kills its S3 server with SIGKILL. Its objects stay.
    pub fn kill_9(&self) {
        script("kill", &self.folder);
    }

    /// Starts its S3 server again, on the same port.
    pub fn restart(&self) {
        script("start", &self.folder);
    }

    /// The document that `tests/gateway/s3.py` prints.
    fn s3(&self, arguments: &[&str], more: &[(&str, &str)]) -> Value {
        let mut command = Command::new(project().join("tests/gateway/s3.py"));
        command.args(arguments).envs(self.environment()).envs(more.iter().copied());
        let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        serde_json::from_str(&stdout(&output)).unwrap()
    }
}

impl Bucket<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes it publish a notification of each new object to a topic exchange of the broker at `url`, which is declared. The routing key is
    /// the bucket's name. `options` are those of `s3.py notify`.
    ///
    /// Ceph connects to each vhost once, with one exchange: a second exchange there gets nothing. With `--persistent`, the first
    /// notification takes up to half a minute, and a broker that is away keeps a core busy: such a test has a Ceph of its own.
    pub fn notify(&self, url: &str, exchange: &str, options: &[&str]) {
        declare_exchange(url, exchange);
        self.ceph.s3(&[&["notify", &self.name, exchange], options].concat(), &[("AMQP_URL", url)]);
    }

    /// Puts an object.
    pub fn put(&self, key: &str, contents: impl AsRef<[u8]>) -> Object {
        self.put_with(key, contents.as_ref(), &[])
    }

    /// Puts an object as a multipart upload. Its `ETag` ends with a hyphen and the number of parts, of 5 MiB each.
    pub fn put_in_parts(&self, key: &str, contents: impl AsRef<[u8]>) -> Object {
        self.put_with(key, contents.as_ref(), &["--multipart"])
    }

    fn put_with(&self, key: &str, contents: &[u8], options: &[&str]) -> Object {
        fs::write(self.file(), contents).unwrap();
        Object::from(&self.s3(&[&["put", &self.name, key, self.file().to_str().unwrap()], options].concat()))
    }

    /// Copies an object within the bucket.
    pub fn copy(&self, key: &str, new_key: &str) -> Object {
        Object::from(&self.s3(&["copy", &self.name, key, new_key]))
    }

    /// Deletes an object; in a bucket with versions, hides it.
    pub fn delete(&self, key: &str) {
        self.s3(&["delete", &self.name, key]);
    }

    /// The contents of an object.
    pub fn get(&self, key: &str) -> Vec<u8> {
        self.s3(&["get", &self.name, key, self.file().to_str().unwrap()]);
        fs::read(self.file()).unwrap()
    }

    /// The keys of all objects that begin with `prefix`.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let document = self.s3(&["list", &self.name, "--prefix", prefix]);
        document["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    fn file(&self) -> PathBuf {
        self.files.path().join("contents")
    }

    fn s3(&self, arguments: &[&str]) -> Value {
        self.ceph.s3(arguments, &[])
    }
}

impl From<&Value> for Object {
    fn from(document: &Value) -> Object {
        let text = |key: &str| document[key].as_str().map(str::to_owned);
        Object { etag: text("etag").unwrap(), version: text("version") }
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        if self.is_private {
            // A failure here must not hide that of the test.
            drop(try_script("stop", &self.folder));
        }
    }
}

/// The folder of private ones: beside the given one, where `tests/gateway/run` stops them too, whatever becomes of this process.
fn parent() -> PathBuf {
    let beside = test_ceph().and_then(|given| Some(given.parent()?.to_owned()));
    beside.unwrap_or_else(|| project().join(".rollcall/gateway-tests/private"))
}

/// Runs `tests/gateway/ceph`, which must succeed.
fn script(command: &str, folder: &Path) -> String {
    stdout(&try_script(command, folder))
}

fn try_script(command: &str, folder: &Path) -> Output {
    let ceph = project().join("tests/gateway/ceph");
    Command::new(&ceph).arg(command).arg(folder).output().unwrap_or_else(|error| panic!("cannot run {}: {error}", ceph.display()))
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn environment(lines: &str) -> Vec<(String, String)> {
    lines.lines().map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn is_installed() -> bool {
    ["ceph", "ceph-mon", "ceph-osd", "radosgw"].iter().all(|program| Path::new("/usr/bin").join(program).exists())
        && Command::new("/usr/bin/python3").args(["-c", "import boto3"]).output().is_ok_and(|found| found.status.success())
}

/// Stops the private ones of test processes that were killed.
fn stop_orphans() {
    static STOPPED: Once = Once::new();
    STOPPED.call_once(|| orphans::left_behind(&parent(), NAME).iter().for_each(|folder| drop(try_script("stop", folder))));
}
