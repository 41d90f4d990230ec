//! The description of the API: the gateway answers requests as it says.

use std::process::Command;

use rollcall_tests::{Fleet, Gateway, SCORER, project, schemathesis, skip};

/// Another seed gives other requests: `ROLLCALL_TEST_SEED=8 tests/gateway/run gateway::description`.
const SEED: &str = "7";

#[test]
fn the_api_answers_what_its_description_allows_and_refuses_what_it_does_not() {
    let Some(program) = schemathesis() else {
        skip("there is no schemathesis for this test; run `make test-gateway`, which installs it");
        return;
    };
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let places = fleet.path("results");
    std::fs::create_dir(&places).unwrap();
    let gateway =
        Gateway::with(&fleet, &format!("[http]\nrequests_per_second = 100000\n[exports]\nallow = [\"{}/\"]\n", places.display()));
    gateway.upload("model=m&job=m", "company_id,do\n1,succeed\n2,refuse\n").expect(202);
    gateway.wait_until("m", "failed");
    let seed = std::env::var("ROLLCALL_TEST_SEED").unwrap_or_else(|_| SEED.to_owned());
    // What it finds, it writes into the folder where it runs.
    let ended = Command::new(program)
        .arg("--config-file")
        .arg(project().join("tests/gateway/schemathesis.toml"))
        .args(["run", &format!("http://{}/v1/openapi.json", gateway.address), "--seed", &seed])
        .args(["--max-examples", "50", "--request-timeout", "10", "--generation-database", "none", "--no-color"])
        // It is on this machine, and so needs no proxy.
        .env("no_proxy", "127.0.0.1")
        .current_dir(fleet.path(""))
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{report}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(report.contains("Tested: 12"), "{report}");
}
