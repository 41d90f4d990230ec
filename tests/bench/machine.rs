//! The environment of a benchmark: machine, versions, settings of the broker. Figures are meaningless without it.

use std::fs;
use std::path::Path;
use std::process::Command;

use rollcall_tests::{Broker, project};
use serde_json::{Value, json};

pub fn json() -> Value {
    json!({ "machine": machine(), "versions": versions(), "broker": broker() })
}

/// The machine in one line.
pub fn in_words() -> String {
    let Value::Object(machine) = machine() else { return String::new() };
    let word = |key: &str| machine[key].to_string().trim_matches('"').to_owned();
    format!("{}, {} cores, {} MB", word("cpu"), word("cores"), word("memory_mb"))
}

fn machine() -> Value {
    let memory_kb: u64 = field("/proc/meminfo", "MemTotal").split(' ').next().unwrap().parse().unwrap();
    json!({
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().unwrap().get(),
        "memory_mb": memory_kb / 1024,
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim(),
    })
}

/// The first value of a name in a file of `name : value` lines. Some processors have no model name.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

pub fn commit() -> String {
    said("git", &["rev-parse", "HEAD"])
}

/// Whether the working tree has changes.
pub fn is_changed() -> bool {
    !said("git", &["status", "--porcelain"]).is_empty()
}

fn versions() -> Value {
    json!({
        "rustc": said("rustc", &["--version"]),
        "rollcall_commit": commit(),
        "rollcall_changed_since": is_changed(),
        "lapin": locked_version(include_str!("../../Cargo.lock"), "lapin"),
    })
}

/// The output of a program run in the project's folder.
fn said(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).current_dir(project()).output();
    ran.map_or_else(|_| "unknown".to_owned(), |ran| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

fn locked_version<'a>(lock: &'a str, name: &str) -> &'a str {
    let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap();
    package.split('"').next().unwrap()
}

/// The broker that `deploy/local/with-broker` started. Nothing is known of another one.
fn broker() -> Value {
    let Some(broker) = Broker::given() else { return json!({ "kind": "the one that AMQP_URL names" }) };
    let asked = |question: &str| broker.ctl(&["eval", &format!("io:format(\"~s\", [{question}]).")]);
    let answer = |question: &str| asked(question).lines().next().unwrap_or("unknown").trim_end_matches("ok").to_owned();
    json!({
        "kind": "private, a single node",
        "rabbitmq": answer("rabbit_misc:version()"),
        "erlang_otp": answer("rabbit_misc:otp_release()"),
        "settings": settings(&broker.folder().join("rabbitmq.conf"), |line| !line.is_empty() && !line.starts_with('#')),
        "environment": settings(&broker.folder().join("env"), |line| line.contains("ERL_ARGS")),
        "queues": "quorum, as shared/src/topology.rs declares them; the ledger is a stream",
    })
}

fn settings(file: &Path, is_one: impl Fn(&str) -> bool) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter(|line| is_one(line)).map(str::to_owned).collect()
}
