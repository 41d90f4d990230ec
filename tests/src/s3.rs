//! An S3 server of a test's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::environment::project;
use crate::fleet::Fleet;
use crate::process::{Ended, Process};
use crate::report::skip;
use crate::telemetry::free_address;
use crate::wait::eventually;

/// The time limit for a producer command.
const PRODUCER_DEADLINE: Duration = Duration::from_secs(120);

/// The only bucket.
const BUCKET: &str = "bucket";

/// A server of S3 with an empty bucket. It is killed when it is dropped.
#[derive(Debug)]
pub struct S3 {
    server: Process,
    address: SocketAddr,
}

impl S3 {
    /// Starts one. Returns `None`, and reports the test as skipped, if it cannot be installed.
    pub fn start(fleet: &Fleet) -> Option<S3> {
        S3::started(fleet, None)
    }

    /// One that knows no user, and so refuses whoever signs. Returns `None`, and reports the test as skipped, if it cannot be installed.
    pub fn that_refuses(fleet: &Fleet) -> Option<S3> {
        // Requests that it lets pass: the one that makes the bucket.
        S3::started(fleet, Some("1"))
    }

    fn started(fleet: &Fleet, unchecked_requests: Option<&str>) -> Option<S3> {
        let Some(program) = moto_server() else {
            skip("the S3 server cannot be installed; `tests/object_storage/moto` says why");
            return None;
        };
        let address = free_address();
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.envs(unchecked_requests.map(|requests| ("INITIAL_NO_AUTH_ACTION_COUNT", requests)));
        let s3 = S3 { server: fleet.start("s3", command), address };
        eventually("the S3 server answers", || TcpStream::connect(address).ok());
        let (status, answer) = s3.request("PUT", "", b"");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        Some(s3)
    }

    /// Stops it with SIGSTOP.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Continues it with SIGCONT.
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// The address of an object that a test has put, for whoever reads it without S3's protocol.
    pub fn web_url(&self, key: &str) -> String {
        format!("http://{}/{BUCKET}/{key}", self.address)
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a client needs in its environment.
    pub fn environment(endpoint: &str) -> [(&str, &str); 5] {
        [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "very-secret"),
            ("AWS_REGION", "us-east-1"),
            ("NO_PROXY", "127.0.0.1"),
        ]
    }

    /// The producer with what it needs to find the server, in the fleet's folder, not yet started.
    pub fn producer_command(&self, fleet: &Fleet, arguments: &[&str]) -> Command {
        let mut command = fleet.producer_command(arguments);
        for variable in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"] {
            command.env_remove(variable);
        }
        command.env("HOME", fleet.path("")).envs(S3::environment(&self.endpoint()));
        command
    }

    /// Starts the producer.
    pub fn start_producer(&self, fleet: &Fleet, arguments: &[&str]) -> Process {
        fleet.start("producer", self.producer_command(fleet, arguments))
    }

    /// Runs the producer to its end.
    pub fn producer(&self, fleet: &Fleet, arguments: &[&str]) -> Ended {
        self.start_producer(fleet, arguments).wait(PRODUCER_DEADLINE)
    }

    /// Puts an object.
    pub fn put(&self, key: &str, contents: impl AsRef<[u8]>) {
        assert_eq!(self.request("PUT", &format!("/{key}"), contents.as_ref()).0, 200);
    }

    /// The contents of an object; `None` if there is none.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        let (status, body) = self.request("GET", &format!("/{key}"), b"");
        (status == 200).then_some(body)
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        self.keys_in("?list-type=2")
    }

    /// The keys of uploads that are neither complete nor aborted.
    pub fn uploads(&self) -> Vec<String> {
        self.keys_in("?uploads")
    }

    fn keys_in(&self, query: &str) -> Vec<String> {
        let (status, list) = self.request("GET", query, b"");
        let list = String::from_utf8(list).unwrap();
        assert_eq!(status, 200, "{list}");
        list.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
    }

    /// The status and the body of an answer about the bucket. The server looks for a signature, and not at it.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (host, length) = (self.address, body.len());
        let signed = "AWS4-HMAC-SHA256 Credential=T/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let head = format!(
            "{method} /{BUCKET}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {signed}\r\nx-amz-acl: public-read\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[..end]).split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, answer.split_off(end + 4))
    }
}

/// The program, which the first call installs; `None` if that fails.
fn moto_server() -> Option<&'static PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let output = Command::new(project().join("tests/object_storage/moto")).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().into())
    };
    PROGRAM.get_or_init(install).as_ref()
}
