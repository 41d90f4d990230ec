//! Clients of object storage, with the settings that the stores' own tools use.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, GetOptions, GetRange, ObjectStore, RetryConfig};

use super::aws_profile::AwsProfile;
use super::error::{ObjectError, innermost};
use super::identity::Identity;
use super::request::{Answer, Span};
use super::tls::install_tls;
use crate::location::StoreKind;

/// How long to look for credentials: where there are none, the metadata service of a cloud's machine is asked, and on another machine does
/// not answer.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(5);

/// A server that says nothing for this long counts as lost.
const SILENT_FOR: &str = "30s";

/// A part of 8 MiB takes this long at 0.3 Mbit/s.
const PART_WITHIN: &str = "5m";

/// More than any file takes: what counts for reading is how long the server is silent.
const WITHOUT_LIMIT: &str = "1000days";

/// What a client is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To read, with attempts that the reader makes itself, since it knows how far it is.
    Read,
    /// To write, with attempts for each part.
    Write,
    /// To find out whether something can be written.
    Check,
}

impl Purpose {
    fn retry(self) -> RetryConfig {
        match self {
            Purpose::Read => RetryConfig { max_retries: 0, ..RetryConfig::default() },
            Purpose::Check => RetryConfig { max_retries: 2, ..RetryConfig::default() },
            Purpose::Write => {
                RetryConfig { backoff: BackoffConfig::default(), max_retries: 10, retry_timeout: Duration::from_secs(120) }
            }
        }
    }

    /// Timeouts, unless the environment sets them.
    fn timeouts(self) -> Vec<(ClientConfigKey, &'static str)> {
        match self {
            Purpose::Read => vec![(ClientConfigKey::Timeout, WITHOUT_LIMIT), (ClientConfigKey::ReadTimeout, SILENT_FOR)],
            Purpose::Check => vec![(ClientConfigKey::Timeout, SILENT_FOR)],
            Purpose::Write => vec![(ClientConfigKey::Timeout, PART_WITHIN)],
        }
    }
}

/// A bucket, or a container.
#[derive(Clone, Debug)]
pub(super) enum Store {
    S3(Arc<AmazonS3>),
    Gcs(Arc<GoogleCloudStorage>),
    Azure(Arc<MicrosoftAzure>),
}

impl Store {
    /// The bucket of this name, with the settings of the environment, and credentials that have been found.
    pub(super) async fn open(kind: StoreKind, bucket: &str, purpose: Purpose) -> Result<Store, ObjectError> {
        install_tls();
        let (store, is_signed) = match kind {
            StoreKind::S3 => s3(bucket, purpose)?,
            StoreKind::Gcs => gcs(bucket, purpose)?,
            StoreKind::Azure => azure(bucket, purpose)?,
        };
        if is_signed {
            store.find_credentials().await?;
        }
        Ok(store)
    }

    pub(super) fn objects(&self) -> &dyn ObjectStore {
        match self {
            Store::S3(store) => store.as_ref(),
            Store::Gcs(store) => store.as_ref(),
            Store::Azure(store) => store.as_ref(),
        }
    }

    /// Asks for a part of an object.
    pub(super) async fn get(&self, path: &Path, span: Span, expected: Option<&Identity>) -> Result<Answer, ObjectError> {
        let range = match span.end {
            _ if !span.is_part() => None,
            Some(end) => Some(GetRange::Bounded(span.start..end)),
            None => Some(GetRange::Offset(span.start)),
        };
        let if_match = expected.and_then(Identity::strong_etag).map(str::to_owned);
        let options = GetOptions { range, if_match, ..GetOptions::default() };
        let found = self.objects().get_opts(path, options).await.map_err(|error| match (expected, &error) {
            (Some(expected), object_store::Error::Precondition { .. }) => expected.changed_to(&Identity::default()),
            _ => ObjectError::of_store(&error),
        })?;
        let meta = &found.meta;
        let identity = Identity {
            etag: meta.e_tag.clone(),
            version: meta.version.clone(),
            last_modified: Some(meta.last_modified.to_rfc3339()),
            size: Some(meta.size),
        };
        let bytes = found.into_stream().map_err(|error| ObjectError::of_store(&error)).boxed();
        Ok(Answer::Bytes { identity, takes_ranges: true, bytes })
    }

    async fn find_credentials(&self) -> Result<(), ObjectError> {
        let found = async {
            match self {
                Store::S3(store) => store.credentials().get_credential().await.map(drop),
                Store::Gcs(store) => store.credentials().get_credential().await.map(drop),
                Store::Azure(store) => store.credentials().get_credential().await.map(drop),
            }
        };
        let found = match tokio::time::timeout(CREDENTIALS_WITHIN, found).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => innermost(&error),
            Err(_) => "no answer".to_owned(),
        };
        Err(ObjectError::NoCredentials {
            found: format!("none set, and where this machine would have its own: {found}"),
            advice: self.advice(),
        })
    }

    fn advice(&self) -> &'static str {
        match self {
            Store::S3(_) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run `aws configure`, or set AWS_SKIP_SIGNATURE=true for a public bucket"
            }
            Store::Gcs(_) => {
                "set GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login`, or set GOOGLE_SKIP_SIGNATURE=true for a public bucket"
            }
            Store::Azure(_) => {
                "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_SKIP_SIGNATURE=true for a public container"
            }
        }
    }
}

