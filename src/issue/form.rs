//! Form bodies: `application/x-www-form-urlencoded` (RFC 6749 appendix B).
//!
//! Owns the decoding, its bounds and the rule that a parameter comes once. Every value may be a
//! secret: none is shown by Debug, and all are wiped when the form is dropped. Never reads a
//! credential from a query.

use std::fmt;

use zeroize::Zeroizing;

use crate::issue::error::OAuthError;

/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The most parameters of a body.
pub const PARAMETERS_MAX: usize = 64;

/// Parameters that a query must not have: they would be in logs and in `Referer` fields.
const CREDENTIALS: [&str; 9] = [
    "client_secret",
    "client_assertion",
    "code",
    "code_verifier",
    "refresh_token",
    "device_code",
    "token",
    "access_token",
    "password",
];

/// The parameters of a body, decoded.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads a body with its content type.
    ///
    /// # Errors
    /// `invalid_request`: another content type, too long or malformed, or a parameter twice.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, OAuthError> {
        if !content_type.is_some_and(is_form) {
            return Err(OAuthError::invalid_request(
                "the content type must be application/x-www-form-urlencoded",
            ));
        }
        Self::decode(body)
    }

    /// Reads a body whose content type does not matter.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn decode(body: &[u8]) -> Result<Self, OAuthError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(OAuthError::invalid_request("the body is longer than 64 KiB"));
        }
        let mut form = Self::default();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            form.push(pair)?;
        }
        Ok(form)
    }

    /// A form with these values: as a page shows it before anything was sent.
    pub fn of<N: Into<String>>(pairs: impl IntoIterator<Item = (N, String)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    fn push(&mut self, pair: &[u8]) -> Result<(), OAuthError> {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
            return Err(OAuthError::invalid_request(
                "malformed body: a percent-encoding or UTF-8 is invalid",
            ));
        };
        if self.0.iter().any(|(known, _)| *known == *name) {
            return Err(OAuthError::invalid_request("a parameter is present twice"));
        }
        if self.0.len() == PARAMETERS_MAX {
            return Err(OAuthError::invalid_request("more than 64 parameters"));
        }
        self.0.push((name.to_string(), value));
        Ok(())
    }

    /// The value of a parameter; an empty one counts as absent.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The names of the parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a parameter that must be present.
    ///
    /// # Errors
    /// `invalid_request` that names it.
    pub fn required(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.value(name)
            .ok_or_else(|| OAuthError::invalid_request(format!("missing parameter: {name}")))
    }
}

/// The names alone.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Refuses credentials in the query of an endpoint that takes them in its body.
///
/// # Errors
/// `invalid_request`.
pub fn check_query(query: Option<&str>) -> Result<(), OAuthError> {
    let pairs = query.unwrap_or_default().split('&');
    let mut names = pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let is_credential = |name: &str| {
        decoded(name.as_bytes()).is_some_and(|name| CREDENTIALS.contains(&name.as_str()))
    };
    if names.any(is_credential) {
        return Err(OAuthError::invalid_request(
            "credentials in the query are not accepted: send them in the body",
        ));
    }
    Ok(())
}

/// A text as a value of a form or a query: unreserved characters stay (RFC 3986 section 2.3).
#[must_use]
pub fn encode(text: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(HEX[usize::from(byte >> 4)]);
            encoded.push(HEX[usize::from(byte & 15)]);
        }
    }
    encoded
}

