//! Where results may be written.

use std::path::{Component, Path};

use crate::serve::config::Config;

/// Where a gateway writes results, as whole files or as folders and buckets: a job's `results_to` may come from anybody who may publish to the
/// broker, and the gateway may be able to write what they may not.
#[derive(Debug, Clone)]
pub(crate) struct ExportPlaces(Vec<String>);

impl ExportPlaces {
    /// Those that the configuration allows, and those to which its triggers write.
    pub(crate) fn of(config: &Config) -> ExportPlaces {
        let of_triggers = config.job_options().filter_map(|options| options.results_to.as_ref());
        let places = of_triggers.map(|to| to.within().to_owned());
        ExportPlaces(places.chain(config.exports.allow.iter().cloned()).collect())
    }

    /// Whether results may be written there.
    pub(crate) fn allow(&self, to: &str) -> bool {
        let climbs = Path::new(to).components().any(|part| part == Component::ParentDir);
        let is_within = |place: &String| {
            to.strip_prefix(place.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !climbs && self.0.iter().any(is_within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_go_only_where_the_configuration_says() {
        let config: Config = toml::from_str(
            "[exports]\nallow = [\"s3://out/\", \"s3://bare\"]\n[inbox]\npath = \"in\"\noptions = { results_to = \"/srv/outbox/{job}.parquet\" }",
        )
        .unwrap();
        let places = ExportPlaces::of(&config);
        for allowed in ["s3://out/a.csv", "s3://bare/a.csv", "/srv/outbox/j.parquet"] {
            assert!(places.allow(allowed), "{allowed}");
        }
        for refused in [
            "s3://other/a.csv",
            "s3://bare-not/a.csv",
            "s3://outer/a.csv",
            "/etc/passwd",
            "/srv/outbox2/a.csv",
            "/srv/outbox/../../etc/cron.d/x.csv",
            "s3://out/../x/a.csv",
            "",
            "a.csv",
        ] {
            assert!(!places.allow(refused), "{refused}");
        }
    }
}
