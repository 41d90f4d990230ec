//! A vhost for each test, so that tests share a broker and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::broker;
use crate::environment::{broker_url, test_broker};

/// Vhosts that are created in one call. A call starts an Erlang virtual machine, which takes longer than many vhosts; but each vhost takes
/// the longer, the more there are.
const AT_ONCE: usize = 64;

/// A vhost that no other test uses; or, on a broker that the tests do not administer, a prefix that no other test uses.
#[derive(Debug, Clone)]
pub struct Vhost {
    /// The URL of the vhost.
    pub url: String,
    /// The prefix of the names in it.
    pub prefix: String,
}

impl Vhost {
    /// A fresh vhost on the broker that `AMQP_URL` names.
    pub fn fresh() -> Vhost {
        static CREATED: Mutex<usize> = Mutex::new(0);
        Vhost::numbered(|broker, run, number| {
            let mut created = CREATED.lock().unwrap_or_else(PoisonError::into_inner);
            while *created < number {
                create(broker, run, *created + 1, *created + AT_ONCE);
                *created += AT_ONCE;
            }
        })
    }

    /// The same, created alone: the broker then has no idle vhosts, whose cost a benchmark would measure too.
    pub fn alone() -> Vhost {
        Vhost::numbered(|broker, run, number| create(broker, run, number, number))
    }

    fn numbered(create: impl Fn(&str, &str, usize)) -> Vhost {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let url = broker_url();
        let run = run_name();
        match test_broker() {
            Some(broker) => {
                create(&broker, run, number);
                let (server, _) = url.rsplit_once('/').expect("expected a vhost at the end of AMQP_URL");
                Vhost { url: format!("{server}/{run}-{number}"), prefix: "rollcall".to_owned() }
            }
            None => Vhost { url: url.to_owned(), prefix: format!("{run}-{number}") },
        }
    }
}

/// A name for this run: the broker may still have vhosts of an earlier one.
fn run_name() -> &'static str {
    static RUN: OnceLock<String> = OnceLock::new();
    RUN.get_or_init(|| format!("test-{}", std::process::id()))
}

fn create(broker: &str, run: &str, first: usize, last: usize) {
    let create = format!(
        r#"[begin V = iolist_to_binary(io_lib:format("{run}-~b", [N])), rabbit_vhost:add(V, <<"tests">>),
           rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
           end || N <- lists:seq({first}, {last})], ok."#
    );
    let created = broker::script(&["ctl", broker, "-q", "eval", &create]);
    assert!(created.status.success(), "cannot create vhosts: {}", String::from_utf8_lossy(&created.stderr));
}
