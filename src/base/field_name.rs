//! Header names: their spelling, and the names an upstream might read them as.
//!
//! Owns the folding of field names: CGI, WSGI, Rack and similar interfaces turn `X-User`,
//! `X_User` and `x.user` into one variable. Owns also the names of fields that override the method.
//! Never removes anything.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderName;
use http::header::InvalidHeaderName;

/// The name of a field that gatepost sets, and its spelling on the wire: names are compared without
/// case (RFC 9110 section 5.1), but people expect them as they were written. Equality includes the
/// spelling; to compare fields, compare [`Self::name`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldName {
    name: HeaderName,
    spelling: Bytes,
}

impl FieldName {
    /// Parses a name and keeps its spelling.
    ///
    /// # Errors
    /// The text is not a field name.
    pub fn parse(text: &str) -> Result<Self, InvalidHeaderName> {
        let name = HeaderName::from_bytes(text.as_bytes())?;
        Ok(Self { name, spelling: Bytes::copy_from_slice(text.as_bytes()) })
    }

    /// A name known at compile time.
    ///
    /// # Panics
    /// `text` is no field name.
    #[must_use]
    pub fn from_static(text: &'static str) -> Self {
        let name = HeaderName::from_bytes(text.as_bytes()).expect("the contract's are names");
        Self { name, spelling: Bytes::from_static(text.as_bytes()) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Its spelling.
    #[must_use]
    pub fn spelling_bytes(&self) -> &[u8] {
        &self.spelling
    }

    /// Its spelling, shared.
    #[must_use]
    pub fn spelling(&self) -> Bytes {
        self.spelling.clone()
    }
}

/// The folded form of a field name: lower case, every run of anything but letters and digits as
/// one `-`, none at the ends. Two names an upstream might take for one another fold alike.
///
/// Borrows when the name is folded already, as nearly all are.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if is_folded(name) {
        return Cow::Borrowed(name);
    }
    let mut folded = String::with_capacity(name.len());
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push('-');
        }
        folded.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    Cow::Owned(folded)
}

/// Returns whether an upstream might take the value of a field of this [folded](fold) name for the
/// method of the request. An attacker would put DELETE there in an allowed GET.
#[must_use]
pub fn is_method_override(folded: &str) -> bool {
    matches!(folded, "x-http-method-override" | "x-http-method" | "x-method-override")
}

/// The fields that frame or route a message (RFC 9110 section 7.6.1, RFC 9112 section 6), folded.
const FRAMING: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns whether a field of this [folded](fold) name, when it is spelled in another way
/// (`Transfer_Encoding`), reaches an upstream as a field that frames or routes the message. No
/// client sends these by accident.
#[must_use]
pub fn is_framing(folded: &str) -> bool {
    FRAMING.contains(&folded)
}

fn is_folded(name: &str) -> bool {
    let mut after_letter = false;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => after_letter = true,
            b'-' if after_letter => after_letter = false,
            _ => return false,
        }
    }
    after_letter || name.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(fold(name), expected, "{name:?}");
    }

    #[test]
    fn a_name_is_kept_as_it_is_written() {
        for name in [FieldName::parse("X-Auth-ID").unwrap(), FieldName::from_static("X-Auth-ID")] {
            assert_eq!(
                (name.name().as_str(), &name.spelling()[..]),
                ("x-auth-id", &b"X-Auth-ID"[..])
            );
        }
        assert!(FieldName::parse("X Auth").is_err());
    }

    #[test]
    fn r601_spellings_of_one_name_fold_alike() {
        for spelling in [
            "x-auth-subject",
            "X-Auth-Subject",
            "X_AUTH_SUBJECT",
            "x.auth.subject",
            "x--auth__subject",
            "x-_.auth-subject",
            "-x-auth-subject",
            "x-auth-subject_",
            "x!auth~subject",
            "x`auth|subject",
        ] {
            check(spelling, "x-auth-subject");
        }
        check("xauthsubject", "xauthsubject");
        check("", "");
        check("_", "");
        check("--", "");
    }

    #[test]
    fn contract_identity_method_overrides_are_known_in_every_spelling() {
        let is_override = |name: &str| is_method_override(&fold(&name.to_ascii_lowercase()));
        for name in [
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "x_http_method_override",
            "X.HTTP.Method",
            "X--Method--Override",
        ] {
            assert!(is_override(name), "{name}");
        }
        for name in
            ["X-HTTP-Methods", "Method", "X-Method", "HTTP-Method-Override", "XMethodOverride"]
        {
            assert!(!is_override(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn r601_folding_twice_is_folding_once(name in "[!-~]{0,24}") {
            let once = fold(&name).into_owned();
            prop_assert_eq!(fold(&once), once.as_str());
            prop_assert!(matches!(fold(&once), Cow::Borrowed(_)));
        }
    }
}