/// Returns whether a `Content-Type` is that of a form; its parameters do not matter.
fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim_matches([' ', '\t']).eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Decodes `+` and percent-encodings; `None` if one is incomplete, or the result is no UTF-8 or
/// has a NUL.
pub(super) fn decoded(text: &[u8]) -> Option<Zeroizing<String>> {
    // Full capacity from the start: no partial copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (&[high, low], after) = rest.split_first_chunk()?;
                rest = after;
                digit(high)? << 4 | digit(low)?
            }
            0 => return None,
            other => other,
        });
    }
    if bytes.contains(&0) {
        return None;
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "application/x-www-form-urlencoded";

    fn parse(body: &str) -> Result<Form, OAuthError> {
        Form::parse(Some(TYPE), body.as_bytes())
    }

    #[track_caller]
    fn refused(body: &str, expected: &str) {
        let error = parse(body).unwrap_err();
        assert_eq!((error.code().as_str(), error.description()), ("invalid_request", expected));
    }

    #[test]
    fn contract_forms_the_bodies_of_both_guides() {
        let form =
            parse("grant_type=client_credentials&client_id=c&client_secret=s&scope=").unwrap();
        assert_eq!(form.value("grant_type"), Some("client_credentials"));
        assert_eq!(form.value("client_secret"), Some("s"));
        // Empty counts as absent.
        assert_eq!((form.value("scope"), form.value("other")), (None, None));
        for scope in ["read+write", "read%20write", "read write"] {
            assert_eq!(
                parse(&format!("scope={scope}")).unwrap().value("scope"),
                Some("read write")
            );
        }
        let uri = parse("redirect_uri=https%3A%2F%2Fa.example%2Fcb%3Fx%3D1&a=b=c&flag").unwrap();
        assert_eq!(uri.value("redirect_uri"), Some("https://a.example/cb?x=1"));
        assert_eq!((uri.value("a"), uri.value("flag")), (Some("b=c"), None));
        assert_eq!(uri.required("redirect_uri"), Ok("https://a.example/cb?x=1"));
        let missing = uri.required("code").unwrap_err();
        assert_eq!(missing.description(), "missing parameter: code");
    }

    #[test]
    fn contract_forms_the_content_type_may_have_parameters() {
        for good in [
            TYPE,
            "application/x-www-form-urlencoded; charset=UTF-8",
            "Application/X-WWW-Form-Urlencoded ;charset=utf-8",
        ] {
            assert!(Form::parse(Some(good), b"a=b").is_ok(), "{good}");
        }
        for bad in [None, Some(""), Some("application/json"), Some("multipart/form-data")] {
            assert!(Form::parse(bad, b"a=b").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn contract_forms_a_parameter_comes_once() {
        refused("a=1&a=2", "a parameter is present twice");
        refused("scope=&scope=read", "a parameter is present twice");
        refused("unknown=1&unknown=1", "a parameter is present twice");
        refused("client_secret=a&client%5Fsecret=a", "a parameter is present twice");
        assert!(parse("&&a=1&&b=2&").is_ok());
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        let malformed = "malformed body: a percent-encoding or UTF-8 is invalid";
        for body in ["a=%", "a=%4", "a=%zz", "a=%+1", "%zz=1", "a=%ff", "a=%00", "a=\0"] {
            refused(body, malformed);
        }
        assert!(Form::decode(b"a=\xff").is_err());
        assert_eq!(parse("a=%C3%A9").unwrap().value("a"), Some("é"));
    }

    #[test]
    fn a_body_has_bounds() {
        let body = |bytes: usize| format!("a={}", "x".repeat(bytes - 2));
        assert!(parse(&body(BODY_BYTES_MAX)).is_ok());
        refused(&body(BODY_BYTES_MAX + 1), "the body is longer than 64 KiB");
        let many = |count| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert!(parse(&many(PARAMETERS_MAX)).is_ok());
        refused(&many(PARAMETERS_MAX + 1), "more than 64 parameters");
    }

    #[test]
    fn contract_forms_no_credential_in_a_query() {
        for query in [None, Some(""), Some("a=1&client_id=x&state=code"), Some("%zz=1")] {
            assert_eq!(check_query(query), Ok(()), "{query:?}");
        }
        for query in ["client_secret=x", "a=1&token", "client%5Fsecret=x", "code=", "a&password=1"]
        {
            assert!(check_query(Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn r902_debug_shows_names_alone() {
        let form = parse("client_secret=hunter2&code=abc").unwrap();
        assert_eq!(format!("{form:?}"), r#"["client_secret", "code"]"#);
    }

    proptest! {
        /// A naive encoder: what it writes is what is read.
        #[test]
        fn what_is_encoded_reads_back(
            pairs in prop::collection::btree_map("[^\0]{1,8}", "[^\0]{0,12}", 0..6),
        ) {
            let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
            let body: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            let form = parse(&body.join("&")).unwrap();
            for (name, value) in &pairs {
                let expected = Some(value.as_str()).filter(|value| !value.is_empty());
                prop_assert_eq!(form.value(name), expected);
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::decode(&body);
            let _ = check_query(std::str::from_utf8(&body).ok());
        }
    }
}
