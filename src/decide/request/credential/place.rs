//! The places that tokens are read from, and what is left of them for the upstream.
//!
//! Owns [`TokenPlace`]: a header, a cookie, or an element of `Sec-WebSocket-Protocol`. An attacker
//! would want a second credential in such a place that another reader picks: each place holds one
//! token or the request is refused, and only the consumed member of a list is removed. Never
//! verifies a token.

use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::field_name::fold;
use crate::decide::request::credential::CredentialError;

/// A place that tokens are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// A header; the token follows the authentication scheme, if there is one.
    Header {
        /// The header.
        name: HeaderName,
        /// The scheme, compared without case.
        scheme: Option<Box<str>>,
    },
    /// The cookie of this name (RFC 6265), where the request's origin is accepted.
    Cookie(Box<str>),
    /// The subprotocol with this prefix, on routes with `upgrade: websocket`.
    Subprotocol(Box<str>),
}

/// `Authorization: Bearer` (RFC 6750 section 2.1).
impl Default for TokenPlace {
    fn default() -> Self {
        Self::Header { name: http::header::AUTHORIZATION, scheme: Some("Bearer".into()) }
    }
}

impl TokenPlace {
    /// Returns whether it is `Authorization: Bearer`.
    pub(in crate::decide) fn is_bearer(&self) -> bool {
        matches!(self, Self::Header { name, scheme: Some(scheme) }
            if *name == http::header::AUTHORIZATION && scheme.eq_ignore_ascii_case("bearer"))
    }

    /// The header that it is in.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        match self {
            Self::Header { name, .. } => name,
            Self::Cookie(_) => &COOKIE,
            Self::Subprotocol(_) => &SEC_WEBSOCKET_PROTOCOL,
        }
    }

    /// Returns whether browsers send it by themselves, so that the request's origin matters.
    #[must_use]
    pub(in crate::decide) fn is_ambient(&self) -> bool {
        matches!(self, Self::Cookie(_))
    }

    /// The token in a list of members; `None` where there is none.
    ///
    /// # Errors
    /// [`CredentialError::Repeated`] for several.
    pub(super) fn find_member<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> Result<Option<&'a [u8]>, CredentialError> {
        let values = headers.get_all(self.header()).iter().map(HeaderValue::as_bytes);
        let mut tokens = values.flat_map(|value| self.members(value)).filter_map(|member| {
            let token = self.token(member)?;
            // A cookie without a value is one that a logout has cleared.
            (!(self.is_ambient() && token.is_empty())).then_some(token)
        });
        let first = tokens.next();
        if tokens.next().is_some() { Err(CredentialError::Repeated) } else { Ok(first) }
    }

    /// The token that a member holds, in exactly the configured spelling.
    fn token<'a>(&self, member: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Header { .. } => None,
            Self::Cookie(name) => {
                let (own, value) = split_cookie(member);
                (own == name.as_bytes()).then_some(value)
            }
            Self::Subprotocol(prefix) => member.strip_prefix(prefix.as_bytes()),
        }
    }

    fn members<'a>(&self, value: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let separator = if self.is_ambient() { b';' } else { b',' };
        value.split(move |byte| *byte == separator).map(<[u8]>::trim_ascii)
    }

    /// Returns whether a member of the list holds the token, or an upstream might take it for the
    /// one that does: `my.sid` and `my%5Fsid` for `my_sid`.
    fn holds(&self, member: &[u8]) -> bool {
        match self {
            Self::Header { .. } => true,
            Self::Cookie(name) => {
                folded_cookie(split_cookie(member).0) == folded_cookie(name.as_bytes())
            }
            Self::Subprotocol(prefix) => {
                let start = member.get(..prefix.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            }
        }
    }

    /// The rest of a list without its token, unless that stays, and without members that an upstream
    /// might take for it; `None` when nothing is removed.
    pub(super) fn without_token(&self, value: &[u8], stays: bool) -> Option<Vec<u8>> {
        let goes = |member: &&[u8]| self.holds(member) && !(stays && self.token(member).is_some());
        if !self.members(value).any(|member| goes(&member)) {
            return None;
        }
        let separator: &[u8] = if self.is_ambient() { b"; " } else { b", " };
        let kept = self.members(value).filter(|member| !member.is_empty() && !goes(member));
        Some(kept.collect::<Vec<_>>().join(separator))
    }
}

