//! Takes the rest of a request's body that its handler does not want. Many clients read no answer before they have sent everything, and would see
//! their connection reset in place of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;

/// So long at most, and as long as no pause is longer.
const WITHIN: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Drains the body of each request, unless its client waits to be asked for it, and was not.
pub(crate) async fn drain(request: Request, next: Next) -> Response {
    let is_sent = !request.headers().contains_key(header::EXPECT);
    next.run(request.map(|body| Body::new(DrainOnDrop { body: Some(body), is_sent }))).await
}

struct DrainOnDrop {
    /// `None` once it has ended.
    body: Option<Body>,
    /// Whether the client sends it: it waits for nothing, or was asked.
    is_sent: bool,
}

impl HttpBody for DrainOnDrop {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_sent = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|rest| self.is_sent && !rest.is_end_stream());
        let (Some(mut rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(timeout(WITHIN, async move { while let Ok(Some(Ok(_))) = timeout(LONGEST_PAUSE, rest.frame()).await {} }));
    }
}
