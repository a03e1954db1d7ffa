//! Header names that may carry identity.
//!
//! Owns [`IdentityHeaderName`] and the contract's default names. Otherwise one line of
//! configuration could let the value of a claim frame a message, choose a route or replace a
//! credential. Never reads a request.

use http::HeaderName;
use thiserror::Error;

use crate::base::field_name::FieldName;
use crate::decide::request::address;

/// A header name that may carry identity: not framing, hop-by-hop, routing or a credential, and
/// spelled so that every upstream reads it the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityHeaderName(FieldName);

/// A header name that cannot carry identity.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdentityNameError {
    /// Not a field name (RFC 9110 section 5.1).
    #[error("{0:?} is not a header name")]
    NotAName(String),
    /// A name that upstreams read in more than one way.
    #[error(
        "{0:?} cannot carry identity, because upstreams spell it in several ways: letters and \
         digits, with single - between them, are accepted"
    )]
    Ambiguous(String),
    /// A name that affects framing, routing or authentication.
    #[error("{0:?} cannot carry identity: it frames, routes or authenticates messages")]
    Reserved(String),
}

impl IdentityHeaderName {
    /// Reads a header name.
    ///
    /// # Errors
    /// [`IdentityNameError`].
    pub fn parse(text: &str) -> Result<Self, IdentityNameError> {
        let field =
            FieldName::parse(text).map_err(|_| IdentityNameError::NotAName(text.to_owned()))?;
        let name = field.name();
        let spelled_plainly = name
            .as_str()
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if !spelled_plainly {
            return Err(IdentityNameError::Ambiguous(text.to_owned()));
        }
        if is_reserved(name) {
            return Err(IdentityNameError::Reserved(text.to_owned()));
        }
        Ok(Self(field))
    }

    /// The name.
    #[must_use]
    pub(crate) fn as_header_name(&self) -> &HeaderName {
        self.0.name()
    }

    /// The name as configured.
    #[must_use]
    pub(crate) fn as_field_name(&self) -> &FieldName {
        &self.0
    }
}

/// The names identity is set under: `identity:` in the configuration.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the contract's table of identity headers")]
pub struct IdentityNames {
    pub subject: IdentityHeaderName,
    pub issuer: IdentityHeaderName,
    pub client_id: IdentityHeaderName,
    pub scopes: IdentityHeaderName,
    pub credential: IdentityHeaderName,
    pub credential_id: IdentityHeaderName,
}

impl IdentityNames {
    /// Six names, in the order of [`IdentityNames::iter`].
    ///
    /// # Errors
    /// A text that is not the name of a header for identity.
    pub fn parse(texts: [&str; 6]) -> Result<Self, IdentityNameError> {
        let [subject, issuer, client_id, scopes, credential, credential_id] =
            texts.map(IdentityHeaderName::parse);
        Ok(Self {
            subject: subject?,
            issuer: issuer?,
            client_id: client_id?,
            scopes: scopes?,
            credential: credential?,
            credential_id: credential_id?,
        })
    }

    /// All six, in the order of the contract.
    pub fn iter(&self) -> impl Iterator<Item = &IdentityHeaderName> {
        [
            &self.subject,
            &self.issuer,
            &self.client_id,
            &self.scopes,
            &self.credential,
            &self.credential_id,
        ]
        .into_iter()
    }
}

/// Names that affect the message itself, name by name.
const RESERVED: &[&str] = &[
    // Hop-by-hop and framing (RFC 9110 section 7.6.1, RFC 9112 section 9.6).
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "http2-settings",
    "max-forwards",
    "via",
    // Routing and the client's address.
    "client-cert",
    "client-cert-chain",
    "host",
    "x-real-ip",
    "x-request-id",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "origin",
    // Credentials.
    "authorization",
    "cookie",
    "set-cookie",
    "www-authenticate",
    // Range requests.
    "range",
    // gatepost's own, for the caller and the operator.
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-gatepost-admin",
];

/// Families of such names, by prefix.
const RESERVED_PREFIXES: &[&str] =
    &["proxy-", "content-", "access-control-", "sec-", "if-", "accept-"];

fn is_reserved(name: &HeaderName) -> bool {
    let text = name.as_str();
    RESERVED.contains(&text)
        || RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || address::is_forwarding_field(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_identity_plain_names_are_accepted() {
        for name in [
            "X-Auth-Subject",
            "X-User",
            "x-user",
            "Remote-User",
            "X-WEBAUTH-USER",
            "User",
            "X-Auth-Email",
            "X-Auth-Roles",
            "X2-User-3",
        ] {
            let parsed = IdentityHeaderName::parse(name).unwrap();
            assert_eq!(parsed.as_header_name().as_str(), name.to_ascii_lowercase());
        }
    }

    #[test]
    fn contract_identity_default_names_pass_their_own_test() {
        let texts = [
            "X-Auth-Subject",
            "X-Auth-Issuer",
            "X-Auth-Client-Id",
            "X-Auth-Scopes",
            "X-Auth-Credential",
            "X-Auth-Credential-Id",
        ];
        let names = IdentityNames::parse(texts).unwrap();
        let spelled: Vec<_> =
            names.iter().map(|name| name.as_header_name().as_str().to_owned()).collect();
        assert_eq!(spelled, texts.map(str::to_ascii_lowercase));
        for name in texts {
            assert!(IdentityHeaderName::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn r603_names_that_steer_the_message_are_refused() {
        for name in [
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Proxy-Connection",
            "Proxy-Authorization",
            "Proxy-Anything",
            "Host",
            "Content-Length",
            "Content-Type",
            "Expect",
            "Range",
            "If-Range",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-User",
            "X-Real-IP",
            "X-Request-Id",
            "Via",
            "Authorization",
            "AUTHORIZATION",
            "Cookie",
            "Set-Cookie",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
            "Sec-WebSocket-Key",
            "Max-Forwards",
        ] {
            let expected = IdentityNameError::Reserved(name.to_owned());
            assert_eq!(IdentityHeaderName::parse(name), Err(expected), "{name}");
        }
    }

    #[test]
    fn r601_names_that_fold_are_refused() {
        for name in [
            "X_User", "X.User", "X--User", "-User", "User-", "X-User_", "_", "-", "X-User!",
            "X-Us~er",
        ] {
            let expected = IdentityNameError::Ambiguous(name.to_owned());
            assert_eq!(IdentityHeaderName::parse(name), Err(expected), "{name}");
        }
        for name in ["", ":authority", "X User", "X-User:", "X-User\r\n", "X-Us\u{e9}r", " X-User"]
        {
            let expected = IdentityNameError::NotAName(name.to_owned());
            assert_eq!(IdentityHeaderName::parse(name), Err(expected), "{name}");
        }
    }
}
