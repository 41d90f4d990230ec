//! `[inbox]`, `[notifications]` and `[[schedule]]`: what starts jobs.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use chrono_tz::Tz;
use croner::Cron;
use rollcall_shared::message::Model;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::bad_config::BadConfig;
use super::job_options::JobOptions;
use super::parsed;
use crate::location::Location;

/// A folder with a folder for each model: a file that is put there is enqueued.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inbox {
    pub(crate) path: PathBuf,
    /// A file that was not renamed into the folder is whole once it has not changed for so long.
    #[serde(default = "settle", deserialize_with = "parsed::duration")]
    pub(crate) settle: Duration,
    /// The options of its jobs.
    #[serde(default)]
    pub(crate) options: JobOptions,
}

fn settle() -> Duration {
    Duration::from_secs(5)
}

impl Inbox {
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        self.options.check().map_err(|bad| BadConfig(format!("[inbox.options] {bad}")))
    }
}

/// An exchange on which an object storage publishes what happens to its objects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notifications {
    pub(crate) exchange: String,
    /// Which of its messages: the routing key of a binding.
    #[serde(default = "every_key")]
    pub(crate) routing_key: String,
    /// The first rule that an object fits says what becomes of it; one that fits none is none of the gateway's business.
    #[serde(rename = "rule")]
    pub(crate) rules: Vec<NotificationRule>,
}

fn every_key() -> String {
    "#".to_owned()
}

/// Which objects are enqueued for which model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotificationRule {
    pub(crate) bucket: String,
    #[serde(default)]
    pub(crate) prefix: String,
    #[serde(default)]
    pub(crate) suffix: String,
    /// The URL of the bucket's objects, where `{bucket}` and `{key}` are replaced.
    #[serde(default = "s3")]
    pub(crate) object: String,
    pub(crate) model: Model,
    #[serde(default)]
    pub(crate) options: JobOptions,
}

fn s3() -> String {
    "s3://{bucket}/{key}".to_owned()
}

impl NotificationRule {
    /// The URL of an object.
    pub(crate) fn url_of(&self, bucket: &str, key: &str) -> String {
        // The key last: it may have braces in it.
        self.object.replace("{bucket}", bucket).replace("{key}", key)
    }
}

impl Notifications {
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        if self.exchange.is_empty() {
            return Err(BadConfig("[notifications]: expected the name of an exchange, found nothing".to_owned()));
        }
        if self.rules.is_empty() {
            return Err(BadConfig(
                "[notifications]: expected [[notifications.rule]] with bucket and model, found none; without one, nothing is enqueued"
                    .to_owned(),
            ));
        }
        self.rules.iter().try_for_each(|rule| {
            let object = rule.url_of(&rule.bucket, "key").parse::<Location>();
            object.map_err(|error| BadConfig(format!("[notifications.rule] object of bucket {}: {error}", rule.bucket)))?;
            rule.options
                .check()
                .map_err(|bad| BadConfig(format!("[notifications.rule.options] of bucket {}: {bad}", rule.bucket)))
        })
    }
}

/// A file that is enqueued at certain times.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    /// Begins the names of its jobs.
    pub(crate) name: String,
    /// When: five fields, or six with seconds first.
    #[serde(deserialize_with = "parsed::parsed")]
    pub(crate) cron: Times,
    /// The zone of its times, such as `Europe/Berlin`.
    #[serde(default = "utc", deserialize_with = "time_zone")]
    pub(crate) time_zone: Tz,
    /// What is enqueued: a path or a URL.
    #[serde(deserialize_with = "parsed::parsed")]
    pub(crate) file: Location,
    pub(crate) model: Model,
    #[serde(default)]
    pub(crate) missed: MissedTicks,
    #[serde(default)]
    pub(crate) overlap: Overlap,
    #[serde(default)]
    pub(crate) options: JobOptions,
}

/// The times of a cron line.
#[derive(Debug, Clone)]
pub(crate) struct Times(pub(crate) Box<Cron>);

impl std::str::FromStr for Times {
    type Err = BadConfig;
    fn from_str(line: &str) -> Result<Times, BadConfig> {
        let cron = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Optional).build().parse(line);
        let cron =
            cron.map_err(|error| BadConfig(format!("expected a cron line such as \"0 6 * * 1-5\", found {line:?}: {error}")))?;
        Ok(Times(Box::new(cron)))
    }
}

fn time_zone<'de, D: Deserializer<'de>>(from: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(from)?;
    name.parse().map_err(|_| D::Error::custom(format!("expected a time zone such as \"Europe/Berlin\", found {name:?}")))
}

fn utc() -> Tz {
    Tz::UTC
}

/// What becomes of times at which no gateway ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MissedTicks {
    /// One job in place of all of them, as soon as one runs again.
    #[default]
    RunOnce,
    /// Nothing.
    Skip,
}

/// What happens at a time when an earlier job of the schedule has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overlap {
    /// Another job starts.
    #[default]
    Allow,
    /// No job starts.
    Skip,
    /// The earlier ones are cancelled, and another starts.
    CancelOlder,
}

impl Schedule {
    pub(super) fn check(&self) -> Result<(), BadConfig> {
        let name = &self.name;
        // A job's name has 64 bytes: the schedule's name and a time such as -20270131T060000Z.
        const LONGEST: usize = 40;
        Model::from_str(name).map_err(|error| BadConfig(format!("[[schedule]] name: {error}")))?;
        if name.len() > LONGEST {
            return Err(BadConfig(format!("[[schedule]] name: expected at most {LONGEST} bytes, found {name:?}; shorten it")));
        }
        if self.cron.0.find_next_occurrence(&chrono::Utc::now(), false).is_err() {
            return Err(BadConfig(format!(
                "[[schedule]] {name}: expected a cron line that has times to come, found one without"
            )));
        }
        if self.file == Location::Standard {
            return Err(BadConfig(format!(
                "[[schedule]] {name}: expected a file, found -, which is read only once; name a file"
            )));
        }
        self.options.check().map_err(|bad| BadConfig(format!("[[schedule]] {name}: options: {bad}")))
    }
}
