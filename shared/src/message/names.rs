//! Names that are parts of routing keys: jobs and models. The index of a company in its job.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest job, model or prefix name, in bytes: `<prefix>.retry.<model>.<delay>` must fit AMQP's 255-byte short string with room to spare.
pub const MAX_NAME_BYTES: usize = 64;

/// Text that cannot be a word of a routing key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a {what} of 1 to {MAX_NAME_BYTES} letters, digits, '-' or '_', beginning with a letter or digit, found {found:?}"
)]
pub struct BadName {
    what: &'static str,
    found: String,
}

fn checked(what: &'static str, name: &str) -> Result<Arc<str>, BadName> {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fits { Ok(name.into()) } else { Err(BadName { what, found: name.chars().take(MAX_NAME_BYTES).collect() }) }
}

/// Checks the first word of every name on the broker: it must leave room for the rest.
///
/// # Errors
/// [`BadName`].
pub fn parse_prefix(name: &str) -> Result<String, BadName> {
    checked("prefix", name).map(|name| name.as_ref().to_owned())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(name: &str) -> Result<Self, BadName> {
                checked($what, name).map($name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// One run of one model over one file of companies.
    Job,
    "job name"
);
name!(
    /// The name of a scorer that consumers run; it is part of the name of the work queue.
    Model,
    "model name"
);

impl Job {
    /// A new unique name (UUID version 7, RFC 9562); later ones sort after earlier ones.
    pub fn unique() -> Job {
        Job(uuid::Uuid::now_v7().to_string().into())
    }
}

/// The index of a company in its job: the row of the file, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Index(pub u32);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_routing_key() {
        for good in ["risk", "a", "2026-11-risk_v2", &"x".repeat(MAX_NAME_BYTES)] {
            assert_eq!(good.parse::<Job>().unwrap().as_str(), good);
        }
        for bad in ["", "a.b", "#", "*", "-a", "_a", "a b", "é", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(bad.parse::<Model>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unique_jobs_sort_in_the_order_they_were_made() {
        let jobs: Vec<Job> = (0..100).map(|_| Job::unique()).collect();
        assert!(jobs.is_sorted());
    }
}
