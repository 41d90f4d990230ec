//! Errors as problem details (RFC 9457), with a stable code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rollcall_shared::broker::BrokerError;
use rollcall_shared::terminal::escape_controls;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ProducerError;
use crate::serve::config::with_option_names;

/// Why a request has failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:rollcall:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A stable code, for programs.
    code: &'static str,
    /// What was expected, what was found, and what to do, for people.
    detail: String,
    /// The job that the request has made, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(skip)]
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem of this status and code.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl AsRef<str>) -> Problem {
        Problem {
            kind: format!("urn:rollcall:problem:{code}"),
            title: status.canonical_reason().unwrap_or("error"),
            status: status.as_u16(),
            code,
            detail: escape_controls(detail.as_ref()).into_owned(),
            job: None,
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(detail: impl AsRef<str>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn of_job(self, job: &impl ToString) -> Problem {
        Problem { job: Some(job.to_string()), ..self }
    }

    /// With the seconds after which another try makes sense.
    pub(crate) fn retry_after(self, seconds: u32) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status(), self.retry_after);
        let mut response = (status, Json(&self)).into_response();
        // For a browser it is shown as a page.
        response.extensions_mut().insert(self);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rollcall\""));
        }
        response
    }
}

/// How long a client should wait for a broker or an aggregator that is away.
const AWAY_RETRY_SECONDS: u32 = 5;

impl From<ProducerError> for Problem {
    fn from(error: ProducerError) -> Problem {
        let code = error.code();
        let status = match code {
            "usage" => StatusCode::BAD_REQUEST,
            "bad_input" => StatusCode::UNPROCESSABLE_ENTITY,
            "no_such_job" => StatusCode::NOT_FOUND,
            "job_name_taken" | "nothing_to_continue" | "job_state" | "ledger_incomplete" | "redrive_incomplete" => {
                StatusCode::CONFLICT
            }
            "job_gone" => StatusCode::GONE,
            "no_aggregator" | "broker" | "interrupted" => StatusCode::SERVICE_UNAVAILABLE,
            "aggregator_refused" => StatusCode::BAD_GATEWAY,
            _ if matches!(error, ProducerError::Broker(BrokerError::OutOfResources(_))) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let detail = match &error {
            // Their texts have the broker's address, which is not for everybody.
            ProducerError::Broker(BrokerError::Unreachable { .. } | BrokerError::Refused { .. } | BrokerError::Away { .. }) => {
                "expected the broker to answer, found that it does not; try again later, or ask whoever runs the gateway, whose log says why"
                    .to_owned()
            }
            error => with_option_names(&error.to_string()),
        };
        let problem = Problem::new(status, code, detail);
        if status.is_server_error() {
            tracing::warn!(event = "request_failed", code, %error, "a request has failed");
        }
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(AWAY_RETRY_SECONDS) } else { problem }
    }
}

impl From<BrokerError> for Problem {
    fn from(error: BrokerError) -> Problem {
        ProducerError::from(error).into()
    }
}
