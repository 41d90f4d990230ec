//! What `aws configure` has written: keys, region and endpoint of a profile in `~/.aws/credentials` and `~/.aws/config`.
//!
//! Read here, since the client of object storage reads the environment alone, and a crate that reads these files brings a whole SDK.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use super::error::ObjectError;

/// A profile's settings, by their names in the files.
#[derive(Default)]
pub(super) struct AwsProfile {
    settings: HashMap<String, String>,
}

/// Without the settings, which have keys.
impl fmt::Debug for AwsProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsProfile").finish_non_exhaustive()
    }
}

/// What a profile may have in place of keys, and what the command does not do.
const NOT_STATIC: [&str; 6] =
    ["sso_session", "sso_start_url", "role_arn", "credential_process", "web_identity_token_file", "credential_source"];

impl AwsProfile {
    /// The profile that `AWS_PROFILE` names, or else `default`; empty if there is none. `variable` reads the environment.
    ///
    /// # Errors
    /// If the profile that is named is in neither file.
    pub(super) fn load(variable: impl Fn(&str) -> Option<String>) -> Result<AwsProfile, ObjectError> {
        let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
        let file = |name: &str, usual: &str| {
            let path = variable(name).map_or_else(|| home.join(usual), PathBuf::from);
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let named = variable("AWS_PROFILE");
        let name = named.as_deref().unwrap_or("default");
        let config = section(&file("AWS_CONFIG_FILE", ".aws/config"), &[&format!("profile {name}"), name]);
        let credentials = section(&file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), &[name]);
        if named.is_some() && config.is_none() && credentials.is_none() {
            return Err(ObjectError::BadSettings(format!(
                "AWS_PROFILE={name}, a profile that is in neither file of `aws configure`"
            )));
        }
        let mut settings = config.unwrap_or_default();
        settings.extend(credentials.unwrap_or_default());
        Ok(AwsProfile { settings })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Its access key and secret key; `None` if it has none.
    ///
    /// # Errors
    /// If its credentials are to be fetched in a way that only AWS's own tools know.
    pub(super) fn keys(&self) -> Result<Option<(&str, &str)>, ObjectError> {
        if let (Some(key), Some(secret)) = (self.get("aws_access_key_id"), self.get("aws_secret_access_key")) {
            return Ok(Some((key, secret)));
        }
        match NOT_STATIC.iter().find(|name| self.get(name).is_some()) {
            None => Ok(None),
            Some(name) => Err(ObjectError::NoCredentials {
                found: format!("a profile with {name}, which only AWS's own tools can follow"),
                advice: "run `eval \"$(aws configure export-credentials --format env)\"`, which sets AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
            }),
        }
    }
}

/// The settings of the sections of these names; `None` if the file has none of them. Lines that are indented belong to a setting above, such
/// as those below `s3 =`.
fn section(text: &str, names: &[&str]) -> Option<HashMap<String, String>> {
    let (mut found, mut is_in) = (None, false);
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(header) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let header = header.split_whitespace().collect::<Vec<_>>().join(" ");
            is_in = names.contains(&header.as_str());
            if is_in {
                found.get_or_insert_with(HashMap::new);
            }
        } else if is_in
            && !line.starts_with([' ', '\t', '#', ';'])
            && let (Some((name, value)), Some(settings)) = (trimmed.split_once('='), &mut found)
        {
            let value = value.split(" #").next().unwrap_or_default().split(" ;").next().unwrap_or_default();
            settings.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CONFIG: &str = "# by hand\n[default]\nregion = eu-west-1 # Ireland\ns3 =\n  region = no\n  max_concurrent_requests = 20\n\n[profile  work]\nregion=us-east-2\nendpoint_url = http://127.0.0.1:9000\n[profile sso]\nsso_session = company\nregion = eu-north-1\n[services x]\nregion = no\n";
    const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIDEFAULT\naws_secret_access_key = a+b/c=d\n; old\n[work]\nAWS_ACCESS_KEY_ID=AKIWORK\naws_secret_access_key=w\naws_session_token=t\n";

    fn profile(named: Option<&str>) -> Result<AwsProfile, ObjectError> {
        let folder = tempfile::tempdir().unwrap();
        let aws = folder.path().join(".aws");
        std::fs::create_dir(&aws).unwrap();
        std::fs::write(aws.join("config"), CONFIG).unwrap();
        std::fs::write(aws.join("other"), CREDENTIALS).unwrap();
        let path = |path: &Path| Some(path.to_str().unwrap().to_owned());
        AwsProfile::load(|variable| match variable {
            "HOME" => path(folder.path()),
            "AWS_SHARED_CREDENTIALS_FILE" => path(&aws.join("other")),
            "AWS_PROFILE" => named.map(str::to_owned),
            _ => None,
        })
    }

    #[test]
    fn a_profile_is_read_from_both_files_with_its_keys_and_region() {
        let default = profile(None).unwrap();
        assert_eq!((default.keys(), default.get("region")), (Ok(Some(("AKIDEFAULT", "a+b/c=d"))), Some("eu-west-1")));
        let work = profile(Some("work")).unwrap();
        assert_eq!(work.keys(), Ok(Some(("AKIWORK", "w"))));
        let settings = ["aws_session_token", "region", "endpoint_url"].map(|name| work.get(name));
        assert_eq!(settings, [Some("t"), Some("us-east-2"), Some("http://127.0.0.1:9000")]);
        let none = AwsProfile::load(|_| None).unwrap();
        assert_eq!((none.keys(), none.get("region")), (Ok(None), None));
    }

    #[test]
    fn a_profile_that_needs_more_than_keys_says_what_to_set_and_one_that_is_nowhere_its_name() {
        let refused = profile(Some("sso")).unwrap().keys().unwrap_err().to_string();
        assert!(refused.contains("sso_session") && refused.contains("AWS_SESSION_TOKEN"), "{refused}");
        let refused = profile(Some("absent")).unwrap_err().to_string();
        assert!(refused.contains("AWS_PROFILE=absent"), "{refused}");
    }
}