/// The key as the client takes it. It has been checked when the URL was parsed.
pub(super) fn path(key: &str) -> Result<Path, ObjectError> {
    Path::parse(key).map_err(|error| ObjectError::BadAnswer(error.to_string()))
}

/// The variables with this prefix that are set; an empty one counts as unset.
fn variables(prefix: &str) -> impl Iterator<Item = (String, String)> {
    let is_of_the_store = move |(name, value): &(String, String)| name.starts_with(prefix) && !value.is_empty();
    let set = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    set.filter(is_of_the_store).map(|(name, value)| (name.to_ascii_lowercase(), value))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on" | "y" | "t"))
}

fn s3(bucket: &str, purpose: Purpose) -> Result<(Store, bool), ObjectError> {
    let mut builder = purpose
        .timeouts()
        .into_iter()
        .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(AmazonS3ConfigKey::Client(key), value));
    for (name, value) in variables("AWS_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder = with_profile(builder)?;
    let endpoint =
        [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint].iter().find_map(|key| builder.get_config_value(key));
    let is_http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    if is_http {
        builder = builder.with_allow_http(true);
    }
    let is_signed = !is_true(builder.get_config_value(&AmazonS3ConfigKey::SkipSignature));
    builder = builder.with_bucket_name(bucket).with_retry(purpose.retry());
    let store = match builder.clone().build() {
        // A machine without certificates of authorities, to which http is enough.
        Err(_) if is_http => {
            builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::NoSystemCertificates), "true").build()
        }
        built => built,
    };
    let store = store.map_err(|error| ObjectError::of_settings(&error))?;
    Ok((Store::S3(Arc::new(store)), is_signed))
}

/// What the environment leaves open, by the profile; in the order of AWS's own tools.
fn with_profile(mut builder: AmazonS3Builder) -> Result<AmazonS3Builder, ObjectError> {
    let profile = AwsProfile::load(variable)?;
    let is_unset = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_none();
    let has_keys = !is_unset(&builder, AmazonS3ConfigKey::AccessKeyId) || !is_unset(&builder, AmazonS3ConfigKey::SecretAccessKey);
    let is_signed = !is_true(builder.get_config_value(&AmazonS3ConfigKey::SkipSignature));
    let needs_keys = !has_keys && is_signed && is_unset(&builder, AmazonS3ConfigKey::WebIdentityTokenFile);
    if let Some((key, secret)) = if needs_keys { profile.keys()? } else { None } {
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        builder = profile.get("aws_session_token").into_iter().fold(builder, AmazonS3Builder::with_token);
    }
    if let Some(region) = profile.get("region").filter(|_| is_unset(&builder, AmazonS3ConfigKey::Region)) {
        builder = builder.with_region(region);
    }
    let has_endpoint = !is_unset(&builder, AmazonS3ConfigKey::Endpoint) || !is_unset(&builder, AmazonS3ConfigKey::S3Endpoint);
    if let Some(endpoint) = profile.get("endpoint_url").filter(|_| !has_endpoint) {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(builder)
}

fn gcs(bucket: &str, purpose: Purpose) -> Result<(Store, bool), ObjectError> {
    let mut builder = purpose
        .timeouts()
        .into_iter()
        .fold(GoogleCloudStorageBuilder::new(), |builder, (key, value)| builder.with_config(GoogleConfigKey::Client(key), value));
    for (name, value) in variables("GOOGLE_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    let is_signed = !is_true(builder.get_config_value(&GoogleConfigKey::SkipSignature));
    let store =
        builder.with_bucket_name(bucket).with_retry(purpose.retry()).build().map_err(|error| ObjectError::of_settings(&error))?;
    Ok((Store::Gcs(Arc::new(store)), is_signed))
}

fn azure(container: &str, purpose: Purpose) -> Result<(Store, bool), ObjectError> {
    let mut builder = purpose
        .timeouts()
        .into_iter()
        .fold(MicrosoftAzureBuilder::new(), |builder, (key, value)| builder.with_config(AzureConfigKey::Client(key), value));
    for (name, value) in variables("AZURE_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    if builder.get_config_value(&AzureConfigKey::Endpoint).is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let is_signed = !is_true(builder.get_config_value(&AzureConfigKey::SkipSignature));
    let store = builder
        .with_container_name(container)
        .with_retry(purpose.retry())
        .build()
        .map_err(|error| ObjectError::of_settings(&error))?;
    Ok((Store::Azure(Arc::new(store)), is_signed))
}
