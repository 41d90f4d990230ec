//! Reads notifications: as Ceph and MinIO publish them to AMQP, in the form of S3's, and as relays pass on those of AWS, by SNS or EventBridge.

use std::borrow::Cow;

use serde_json::Value;

/// An object that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uploaded {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) etag: String,
    pub(super) version: Option<String>,
    size: Option<u64>,
}

impl Uploaded {
    /// What its job will know it by; `None` if the notification says too little.
    pub(super) fn content_hash(&self) -> Option<String> {
        Some(format!("etag:{} size:{}", self.etag, self.size?))
    }
}

/// A message that is no notification.
#[derive(Debug, thiserror::Error)]
#[error("expected a notification of object storage, found {0}")]
pub(super) struct NoNotification(String);

/// An upload, or what is wrong with its record.
type Record = Result<Uploaded, NoNotification>;

/// The uploads that a message is about; none of one that is about something else, such as a deletion.
///
/// # Errors
/// [`NoNotification`].
pub(super) fn uploads(body: &[u8]) -> Result<Vec<Record>, NoNotification> {
    let document: Value = serde_json::from_slice(body).map_err(|error| NoNotification(format!("no JSON: {error}")))?;
    // SNS has the message in a text.
    if let (Some("Notification"), Some(message)) = (document["Type"].as_str(), document["Message"].as_str()) {
        let document =
            serde_json::from_str(message).map_err(|error| NoNotification(format!("no JSON in its Message: {error}")))?;
        return in_document(&document);
    }
    in_document(&document)
}

fn in_document(document: &Value) -> Result<Vec<Record>, NoNotification> {
    // AWS sends it when notifications are configured.
    if document["Event"].as_str() == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if let Some(kind) = document["detail-type"].as_str() {
        return Ok((kind == "Object Created").then(|| of_event_bridge(&document["detail"])).into_iter().collect());
    }
    // MinIO with format=access sends a list of documents with Event in place of Records.
    let wrapped = document.as_array().map(Vec::as_slice).unwrap_or_default();
    let lists = std::iter::once(&document["Records"]).chain(wrapped.iter().map(|one| &one["Event"]));
    let records: Vec<&Value> = lists.filter_map(Value::as_array).flatten().collect();
    if records.is_empty() {
        return Err(NoNotification("no Records".to_owned()));
    }
    Ok(records.into_iter().filter(|record| is_created(record)).map(of_record).collect())
}

fn is_created(record: &Value) -> bool {
    let name = record["eventName"].as_str().unwrap_or_default();
    name.strip_prefix("s3:").unwrap_or(name).starts_with("ObjectCreated:")
}

fn of_record(record: &Value) -> Record {
    let (bucket, object) = (&record["s3"]["bucket"], &record["s3"]["object"]);
    let key = text(&object["key"], "s3.object.key")?;
    // AWS and MinIO encode the key as forms do; Ceph sends it as it is.
    let is_encoded = !record["eventSource"].as_str().unwrap_or_default().starts_with("ceph:");
    let key = if is_encoded { form_decoded(key)? } else { Cow::Borrowed(key) };
    Ok(Uploaded {
        bucket: text(&bucket["name"], "s3.bucket.name")?.to_owned(),
        key: key.into_owned(),
        etag: etag(&object["eTag"], "s3.object.eTag")?,
        version: version(&object["versionId"]),
        size: object["size"].as_u64(),
    })
}

fn of_event_bridge(detail: &Value) -> Record {
    let object = &detail["object"];
    Ok(Uploaded {
        bucket: text(&detail["bucket"]["name"], "detail.bucket.name")?.to_owned(),
        key: text(&object["key"], "detail.object.key")?.to_owned(),
        etag: etag(&object["etag"], "detail.object.etag")?,
        version: version(&object["version-id"]),
        size: object["size"].as_u64(),
    })
}

fn text<'a>(value: &'a Value, place: &str) -> Result<&'a str, NoNotification> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| NoNotification(format!("one without {place}")))
}

fn form_decoded(key: &str) -> Result<Cow<'_, str>, NoNotification> {
    let spaced = key.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded.map(|key| Cow::Owned(key.into_owned())).map_err(|_| NoNotification("a key that is no UTF-8".to_owned()))
}

/// Without one, a later upload of the same key could not be told from this one.
fn etag(value: &Value, place: &str) -> Result<String, NoNotification> {
    text(value, place).map(|etag| etag.trim_matches('"').to_owned())
}

/// An unversioned bucket has none, an empty one, or the text `null`.
fn version(value: &Value) -> Option<String> {
    value.as_str().filter(|version| !["", "null"].contains(version)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/notifications");
        fs::read(folder.join(format!("{name}.json"))).unwrap()
    }

    const ODD: &str = "risk/Zürich + \"50%25\" \\ 東京.csv";

    #[test]
    fn an_upload_is_read_alike_whoever_tells_it() {
        for (name, key) in [
            ("ceph-put", "risk/companies.csv"),
            ("ceph-put-odd-key", ODD),
            ("minio-put", "risk/companies.csv"),
            ("minio-put-odd-key", ODD),
            ("minio-access", "risk/companies.csv"),
            ("aws-put", "risk/companies.csv"),
            ("aws-put-odd-key", ODD),
            ("aws-sns", "risk/companies.csv"),
            ("aws-eventbridge", "risk/companies.csv"),
        ] {
            let found = uploads(&fixture(name)).unwrap();
            let [Ok(upload)] = &found[..] else { panic!("{name}: {found:?}") };
            assert_eq!(upload.key, key, "{name}");
            assert!(["companies", "amzn-s3-demo-bucket"].contains(&upload.bucket.as_str()), "{name}: {upload:?}");
            assert_eq!(upload.content_hash().as_deref(), Some("etag:7cb2e102482cefd85c20c6b7f79dcd2e size:23"), "{name}");
        }
        assert_eq!(uploads(&fixture("aws-two-records")).unwrap().len(), 2);
        let versioned = uploads(&fixture("minio-version-put")).unwrap();
        assert!(versioned[0].as_ref().unwrap().version.is_some(), "{versioned:?}");
    }

    #[test]
    fn what_is_no_upload_is_passed_over_and_what_is_no_notification_is_refused() {
        for name in ["ceph-delete", "minio-delete", "aws-delete", "aws-test", "aws-expired", "ceph-version-marked-deleted"] {
            assert!(uploads(&fixture(name)).unwrap().is_empty(), "{name}");
        }
        for (body, found) in [
            (&b"x"[..], "no JSON"),
            (b"{}", "no Records"),
            (b"[]", "no Records"),
            (br#"{"Type":"Notification","Message":"x"}"#, "no JSON in its Message"),
        ] {
            let error = uploads(body).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
    }

    #[test]
    fn of_several_records_the_good_ones_are_taken_and_the_others_are_refused() {
        let record =
            |object: &str| format!(r#"{{"eventName":"ObjectCreated:Put","s3":{{"bucket":{{"name":"b"}},"object":{object}}}}}"#);
        let records =
            [r#"{"key":"good.csv","eTag":"e"}"#, r#"{"key":"","eTag":"e"}"#, r#"{"key":"no-etag.csv"}"#].map(record).join(",");
        let found = uploads(format!(r#"{{"Records":[{records}]}}"#).as_bytes()).unwrap();
        let words = found.iter().map(|record| record.as_ref().map_or_else(ToString::to_string, |upload| upload.key.clone()));
        let words: Vec<String> = words.collect();
        assert!(words[0] == "good.csv" && words[1].contains("s3.object.key") && words[2].contains("s3.object.eTag"), "{words:?}");
    }
}
