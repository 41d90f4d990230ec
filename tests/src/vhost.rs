//! A vhost for each test, so that tests share a broker and nothing else.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fleet::project;

/// More than tests ask for, some of them several times; making them all at once costs as much as making one.
const VHOSTS: usize = 256;

/// A vhost that nobody else uses, or, on a broker that is not ours to administer, a prefix that nobody else uses.
#[derive(Debug, Clone)]
pub struct Vhost {
    /// The URL of the vhost.
    pub url: String,
    /// The prefix of the names in it.
    pub prefix: String,
}

impl Vhost {
    /// A fresh one, on the broker that `AMQP_URL` names.
    ///
    /// # Panics
    /// Where `AMQP_URL` is not set: `make test` sets it; or where more are asked for than there are.
    pub fn fresh() -> Vhost {
        static MADE: OnceLock<()> = OnceLock::new();
        Vhost::numbered(|broker, run, number| {
            assert!(number <= VHOSTS, "tests ask for more vhosts than are made: raise VHOSTS");
            MADE.get_or_init(|| make(broker, run, 1, VHOSTS));
        })
    }

    /// The same, made when it is asked for: the broker then has nothing beside it, which a benchmark would measure too.
    ///
    /// # Panics
    /// Where `AMQP_URL` is not set.
    pub fn alone() -> Vhost {
        Vhost::numbered(|broker, run, number| make(broker, run, number, number))
    }

    fn numbered(make: impl Fn(&str, &str, usize)) -> Vhost {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let url = std::env::var("AMQP_URL").expect("expected AMQP_URL to name a broker; run the tests by `make test`");
        let run = run_name();
        match std::env::var("ROLLCALL_TEST_BROKER") {
            Ok(broker) => {
                make(&broker, run, number);
                let (server, _) = url.rsplit_once('/').expect("expected a vhost at the end of AMQP_URL");
                Vhost { url: format!("{server}/{run}-{number}"), prefix: "rollcall".to_owned() }
            }
            Err(_) => Vhost { url, prefix: format!("{run}-{number}") },
        }
    }
}

/// A name for this run of the tests: the broker may remember another.
fn run_name() -> &'static str {
    static RUN: OnceLock<String> = OnceLock::new();
    RUN.get_or_init(|| format!("test-{}", std::process::id()))
}

fn make(broker: &str, run: &str, first: usize, last: usize) {
    let make = format!(
        r#"[begin V = iolist_to_binary(io_lib:format("{run}-~b", [N])), rabbit_vhost:add(V, <<"tests">>),
           rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
           end || N <- lists:seq({first}, {last})], ok."#
    );
    let made = Command::new(project().join("deploy/local/broker")).args(["ctl", broker, "-q", "eval", &make]).output().unwrap();
    assert!(made.status.success(), "cannot make vhosts: {}", String::from_utf8_lossy(&made.stderr));
}
