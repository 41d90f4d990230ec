//! What `make test` sets up for the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Once, OnceLock};

use crate::report::give_up;

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `AMQP_URL`. Without it the whole test process ends here, with one line: none of its tests could run.
pub(crate) fn broker_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| match std::env::var("AMQP_URL") {
        Ok(url) if !url.is_empty() => url,
        _ => give_up("expected AMQP_URL to name a RabbitMQ for these tests, found none; run `make test`, which starts one"),
    })
}

/// Ends the test process, with one line, if there is no Python for the scorers and the publisher in `fixtures`.
pub(crate) fn require_python() {
    static CHECKED: Once = Once::new();
    CHECKED.call_once(|| {
        let found = Command::new("/usr/bin/python3").args(["-c", "import pika"]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            give_up("expected /usr/bin/python3 with the module pika for these tests, found none; run `make test`, which installs them");
        }
    });
}

/// The name of the broker that `deploy/local/with-broker` started for this process; `None` if the tests do not administer theirs.
pub(crate) fn test_broker() -> Option<String> {
    std::env::var("ROLLCALL_TEST_BROKER").ok()
}

/// The folder of the Ceph that `tests/gateway/run` started for this process; `None` if it did not.
pub(crate) fn test_ceph() -> Option<PathBuf> {
    std::env::var_os("ROLLCALL_TEST_CEPH").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// The schemathesis that `tests/gateway/run` installed for this process; `None` if it did not.
pub fn schemathesis() -> Option<PathBuf> {
    std::env::var_os("ROLLCALL_TEST_SCHEMATHESIS").filter(|program| !program.is_empty()).map(PathBuf::from)
}
