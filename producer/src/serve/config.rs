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
pub(crate) use bad_config::BadConfig;
pub(crate) use http::{HttpConfig, TlsFiles};
pub(crate) use job_options::{JobOptions, with_option_names};
pub(crate) use triggers::{Inbox, MissedTicks, NotificationRule, Notifications, Overlap, Schedule};
pub(crate) use unknown_key::{explained, explained_beside};
pub(crate) use webhook::Webhook;

use crate::cli::ResultsTo;
use crate::error::ProducerError;
use crate::location::Location;

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

    fn job_options_mut(&mut self) -> impl Iterator<Item = &mut JobOptions> {
        let of_inbox = self.inbox.iter_mut().map(|inbox| &mut inbox.options);
        let of_rules = self.notifications.iter_mut().flat_map(|notifications| &mut notifications.rules);
        of_inbox
            .chain(of_rules.map(|rule| &mut rule.options))
            .chain(self.schedules.iter_mut().map(|schedule| &mut schedule.options))
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
        // Gateways that are started in different folders mean the same places.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        config.make_absolute(absolute.parent().unwrap_or(Path::new("/")));
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
        let some = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
        let parts = [inbox, notifications, some(self.schedules.len(), "schedule"), some(self.webhooks.len(), "webhook")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let what = if parts.is_empty() { "uploads alone".to_owned() } else { parts.join(", ") };
        let lines = std::iter::once(format!("the configuration is right: {what}")).chain(self.missing_files());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What the configuration names and this machine does not have: the one that the gateway runs on may.
    fn missing_files(&self) -> impl Iterator<Item = String> {
        let inbox = self.inbox.iter().map(|inbox| ("[inbox] path", inbox.path.as_path()));
        let files = self.schedules.iter().filter_map(|schedule| match &schedule.file {
            Location::Path(path) => Some(("[[schedule]] file", path.as_path())),
            _ => None,
        });
        let places = self.job_options().filter_map(|options| options.results_to.as_ref()).map(ResultsTo::within);
        let places = places.chain(self.exports.allow.iter().map(String::as_str)).filter(|place| !place.contains("://"));
        let folders =
            places.filter_map(|place| Path::new(place).parent().filter(|_| !place.ends_with('/')).or(Some(Path::new(place))));
        let named = inbox.chain(files).chain(folders.map(|folder| ("folder of results", folder)));
        named.filter(|(_, path)| !path.exists()).map(|(what, path)| format!("not there yet: {what}, {}", path.display()))
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
        self.job_options().filter_map(|options| options.results_to.as_ref()).try_for_each(|to| refuse_all(to.within()))?;
        self.exports.allow.iter().try_for_each(|place| refuse_all(place))?;
        self.access.check()
    }

    fn make_absolute(&mut self, folder: &Path) {
        let join = |path: &mut PathBuf| *path = folder.join(&path);
        self.access.tokens.iter_mut().for_each(join);
        self.inbox.iter_mut().for_each(|inbox| join(&mut inbox.path));
        self.webhooks.iter_mut().filter_map(|webhook| webhook.secret_file.as_mut()).for_each(join);
        for schedule in &mut self.schedules {
            if let Location::Path(path) = &mut schedule.file {
                join(path);
            }
        }
        for place in &mut self.exports.allow {
            if let Ok(Location::Path(path)) = place.parse() {
                *place = folder.join(path).to_string_lossy().into_owned();
            }
        }
        for options in self.job_options_mut() {
            options.results_to = options.results_to.take().map(|to| to.in_folder(folder));
        }
        if let Some(tls) = &mut self.http.tls {
            join(&mut tls.certificate);
            join(&mut tls.key);
        }
    }
}

/// Results may be written to a place that the gateway is told, and not to all of them.
fn refuse_all(place: &str) -> Result<(), BadConfig> {
    let (store, path) = place.split_once("://").map_or(("", place), |(store, path)| (store, path));
    let is_some = if store.is_empty() { !path.trim_matches('/').is_empty() } else { !path.is_empty() && !path.starts_with('/') };
    if is_some {
        return Ok(());
    }
    Err(BadConfig(format!(
        "expected a folder or a bucket for results, such as s3://results/ or /srv/results/, found {place:?}, which is any; name one before the first {{"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> (tempfile::TempDir, Result<Config, ProducerError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path));
        (folder, config)
    }

    #[test]
    fn paths_are_those_beside_the_file_and_what_is_not_there_is_named() {
        let (folder, config) = load(
            "[exports]\nallow = [\"kept/\", \"s3://results/\"]\n[inbox]\npath = \"in\"\noptions = { results_to = \"out/{job}.csv\" }\n\
             [[schedule]]\nname = \"n\"\ncron = \"0 2 * * *\"\nmodel = \"m\"\nfile = \"all.csv\"\n",
        );
        let config = config.unwrap();
        let within = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let results_to = config.inbox.as_ref().unwrap().options.results_to.as_ref().unwrap();
        assert_eq!(results_to.within(), within("out/"));
        assert_eq!(config.exports.allow, [within("kept/"), "s3://results/".to_owned()]);
        assert_eq!(config.schedules[0].file, Location::Path(folder.path().join("all.csv")));
        let words = config.in_words();
        for missing in ["in", "all.csv", "out", "kept"] {
            assert!(words.contains(&within(missing)), "{missing}: {words}");
        }
        for name in ["in", "out", "kept"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("all.csv"), "").unwrap();
        assert!(!config.in_words().contains("not there yet"), "{}", config.in_words());
    }

    #[test]
    fn results_that_could_go_anywhere_are_refused() {
        let inbox = |to: &str| format!("[inbox]\npath = \"in\"\noptions = {{ results_to = \"{to}\" }}\n");
        let exports = |place: &str| format!("[exports]\nallow = [\"{place}\"]\n");
        for text in [inbox("s3://{model}/{job}.csv"), inbox("/{job}.csv"), exports("s3://"), exports("/")] {
            let refused = load(&text).1.unwrap_err().to_string();
            assert!(refused.contains("which is any"), "{text}: {refused}");
        }
        load(&inbox("{job}.csv")).1.unwrap();
    }

    #[test]
    fn times_that_never_come_and_unknown_zones_are_refused() {
        let schedule = |line: &str| format!("[[schedule]]\nname = \"n\"\nmodel = \"m\"\nfile = \"c.csv\"\n{line}\n");
        for (line, words) in
            [("cron = \"0 2 30 2 *\"", "times to come"), ("cron = \"0 2 * * *\"\ntime_zone = \"Berlin\"", "Europe/Berlin")]
        {
            let refused = load(&schedule(line)).1.unwrap_err().to_string();
            assert!(refused.contains(words), "{line}: {refused}");
        }
    }
}
