//! Vocabulary that the pages of the admin listener share.
//!
//! Owns the bounds on request bodies and the form of JSON answers. Never routes a request.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use serde::Serialize;

use crate::base::clock::{Clock, UnixMillis};
use crate::serve::admin::Process;
use crate::serve::admin::problem::Problem;

/// Size limit of a request body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Time limit for reading a request body.
const BODY_TIME: Duration = Duration::from_secs(5);

/// State that each page receives.
pub(super) type Context = State<Process>;
/// Result of a page.
pub(super) type Answer = Result<Response, Problem>;

/// Reads a whole body, with a bound on its size and on the time it takes.
pub(super) async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let read = axum::body::to_bytes(body, BODY_BYTES_MAX);
    let body = tokio::time::timeout(BODY_TIME, read).await;
    let wrong = |detail| Problem::new(StatusCode::BAD_REQUEST, "invalid_request", detail);
    let body = body.map_err(|_| wrong("the body did not come in time"))?;
    body.map_err(|_| {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes, or broke off");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    })
}

/// An answer with an indented JSON body.
pub(super) fn pretty(page: &impl Serialize) -> Answer {
    let mut body = serde_json::to_string_pretty(page).map_err(|_| fault("cannot be written"))?;
    body.push('\n');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The problem for an internal error.
pub(super) fn fault(detail: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

/// Whole seconds since `then`, for uptimes and ages.
pub(super) fn seconds_since(then: UnixMillis) -> u64 {
    Clock::unix_millis().0.saturating_sub(then.0) / 1000
}
