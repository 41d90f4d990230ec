//! Bodies of requests that are no uploads: forms and small documents, which come at once.

use std::error::Error;
use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::problem::Problem;
use crate::serve::gateway::Gateway;

const LONGEST: usize = 1 << 20;

/// The whole body of a request.
pub(crate) struct SmallBody(pub(crate) Bytes);

impl FromRequest<Arc<Gateway>> for SmallBody {
    type Rejection = Problem;

    /// # Errors
    /// If it is too long, breaks off, or takes longer than a client may be idle.
    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<SmallBody, Problem> {
        let within = gateway.config.http.idle;
        match timeout(within, to_bytes(request.into_body(), LONGEST)).await {
            Ok(Ok(bytes)) => Ok(SmallBody(bytes)),
            Ok(Err(error)) if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) => {
                let detail = format!("expected at most {LONGEST} bytes, found more; send less");
                Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail))
            }
            Ok(Err(_)) => Err(Problem::bad_request("expected the whole request, found its end before that; send it again")),
            Err(_) => {
                let detail = format!("expected the whole request within {within:?}, found that it goes on; send it again");
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_too_slow", detail))
            }
        }
    }
}
