//! The client's response, made of the upstream's.
//!
//! Owns the fields that gatepost sets and the upstream's of the same names, which they replace
//! . Never reads a body.

use http::HeaderMap;

use crate::decide::gate::Evidence;
use crate::decide::policy::Route;
use crate::decide::rate_limit;
use crate::decide::request::cors::{self, Registered};
use crate::decide::request::own_cookie;
use crate::decide::response::ResponseHead;

/// The response to an admitted request, and everything its fields are made of.
#[derive(Clone, Copy, Debug)]
pub struct ResponseFields<'a> {
    /// The id on the wire.
    pub request_id: &'a str,
    /// The limits that applied.
    pub evidence: &'a Evidence,
    /// The route of the request.
    pub route: &'a Route,
    /// The fields of the request.
    pub asked: &'a HeaderMap,
    /// The origins of registered redirect URIs.
    pub registered: Registered<'a>,
    /// The issuer has pages: no upstream sets their cookies.
    pub has_pages: bool,
}

impl ResponseFields<'_> {
    /// Calls `push` with every field of the client's response. Those that frame its body are as
    /// they came.
    pub fn each(&self, response: &ResponseHead<'_>, push: &mut impl FnMut(&[u8], &[u8])) {
        // The upstream's own fields of these names are replaced only when ours are set.
        let standings = &self.evidence.standings;
        let told = if standings.is_empty() {
            None
        } else {
            rate_limit::headers::limit_fields(&rate_limit::tightest(standings), false)
        };
        let has_cors = self.route.cors.is_some();
        let end = self.evidence.expires_soon();
        for (name, value) in response.forwarded() {
            let is_own = self.has_pages && is_own_cookie(name, value);
            if !is_own && !is_replaced(name, told.is_some(), has_cors, end.is_some()) {
                push(name, value);
            }
        }
        push(b"X-Request-Id", self.request_id.as_bytes());
        if let Some(end) = end {
            push(b"X-Auth-Expires", end.to_string().as_bytes());
        }
        if let Some(told) = told {
            push(b"RateLimit", told.rate_limit.as_bytes());
            push(b"RateLimit-Policy", told.policy.as_bytes());
        }
        // Two answers to "which pages may read this" are one too many.
        if let Some(cors) = &self.route.cors {
            for (name, value) in cors.fields(self.asked, self.registered) {
                push(name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
}

fn is_own_cookie(name: &[u8], value: &[u8]) -> bool {
    name.len() == 10 && name.eq_ignore_ascii_case(b"set-cookie") && own_cookie::is_set_by(value)
}

fn is_replaced(name: &[u8], has_limits: bool, has_cors: bool, has_end: bool) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        12 if is("x-request-id") => true,
        9 => has_limits && is("ratelimit"),
        14 => has_end && is("x-auth-expires"),
        16 if has_limits && is("ratelimit-policy") => true,
        _ => has_cors && cors::FIELDS.iter().any(|field| is(field.as_str())),
    }
}

/// Appends a field line.
pub(super) fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
