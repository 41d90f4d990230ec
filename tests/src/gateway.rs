//! A gateway of a fleet.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::fleet::Fleet;
use crate::http::{Answer, request};
use crate::process::Process;
use crate::telemetry::{free_address, get};
use crate::wait::eventually;

/// A gateway. It is killed when it is dropped.
pub struct Gateway {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Gateway {
    /// Starts a gateway without a configuration.
    pub fn plain(fleet: &Fleet) -> Gateway {
        Gateway::start(fleet, None, &[])
    }

    /// Starts a gateway with this configuration.
    pub fn with(fleet: &Fleet, config: &str) -> Gateway {
        let path = fleet.file("gateway.toml", config);
        Gateway::start(fleet, Some(&path), &[])
    }

    /// Starts a gateway, and waits until it listens.
    pub fn start(fleet: &Fleet, config: Option<&Path>, arguments: &[&str]) -> Gateway {
        Gateway::in_environment(fleet, config, arguments, [])
    }

    /// The same with these variables in its environment.
    pub fn in_environment<'a>(
        fleet: &Fleet,
        config: Option<&Path>,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Gateway {
        let address = free_address();
        let listen = address.to_string();
        let mut all = vec!["serve", "--listen", &listen];
        if !arguments.contains(&"--grace") {
            all.extend(["--grace", "2s"]);
        }
        if let Some(config) = config {
            all.extend(["--config", config.to_str().unwrap()]);
        }
        all.extend(arguments);
        let mut command = fleet.producer_command(&all);
        command.envs(environment);
        let process = fleet.start("producer", command);
        process.wait_until_event("listening");
        Gateway { process, address }
    }

    /// The answer to `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, &[], b"")
    }

    /// The answer to a POST of `body`.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        request(self.address, "POST", path, &[], body.as_ref())
    }

    /// The answer to an upload.
    pub fn upload(&self, query: &str, body: impl AsRef<[u8]>) -> Answer {
        request(self.address, "PUT", &format!("/v1/jobs?{query}"), &[], body.as_ref())
    }

    /// What the API says of a job.
    pub fn job(&self, job: &str) -> Value {
        self.get(&format!("/v1/jobs/{job}")).expect(200).json()
    }

    /// Waits until a job is in this state.
    pub fn wait_until(&self, job: &str, state: &str) -> Value {
        eventually(&format!("job {job} is {state}"), || {
            let answer = self.get(&format!("/v1/jobs/{job}"));
            (answer.status == 200).then(|| answer.json()).filter(|found| found["state"] == state)
        })
    }

    /// All jobs, by their names.
    pub fn jobs(&self) -> Vec<Value> {
        self.get("/v1/jobs?limit=200").expect(200).json()["jobs"].as_array().unwrap().clone()
    }

    /// Whether it answers at all.
    pub fn is_up(&self) -> bool {
        get(self.address, "/v1/openapi.json").is_some()
    }
}