/// The name and the value of `name=value`, without the blanks around them.
fn split_cookie(pair: &[u8]) -> (&[u8], &[u8]) {
    let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let value = pair.get(at + 1..).unwrap_or_default();
    (pair[..at].trim_ascii(), value.trim_ascii())
}

/// A cookie name as lax readers see it: percent-encodings decoded, then folded.
fn folded_cookie(name: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        let value = (byte == b'%').then(|| encoded_byte(tail)).flatten();
        decoded.push(value.unwrap_or(byte));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    fold(&String::from_utf8_lossy(&decoded)).into_owned()
}

/// The value of two hexadecimal digits at the start.
fn encoded_byte(text: &[u8]) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[track_caller]
    fn check(place: &TokenPlace, values: &[&str], expected: Result<Option<&str>, CredentialError>) {
        let headers = headers(place.header(), values);
        let found = place.find_member(&headers);
        assert_eq!(found, expected.map(|token| token.map(str::as_bytes)), "{values:?}");
    }

    #[test]
    fn contract_issuers_a_cookie_is_found_by_its_name() {
        let place = TokenPlace::Cookie("sid".into());
        check(&place, &[&format!("a=b; sid={JWT}")], Ok(Some(JWT)));
        check(&place, &[&format!("sid={JWT};a=b")], Ok(Some(JWT)));
        check(&place, &["a=b", &format!("sid={JWT}")], Ok(Some(JWT)));
        for none in ["", "a=b", "sid", "sid=", "SID=x", "xsid=x", "s%69d=x", "sid.=x", "=sid"] {
            check(&place, &[none], Ok(None));
        }
        check(&place, &["sid=a; sid=b"], Err(CredentialError::Repeated));
        check(&place, &["sid=a", "sid=a"], Err(CredentialError::Repeated));
    }

    #[test]
    fn contract_issuers_a_subprotocol_is_found_by_its_prefix() {
        let place = TokenPlace::Subprotocol("bearer.".into());
        check(&place, &[&format!("chat, bearer.{JWT}")], Ok(Some(JWT)));
        check(&place, &["chat", &format!("bearer.{JWT}")], Ok(Some(JWT)));
        check(&place, &["bearer."], Ok(Some("")));
        for none in ["", "chat", "bearer", "Bearer.x", "x-bearer.x"] {
            check(&place, &[none], Ok(None));
        }
        check(&place, &["bearer.a, bearer.b"], Err(CredentialError::Repeated));
    }

    #[test]
    fn r601_the_token_and_its_twins_are_removed_and_nothing_else() {
        let left = |place: &TokenPlace, value: &str| {
            place
                .without_token(value.as_bytes(), false)
                .map(|left| String::from_utf8(left).unwrap())
        };
        let cookie = TokenPlace::Cookie("my_sid".into());
        for (value, expected) in [
            ("a=b", None),
            ("my_sidx=1; xmy_sid=2", None),
            ("my_sid=1", Some("")),
            ("a=b; my_sid=1; c=d=e", Some("a=b; c=d=e")),
            ("my.sid=1;a=b", Some("a=b")),
            ("My-Sid=1; a=b", Some("a=b")),
            ("m%79_sid=1; a=b", Some("a=b")),
            ("my%5Fsid=1; a=b", Some("a=b")),
            ("my_sid = 1; a=b", Some("a=b")),
            ("my_sid; a=b", Some("a=b")),
        ] {
            assert_eq!(left(&cookie, value).as_deref(), expected, "{value}");
        }
        let kept = cookie.without_token(b"my.sid=1; my_sid=2; a=b", true).unwrap();
        assert_eq!(kept, b"my_sid=2; a=b", "forward_credential");
        assert_eq!(cookie.without_token(b"my_sid=2; a=b", true), None);
        let subprotocol = TokenPlace::Subprotocol("bearer.".into());
        assert_eq!(left(&subprotocol, "chat"), None);
        assert_eq!(left(&subprotocol, "chat,bearer.x,v2").as_deref(), Some("chat, v2"));
        assert_eq!(left(&subprotocol, "BEARER.x").as_deref(), Some(""));
    }
}
