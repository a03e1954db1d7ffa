//! Client authentication (RFC 6749 section 2.3): the credentials of a request.
//!
//! Owns the three methods (`client_secret_basic`, `client_secret_post`, `none`) and the rule that a
//! request uses one of them. Never knows whether a client exists: that is decided with the rows of
//! the store.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::issue::error::{Challenge, OAuthError};
use crate::issue::form::{Form, decoded};
use crate::issue::rows::{Id, SecretDigest};

/// The longest `client_id`, in bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 128;

/// The longest secret, in bytes: declared ones may be of another maker.
pub const SECRET_BYTES_MAX: usize = 512;

/// Some clients leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The method that a client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `none`: a public client.
    None,
}

/// A client as it presents itself, not yet believed.
#[derive(Clone, Debug)]
pub struct Presented {
    /// `client_id`.
    pub id: Id,
    /// The secret; `None` for the method `none`, and where `Basic` has an empty one.
    pub secret: Option<Secret<String>>,
    /// The method.
    pub method: Method,
}

impl Presented {
    /// The client of a request, from its `Authorization` fields and its form.
    ///
    /// # Errors
    /// `invalid_request` for two methods or none, `invalid_client` for credentials that no client
    /// has.
    pub fn read<'a>(
        authorization: impl IntoIterator<Item = &'a [u8]>,
        form: &Form,
    ) -> Result<Self, OAuthError> {
        // An empty field names no method: some clients send one.
        let mut fields = authorization.into_iter().filter(|field| !field.trim_ascii().is_empty());
        let field = fields.next();
        if fields.next().is_some() {
            return Err(OAuthError::invalid_request("more than one Authorization field"));
        }
        let has_assertion =
            form.value("client_assertion").or(form.value("client_assertion_type")).is_some();
        let methods = [field.is_some(), form.value("client_secret").is_some(), has_assertion];
        if methods.into_iter().filter(|used| *used).count() > 1 {
            return Err(OAuthError::invalid_request(
                "more than one method of client authentication",
            ));
        }
        match field {
            Some(field) => basic(field, form).map_err(challenged),
            None if has_assertion => Err(OAuthError::invalid_client()),
            None => in_body(form),
        }
    }

    /// The digest of the secret.
    #[must_use]
    pub fn digest(&self) -> Option<SecretDigest> {
        self.secret.as_ref().map(|secret| SecretDigest::of_secret(secret.expose()))
    }
}

/// RFC 6749 section 5.2: a client that used the `Authorization` field gets a challenge.
fn challenged(error: OAuthError) -> OAuthError {
    let is_401 = error.status() == 401;
    if is_401 { error.with_challenge(Challenge::Basic) } else { error }
}

fn in_body(form: &Form) -> Result<Presented, OAuthError> {
    let id = checked_id(form.required("client_id")?)?;
    match form.value("client_secret") {
        None => Ok(Presented { id, secret: None, method: Method::None }),
        Some(secret) => {
            Ok(Presented { id, secret: Some(checked_secret(secret)?), method: Method::Post })
        }
    }
}

/// `Basic`, with id and secret encoded as in a form (RFC 6749 section 2.3.1).
fn basic(field: &[u8], form: &Form) -> Result<Presented, OAuthError> {
    let (id, secret) = decode_basic(field).ok_or_else(OAuthError::invalid_client)?;
    if form.value("client_id").is_some_and(|stated| stated != *id) {
        return Err(OAuthError::invalid_request(
            "client_id differs from that of the Authorization field",
        ));
    }
    // RFC 6749 section 2.3.1: a client without a secret may send an empty one.
    let secret = if secret.is_empty() { None } else { Some(checked_secret(&secret)?) };
    Ok(Presented { id: checked_id(&id)?, secret, method: Method::Basic })
}

type IdAndSecret = (Zeroizing<String>, Zeroizing<String>);

fn decode_basic(field: &[u8]) -> Option<IdAndSecret> {
    let (scheme, credentials) = std::str::from_utf8(field).ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Zeroizing::new(BASE64.decode(credentials.trim_start_matches(' ')).ok()?);
    let at = pair.iter().position(|byte| *byte == b':')?;
    Some((decoded(&pair[..at])?, decoded(&pair[at + 1..])?))
}

fn checked_id(id: &str) -> Result<Id, OAuthError> {
    let fits = (1..=CLIENT_ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control);
    if fits { Ok(Id(id.into())) } else { Err(OAuthError::invalid_client()) }
}

