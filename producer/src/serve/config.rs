//! The gateway's configuration, a TOML file. It is checked as a whole before the gateway does anything.

mod access;
mod bad_config;
mod http;
mod job_options;
mod parsed;
mod triggers;
mod unknown_key;
mod webhook;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub(crate) use access::AccessConfig;
use bad_config::BadConfig;
pub(crate) use http::{HttpConfig, TlsFiles};
pub(crate) use job_options::JobOptions;
pub(crate) use triggers::{Inbox, MissedTicks, NotificationRule, Notifications, Overlap, Schedule};
pub(crate) use unknown_key::{explained, explained_beside};
pub(crate) use webhook::Webhook;

use crate::error::ProducerError;

/// What a gateway does by itself, and whom it lets in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) http: HttpConfig,
    pub(crate) access: AccessConfig,
    pub(crate) exports: ExportsConfig,
    pub(crate) inbox: Option<Inbox>,
    pub(crate) notifications: Option<Notifications>,
    #[serde(rename = "schedule")]
    pub(crate) schedules: Vec<Schedule>,
    #[serde(rename = "webhook")]
    pub(crate) webhooks: Vec<Webhook>,
}

/// Where results may be written beside the places of triggers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExportsConfig {
    /// The beginnings of paths and URLs, such as `s3://results/`.
    pub(crate) allow: Vec<String>,
}

impl Config {
    /// The options of the jobs of all triggers.
    pub(crate) fn job_options(&self) -> impl Iterator<Item = &JobOptions> {
        let of_inbox = self.inbox.iter().map(|inbox| &inbox.options);
        let of_rules = self.notifications.iter().flat_map(|notifications| &notifications.rules).map(|rule| &rule.options);
        of_inbox.chain(of_rules).chain(self.schedules.iter().map(|schedule| &schedule.options))
    }

    /// Reads and checks the file; without one, everything is as by default. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ProducerError::Usage`] with the place in the file.
    pub(crate) fn load(path: Option<&Path>) -> Result<Config, ProducerError> {
        let Some(path) = path else { return Ok(Config::default()) };
        let name = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| ProducerError::Usage(format!("cannot read {name}: {error}; check the path that --config gives")))?;
        let mut config = Config::parse(&text).map_err(|bad| ProducerError::Usage(format!("{name}: {bad}")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.make_absolute(folder);
        config.check().map_err(|bad| ProducerError::Usage(format!("{name}: {bad}")))?;
        Ok(config)
    }

    /// What it says, for whoever has it checked.
    pub(crate) fn in_words(&self) -> String {
        let inbox = self.inbox.as_ref().map(|inbox| format!("an inbox at {}", inbox.path.display()));
        let notifications = self
            .notifications
            .as_ref()
            .map(|found| format!("notifications from exchange {}, with {} rules", found.exchange, found.rules.len()));
        let some = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let parts = [inbox, notifications, some(self.schedules.len(), "schedules"), some(self.webhooks.len(), "webhooks")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => "the configuration is right: uploads alone".to_owned(),
            false => format!("the configuration is right: {}", parts.join(", ")),
        }
    }

    fn parse(text: &str) -> Result<Config, BadConfig> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let found = explained(error.message());
            line.map_or_else(|| BadConfig(found.clone()), |line| BadConfig(format!("line {line}: {found}")))
        })
    }

    /// What no single value shows.
    fn check(&self) -> Result<(), BadConfig> {
        if let Some(inbox) = &self.inbox {
            inbox.check()?;
        }
        if let Some(notifications) = &self.notifications {
            notifications.check()?;
        }
        refuse_repeated("schedule", self.schedules.iter().map(|schedule| schedule.name.as_str()))?;
        refuse_repeated("webhook", self.webhooks.iter().map(|webhook| webhook.name.as_str()))?;
        self.schedules.iter().try_for_each(Schedule::check)?;
        self.webhooks.iter().try_for_each(Webhook::check)?;
        self.access.check()
    }

    fn make_absolute(&mut self, folder: &Path) {
        let join = |path: &mut PathBuf| *path = folder.join(&path);
        self.access.tokens.iter_mut().for_each(join);
        self.inbox.iter_mut().for_each(|inbox| join(&mut inbox.path));
        self.webhooks.iter_mut().filter_map(|webhook| webhook.secret_file.as_mut()).for_each(join);
        if let Some(tls) = &mut self.http.tls {
            join(&mut tls.certificate);
            join(&mut tls.key);
        }
    }
}

fn refuse_repeated<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), BadConfig> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(BadConfig(format!(
                "expected each [[{what}]] to have a name of its own, found {name:?} twice; rename one"
            )));
        }
    }
    Ok(())
}
