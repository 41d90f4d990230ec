//! The form as a browser sends it (multipart/form-data, RFC 7578): fields, then the file, which is passed on as it arrives.

use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use futures_util::stream::unfold;
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::time::timeout;

use crate::serve::api::{UploadParameters, filled};
use crate::serve::http::problem::Problem;
use crate::serve::http::tokens::Principal;
use crate::serve::upload::{Upload, UploadFault};

/// The name of the file's field.
const FILE: &str = "file";

/// All other fields are short: the longest is a list of columns.
const FIELD_BYTES: u64 = 64 << 10;

/// The form has about 15 fields.
const FIELDS: usize = 64;

/// What a form has sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) fields: Vec<(String, String)>,
    pub(super) file_name: String,
    /// The contents of the file, as they arrive.
    body: Body,
}

impl Sent {
    /// Receives the fields up to the file.
    ///
    /// # Errors
    /// If it is no such form, or nothing comes for as long as `idle`.
    pub(super) async fn receive(request: Request, idle: Duration) -> Result<Sent, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(kind)
            .map_err(|_| Problem::bad_request("expected a form of the type multipart/form-data, found another request"))?;
        let limits = SizeLimit::new().per_field(FIELD_BYTES).for_field(FILE, u64::MAX);
        let constraints = Constraints::new().size_limit(limits);
        let form = Multipart::with_constraints(request.into_body().into_data_stream(), boundary, constraints);
        timeout(idle, Sent::read(form)).await.map_err(|_| UploadFault::Idle(idle))?
    }

    /// What is to be done with the file, and its contents.
    ///
    /// # Errors
    /// If a field is wrong.
    pub(super) fn into_upload(self, by: &Principal) -> Result<(Upload, Body), Problem> {
        let Sent { fields, file_name, body } = self;
        let UploadParameters { model, job, options, .. } = UploadParameters::read(filled(fields))?;
        Ok((Upload { model, job, file_name: Some(file_name), sender: by.name.clone(), options }, body))
    }

    async fn read(mut form: Multipart<'static>) -> Result<Sent, Problem> {
        let broken =
            |error: multer::Error| Problem::bad_request(format!("expected a whole form, found a fault: {error}; send it again"));
        let mut fields = Vec::new();
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            if name == FILE {
                let file_name = field.file_name().unwrap_or_default().to_owned();
                if file_name.is_empty() {
                    break;
                }
                return Ok(Sent { fields, file_name, body: file(field, form) });
            }
            if fields.len() == FIELDS {
                return Err(Problem::bad_request(format!("expected at most {FIELDS} fields before the file, found more")));
            }
            fields.push((name, field.text().await.map_err(broken)?));
        }
        Err(Problem::bad_request("expected a file, found none; choose one"))
    }
}

/// The bytes of the file. Whatever follows it was meant to be known before, and so makes the upload fail.
fn file(field: Field<'static>, form: Multipart<'static>) -> Body {
    Body::from_stream(unfold(Some((field, form)), async |at| {
        let (mut field, mut form) = at?;
        let ended: Result<Bytes, BoxError> = match field.chunk().await {
            Ok(Some(bytes)) => return Some((Ok(bytes), Some((field, form)))),
            Ok(None) => {
                // A form goes on only when its field is gone.
                drop(field);
                match form.next_field().await {
                    Ok(None) => return None,
                    Ok(Some(_)) => Err(UploadFault::FieldAfterFile.into()),
                    Err(error) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        };
        Some((ended, None))
    }))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn request(body: impl Into<Body>) -> Request {
        Request::builder().header(header::CONTENT_TYPE, "multipart/form-data; boundary=b").body(body.into()).unwrap()
    }

    const MODEL: &str = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nrisk\r\n";
    const FILE: &str = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"c.csv\"\r\n\r\na,b\r\n1,2\r\n";

    async fn whole(body: String) -> Result<Bytes, axum::Error> {
        Ok(Sent::receive(request(body), IDLE).await.unwrap().body.collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn the_fields_come_first_and_the_file_as_it_is() {
        let sent = Sent::receive(request(format!("{MODEL}{FILE}--b--\r\n")), IDLE).await.unwrap();
        assert_eq!((sent.fields, sent.file_name.as_str()), (vec![("model".to_owned(), "risk".to_owned())], "c.csv"));
        assert_eq!(sent.body.collect().await.unwrap().to_bytes(), "a,b\r\n1,2");
    }

    #[tokio::test]
    async fn a_field_behind_the_file_makes_the_upload_fail() {
        let error = whole(format!("{FILE}{MODEL}--b--\r\n")).await.unwrap_err();
        assert_eq!(UploadFault::of(&error), Some(UploadFault::FieldAfterFile));
    }

    #[tokio::test]
    async fn a_form_that_ends_before_its_end_is_not_a_whole_file() {
        for cut in [FILE.len() - 2, FILE.len(), FILE.len() + 3] {
            let body = &format!("{FILE}--b--\r\n")[..cut];
            assert!(whole(body.to_owned()).await.is_err(), "{body:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_form_with_a_file_is_refused() {
        let refused = async |body: String| Sent::receive(request(body), IDLE).await.unwrap_err().detail().to_owned();
        assert!(refused(format!("{MODEL}--b--\r\n")).await.contains("expected a file, found none"));
        let unnamed = FILE.replace("c.csv", "");
        assert!(refused(format!("{unnamed}--b--\r\n")).await.contains("expected a file, found none"));
        assert!(refused("no form".to_owned()).await.contains("expected a whole form"));
        let long = MODEL.replace("risk", &"x".repeat(100_000));
        assert!(refused(format!("{long}--b--\r\n")).await.contains("expected a whole form"));
        let request = Request::builder().body(Body::empty()).unwrap();
        assert!(Sent::receive(request, IDLE).await.unwrap_err().detail().contains("multipart/form-data"));
    }

    #[tokio::test]
    async fn a_form_that_does_not_go_on_is_not_waited_for() {
        let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, BoxError>>());
        let problem = Sent::receive(request(silent), Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(problem.code(), "upload_too_slow");
    }
}