fn checked_secret(secret: &str) -> Result<Secret<String>, OAuthError> {
    if secret.len() > SECRET_BYTES_MAX {
        return Err(OAuthError::invalid_client());
    }
    Ok(Secret::new(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn form(body: &str) -> Form {
        Form::decode(body.as_bytes()).unwrap()
    }

    fn basic_field(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// Id, secret and method; or the error and its challenge.
    fn read(field: Option<&str>, body: &str) -> Result<(String, Option<String>, Method), String> {
        let read = Presented::read(field.map(str::as_bytes), &form(body));
        let read = read.map_err(|error| {
            let challenge = error.challenge().is_some();
            format!("{}{}", error.code().as_str(), if challenge { "+challenge" } else { "" })
        })?;
        let secret = read.secret.map(|secret| secret.expose().clone());
        Ok((read.id.0.into(), secret, read.method))
    }

    fn client(
        id: &str,
        secret: Option<&str>,
        method: Method,
    ) -> Result<(String, Option<String>, Method), String> {
        Ok((id.to_owned(), secret.map(str::to_owned), method))
    }

    fn error(code: &str) -> Result<(String, Option<String>, Method), String> {
        Err(code.to_owned())
    }

    #[test]
    fn contract_client_authentication_has_three_methods() {
        assert_eq!(read(None, "client_id=c&client_secret=s"), client("c", Some("s"), Method::Post));
        assert_eq!(read(None, "client_id=c"), client("c", None, Method::None));
        assert_eq!(read(None, "client_id=c&client_secret="), client("c", None, Method::None));
        let field = basic_field("c:s");
        let by_basic = client("c", Some("s"), Method::Basic);
        assert_eq!(read(Some(&field), ""), by_basic);
        // An equal client_id beside it is fine.
        assert_eq!(read(Some(&field), "client_id=c"), by_basic);
        assert_eq!(read(Some(&field.replace("Basic", "bAsIc")), ""), by_basic);
        let unpadded = format!("Basic {}", STANDARD_NO_PAD.encode("c:s"));
        assert_eq!(read(Some(&unpadded), ""), by_basic);
    }

    #[test]
    fn contract_client_authentication_basic_is_decoded_as_a_form() {
        let field = basic_field("a%3Ab:s%2B+%25:x");
        assert_eq!(
            read(Some(&field), "client_id=a:b"),
            client("a:b", Some("s+ %:x"), Method::Basic)
        );
    }

    #[test]
    fn r1106_two_methods_are_refused() {
        let field = basic_field("c:s");
        for body in [
            "client_secret=s",
            "client_id=c&client_secret=s",
            "client_assertion=x",
            "client_assertion_type=urn%3Aietf",
        ] {
            assert_eq!(read(Some(&field), body), error("invalid_request"), "{body}");
        }
        let both = "client_id=c&client_secret=s&client_assertion=x";
        assert_eq!(read(None, both), error("invalid_request"));
        // Another client's id beside it.
        assert_eq!(read(Some(&field), "client_id=d"), error("invalid_request"));
        let twice = Presented::read([field.as_bytes(), field.as_bytes()], &form(""));
        assert_eq!(twice.unwrap_err().code().as_str(), "invalid_request");
    }

    #[test]
    fn r1106_what_no_client_has_is_invalid_client_with_a_challenge_for_basic() {
        for field in [
            "Basic",
            "Basic ",
            "Basic !!!",
            "Bearer abc",
            "Digest username=c",
            &basic_field("no-colon"),
            &basic_field("c:%zz"),
            &basic_field(":s"),
            &basic_field(&format!("c:{}", "s".repeat(513))),
            &basic_field(&format!("{}:s", "c".repeat(129))),
            &basic_field("c%0A:s"),
        ] {
            assert_eq!(read(Some(field), ""), error("invalid_client+challenge"), "{field}");
        }
        assert_eq!(read(None, "client_assertion=x&client_id=c"), error("invalid_client"));
        assert_eq!(read(None, &format!("client_id={}", "c".repeat(129))), error("invalid_client"));
        let long = format!("client_id=c&client_secret={}", "s".repeat(513));
        assert_eq!(read(None, &long), error("invalid_client"));
        assert_eq!(read(None, "client_secret=s"), error("invalid_request"));
        // Public clients send an empty secret; of a confidential one it is none.
        assert_eq!(read(Some(&basic_field("c:")), ""), client("c", None, Method::Basic));
        assert_eq!(read(Some(" "), "client_id=c"), client("c", None, Method::None));
    }

    #[test]
    fn r902_debug_shows_no_secret() {
        let read = Presented::read([], &form("client_id=c&client_secret=hunter2")).unwrap();
        assert!(!format!("{read:?}").contains("hunter2"));
        assert_eq!(read.digest(), Some(SecretDigest::of_secret("hunter2")));
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_is_read(id in "[!-~]{1,20}", secret in "\\PC{0,40}") {
            let encode = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
            let field = basic_field(&format!("{}:{}", encode(&id), encode(&secret)));
            let expected = Some(&*secret).filter(|secret| !secret.is_empty());
            prop_assert_eq!(read(Some(&field), ""), client(&id, expected, Method::Basic));
            let body = format!("client_id={}&client_secret={}", encode(&id), encode(&secret));
            let method = if secret.is_empty() { Method::None } else { Method::Post };
            prop_assert_eq!(read(None, &body), client(&id, expected, method));
        }

        #[test]
        fn no_field_panics(field in prop::collection::vec(any::<u8>(), 0..80), is_basic in any::<bool>()) {
            let mut bytes = if is_basic { b"Basic ".to_vec() } else { Vec::new() };
            bytes.extend(field);
            let _ = Presented::read([&*bytes], &form(""));
        }
    }
}
