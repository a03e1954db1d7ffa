//! Errors of the admin listener as `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::decide::rejection::answer::PROBLEM_JSON;

/// An error for the operator: unlike a refusal it says all there is to say.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let mut members = Map::new();
        members.insert("status".to_owned(), json!(status.as_u16()));
        members.insert("title".to_owned(), json!(status.canonical_reason().unwrap_or("Error")));
        members.insert("code".to_owned(), json!(code));
        members.insert("detail".to_owned(), json!(detail.into()));
        Self { status, members }
    }

    /// With a member of its own.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = format!("{:#}", Value::Object(self.members));
        body.push('\n');
        let media_type = HeaderValue::from_static(PROBLEM_JSON);
        let mut response =
            (self.status, [(header::CONTENT_TYPE, media_type)], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"gatepost admin\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
