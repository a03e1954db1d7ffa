//! The presented credentials: a bearer token, an API key, or none.
//!
//! Owns reading credentials out of header fields (RFC 6750 section 2.1, RFC 9110 section 11.4), and
//! out of cookies and subprotocols where an issuer lists them ([`TokenPlace`]). Never reads the query
//! or a body, and never decides whether a credential is valid.

mod place;

use std::borrow::Cow;
use std::cell::OnceCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::base::bytes::all;
use crate::base::field_name::fold;

pub use place::TokenPlace;

/// The kinds of credential, as routes and identity headers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// A signed JWT as a bearer token.
    Jwt,
    /// An API key.
    ApiKey,
    /// A personal access token.
    Pat,
}

impl CredentialKind {
    /// The word in configuration, headers, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
            Self::Pat => "pat",
        }
    }
}

/// A source of API keys: a header of its own, or a scheme of `Authorization` (or of another
/// header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The header.
    pub header: HeaderName,
    /// The authentication scheme in it, if any; compared without case. `Basic` is decoded: see
    /// [`Self::part`].
    pub scheme: Option<Box<str>>,
    /// The half of Basic credentials (RFC 7617) that is the key. The other one is empty.
    pub part: BasicPart,
}

impl KeySource {
    /// A header of its own, or a scheme of a header.
    #[must_use]
    pub fn new(header: HeaderName, scheme: Option<Box<str>>) -> Self {
        Self { header, scheme, part: BasicPart::default() }
    }

    fn is_basic(&self) -> bool {
        self.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case(BASIC))
    }
}

/// A half of Basic credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BasicPart {
    /// The text before the colon.
    #[default]
    User,
    /// The text after the colon.
    Password,
}

/// The credential settings of a route, and room for a key that has to be decoded.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "it may hold a key")]
pub struct Reading {
    /// `authorization: pass`: the field `Authorization` is the application's here.
    passes_authorization: bool,
    /// `upgrade: websocket`: subprotocols may hold a token here.
    is_websocket: bool,
    decoded: OnceCell<Zeroizing<Vec<u8>>>,
}

impl Reading {
    /// For one request on a route: whether it has `authorization: pass` and `upgrade: websocket`.
    #[must_use]
    pub fn new(passes_authorization: bool, is_websocket: bool) -> Self {
        Self { passes_authorization, is_websocket, decoded: OnceCell::new() }
    }
}

/// The presented credentials. At most one of each kind: more are refused before this exists.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "it holds the secrets themselves")]
pub struct Presented<'a> {
    /// The bearer token, as text that has only `b64token` characters.
    pub jwt: Option<&'a str>,
    /// The index of its place among the configured ones.
    pub place: usize,
    /// The API key, as visible ASCII.
    pub key: Option<&'a str>,
}

impl<'a> Presented<'a> {
    fn add_token(&mut self, text: &'a str, place: usize) -> Result<(), CredentialError> {
        self.place = place;
        let before = self.jwt.replace(text);
        before.map_or(Ok(()), |_| Err(CredentialError::Repeated))
    }

    fn add_key(&mut self, text: &'a str) -> Result<(), CredentialError> {
        let before = self.key.replace(text);
        before.map_or(Ok(()), |_| Err(CredentialError::Repeated))
    }
}

/// Credential fields that cannot be parsed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CredentialError {
    /// More than one field or value of a kind: readers could pick different ones.
    #[error("more than one credential of a kind")]
    Repeated,
    /// Not `scheme SP credentials`, an empty credential, or bytes no credential has.
    #[error("malformed credential field")]
    Malformed,
    /// An unknown scheme: an invalid credential, not an absent one.
    #[error("unknown authentication scheme")]
    SchemeUnknown,
}

/// All sources of credentials, compiled from the configuration.
#[derive(Clone, Debug)]
pub struct CredentialSources {
    keys: Vec<KeySource>,
    /// Each once.
    tokens: Vec<TokenPlace>,
    /// Each header once.
    headers: Vec<HeaderName>,
    /// The same, folded.
    folded: Vec<Box<str>>,
}

/// The longest API key, in bytes, presented or imported: as long as the longest token unless
/// configured. Longer ones only cost time to hash.
pub const KEY_BYTES_MAX: usize = 8 * 1024;

const BASIC: &str = "Basic";

/// Bearer JWTs and no API keys.
impl Default for CredentialSources {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl CredentialSources {
    /// Bearer JWTs from `Authorization`, and API keys from each of `keys`.
    #[must_use]
    pub fn new(keys: Vec<KeySource>) -> Self {
        Self::with_tokens(keys, vec![TokenPlace::default()])
    }

    /// API keys from each of `keys`, and no tokens, because no issuer is configured. Unless keys
    /// are read from it, `Authorization` is then the application's.
    #[must_use]
    pub(crate) fn of_keys(keys: Vec<KeySource>) -> Self {
        Self::with_tokens(keys, Vec::new())
    }

    /// API keys from each of `keys`, and tokens from each of `tokens`.
    #[must_use]
    pub(crate) fn with_tokens(keys: Vec<KeySource>, tokens: Vec<TokenPlace>) -> Self {
        let mut headers: Vec<HeaderName> = Vec::new();
        let named = tokens.iter().map(TokenPlace::header);
        for name in named.chain(keys.iter().map(|source| &source.header)) {
            if !headers.contains(name) {
                headers.push(name.clone());
            }
        }
        let folded = headers.iter().map(|name| fold(name.as_str()).into()).collect();
        Self { keys, tokens, headers, folded }
    }

    /// Reads the credentials of a request.
    ///
    /// Names and schemes are compared without case and otherwise byte for byte: `X_API_Key` is
    /// not `X-API-Key`. A bearer is a key when it [is not shaped like a JWT](is_jwt_shaped) and
    /// `{ header: Authorization, scheme: Bearer }` is one of the sources; else it is a JWT.
    ///
    /// # Errors
    /// [`CredentialError`] when a field is repeated, malformed or of an unknown scheme.
    pub fn read<'a>(
        &self,
        headers: &'a HeaderMap,
        reading: &'a Reading,
    ) -> Result<Presented<'a>, CredentialError> {
        let mut presented = Presented::default();
        let is_read =
            |name: &&HeaderName| !(reading.passes_authorization && *name == AUTHORIZATION);
        for name in self.headers.iter().filter(is_read) {
            if is_list(name) {
                continue;
            }
            let Some(value) = single_value(headers, name)? else { continue };
            match self.read_value(name, value, reading)? {
                Read::Jwt { text, place } => presented.add_token(text, place)?,
                Read::Key(text) => presented.add_key(text)?,
            }
        }
        for (index, place) in self.tokens.iter().enumerate() {
            let token = match place {
                TokenPlace::Cookie(_) => place.find_member(headers)?,
                TokenPlace::Subprotocol(_) if reading.is_websocket => place.find_member(headers)?,
                TokenPlace::Header { .. } | TokenPlace::Subprotocol(_) => None,
            };
            if let Some(token) = token {
                presented.add_token(read_token(token)?, index)?;
            }
        }
        Ok(presented)
    }

    /// A place of tokens by its index.
    #[must_use]
    pub(in crate::decide) fn token_place(&self, index: usize) -> Option<&TokenPlace> {
        self.tokens.get(index)
    }

    /// Returns whether tokens are read from one place alone, which is then that of every issuer.
    #[must_use]
    pub(in crate::decide) fn has_one_token_place(&self) -> bool {
        self.tokens.len() == 1
    }

    /// The headers that are lists of which one member may be a token: `Cookie` and
    /// `Sec-WebSocket-Protocol`, where an issuer lists them.
    pub fn lists(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().filter(|name| is_list(name))
    }

    /// The rest of such a list for the upstream: without the token unless it `stays`, and on every
    /// route without members that an upstream might take for it.
    #[must_use]
    pub fn rest_of_list<'v>(
        &self,
        name: &HeaderName,
        value: &'v [u8],
        stays: bool,
    ) -> Cow<'v, [u8]> {
        let mut rest = Cow::Borrowed(value);
        for place in self.tokens.iter().filter(|place| place.header() == name) {
            if let Some(shorter) = place.without_token(&rest, stays) {
                rest = Cow::Owned(shorter);
            }
        }
        rest
    }

    /// The beginning of a field with an API key, for examples; `None` where none is read.
    #[must_use]
    pub fn key_field(&self) -> Option<String> {
        let source = self.keys.first()?;
        let scheme = source.scheme.as_deref().map(|scheme| format!("{scheme} "));
        Some(format!("{}: {}", source.header, scheme.unwrap_or_default()))
    }

    /// The header names that can hold a credential; removed once it was consumed.
    pub fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter()
    }

    /// Returns whether a field of this name as a whole is a credential; removed once that was
    /// consumed.
    #[must_use]
    pub fn is_place(&self, name: &HeaderName) -> bool {
        self.headers.contains(name) && !is_list(name)
    }

    /// Returns whether an upstream might read a field of this name as one that credentials are read from,
    /// although it is spelled in another way (`X_API_Key`). Such a field was never verified, so it
    /// is removed on every route. `folded` is its [folded](fold) name.
    #[must_use]
    pub fn is_twin_of_place(&self, name: &HeaderName, folded: &str) -> bool {
        self.is_twin_of_place_text(name.as_str(), folded)
    }

    /// As [`Self::is_place`], for a lower-case name.
    #[must_use]
    pub(crate) fn is_place_text(&self, name: &str) -> bool {
        self.headers.iter().any(|place| place.as_str() == name && !is_list(place))
    }

    /// As [`Self::is_twin_of_place`], for a lower-case name.
    #[must_use]
    pub(crate) fn is_twin_of_place_text(&self, name: &str, folded: &str) -> bool {
        self.folded.iter().any(|known| **known == *folded)
            && !self.headers.iter().any(|place| place.as_str() == name)
    }

    fn read_value<'a>(
        &self,
        name: &HeaderName,
        value: &'a [u8],
        reading: &'a Reading,
    ) -> Result<Read<'a>, CredentialError> {
        let (word, rest) = split_word(value);
        if let Some(scheme) = self.scheme(name, word) {
            return match scheme {
                Scheme::Bearer { place, keys } => read_bearer(rest, place, keys),
                Scheme::Key => read_key(rest),
                Scheme::Basic(part) => read_basic(rest, part, reading),
            };
        }
        if let Some(place) = self.bare_token_place(name) {
            return read_token(value).map(|text| Read::Jwt { text, place });
        }
        if self.takes_bare_keys(name) && (rest.is_empty() || !self.has_schemes(name)) {
            return read_key(value);
        }
        if self.hides_a_credential(name, value) {
            return Err(CredentialError::Repeated);
        }
        if word.is_empty() || !word.iter().copied().all(is_token_byte) {
            return Err(CredentialError::Malformed);
        }
        Err(CredentialError::SchemeUnknown)
    }

    /// The scheme that `word` names in this header.
    fn scheme(&self, name: &HeaderName, word: &[u8]) -> Option<Scheme> {
        let named = |source: &&KeySource| {
            let scheme = source.scheme.as_deref();
            scheme.is_some_and(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()))
        };
        let source = self.sources(name).find(named);
        let is_place = |place: &TokenPlace| match place {
            TokenPlace::Header { name: own, scheme: Some(scheme) } => {
                own == name && word.eq_ignore_ascii_case(scheme.as_bytes())
            }
            TokenPlace::Header { .. } | TokenPlace::Cookie(_) | TokenPlace::Subprotocol(_) => false,
        };
        if let Some(place) = self.tokens.iter().position(is_place) {
            return Some(Scheme::Bearer { place, keys: source.is_some() });
        }
        let source = source?;
        Some(if source.is_basic() { Scheme::Basic(source.part) } else { Scheme::Key })
    }

    /// The place of tokens that are the whole value of this header.
    fn bare_token_place(&self, name: &HeaderName) -> Option<usize> {
        self.tokens.iter().position(|place| match place {
            TokenPlace::Header { name: own, scheme: None } => own == name,
            TokenPlace::Header { .. } | TokenPlace::Cookie(_) | TokenPlace::Subprotocol(_) => false,
        })
    }

    fn sources(&self, name: &HeaderName) -> impl Iterator<Item = &KeySource> {
        self.keys.iter().filter(move |source| source.header == *name)
    }

    fn takes_bare_keys(&self, name: &HeaderName) -> bool {
        self.sources(name).any(|source| source.scheme.is_none())
    }

    fn has_schemes(&self, name: &HeaderName) -> bool {
        *name == AUTHORIZATION || self.sources(name).any(|source| source.scheme.is_some())
    }

    /// Returns whether a known credential follows a comma: `Basic x, Bearer y`. Another reader of
    /// the same field might pick that one.
    fn hides_a_credential(&self, name: &HeaderName, value: &[u8]) -> bool {
        let mut elements = value.split(|byte| *byte == b',').skip(1).map(<[u8]>::trim_ascii);
        elements.any(|element| self.scheme(name, split_word(element).0).is_some())
    }
}

/// The credential in one field.
enum Read<'a> {
    Jwt { text: &'a str, place: usize },
    Key(&'a str),
}

enum Scheme {
    /// A place of tokens, by its index; `keys` when API keys use the scheme too.
    Bearer {
        place: usize,
        keys: bool,
    },
    Key,
    Basic(BasicPart),
}

/// Returns whether a bearer looks like a JWT in compact form: two dots or more, and a beginning
/// that decodes to `{`. Encrypted ones (five parts) count, so that they are refused as tokens; keys
/// with dots in them (`SG.abc.def`) do not.
#[must_use]
pub fn is_jwt_shaped(bearer: &str) -> bool {
    // `{` is 0x7b: its six high bits are `e` in base64url, its two low bits begin the next digit.
    let [b'e', b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_', rest @ ..] = bearer.as_bytes() else {
        return false;
    };
    rest.iter().filter(|byte| **byte == b'.').count() >= 2
}

/// The one value of a header, without the blanks around it.
fn single_value<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, CredentialError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(CredentialError::Repeated);
    }
    Ok(first.map(|value| value.as_bytes().trim_ascii()))
}

/// The first word and what comes after the spaces (`1*SP`, so no tab) behind it.
fn split_word(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (word, rest) = value.split_at(end);
    (word, rest.trim_ascii_start())
}

fn read_bearer(bytes: &[u8], place: usize, keys: bool) -> Result<Read<'_>, CredentialError> {
    let is_token = is_b64token(bytes);
    if is_token && !keys {
        // Checked once: no byte of a token is a comma or invisible.
        return Ok(Read::Jwt { text: as_text(bytes)?, place });
    }
    let text = read_text(bytes)?;
    if keys && !is_jwt_shaped(text) {
        return read_key(bytes);
    }
    if is_token { Ok(Read::Jwt { text, place }) } else { Err(CredentialError::Malformed) }
}

/// A token that is the whole of its member.
fn read_token(bytes: &[u8]) -> Result<&str, CredentialError> {
    if is_b64token(bytes) {
        as_text(bytes)
    } else {
        read_text(bytes).and(Err(CredentialError::Malformed))
    }
}

/// Headers whose value is a list of members of which one may be a token.
fn is_list(name: &HeaderName) -> bool {
    *name == COOKIE || *name == SEC_WEBSOCKET_PROTOCOL
}

fn read_key(bytes: &[u8]) -> Result<Read<'_>, CredentialError> {
    let text = read_text(bytes)?;
    if text.len() > KEY_BYTES_MAX {
        return Err(CredentialError::Malformed);
    }
    Ok(Read::Key(text))
}

/// The key in Basic credentials: one half of what is encoded; the other one is empty.
fn read_basic<'a>(
    bytes: &'a [u8],
    part: BasicPart,
    reading: &'a Reading,
) -> Result<Read<'a>, CredentialError> {
    // A second field of Basic credentials would be a repeated key, whatever it decodes to.
    let decoded = reading.decoded.get_or_init(|| {
        let decoded = Zeroizing::new(STANDARD.decode(bytes).unwrap_or_default());
        let colon = decoded.iter().position(|byte| *byte == b':');
        let halves = colon.map(|at| (&decoded[..at], &decoded[at + 1..]));
        Zeroizing::new(match (halves, part) {
            (Some((user, [])), BasicPart::User) => user.to_vec(),
            (Some(([], password)), BasicPart::Password) => password.to_vec(),
            (Some(_) | None, _) => Vec::new(),
        })
    });
    // What could not be decoded is empty, and so malformed.
    read_key(read_text(bytes).map(|_| &**decoded)?)
}

/// Returns whether a field has Basic credentials with a half that `is` true of.
pub(in crate::decide) fn is_basic_with(field: &[u8], is: impl Fn(&str) -> bool) -> bool {
    let field = field.trim_ascii();
    let Some((scheme, bytes)) = field.split_at_checked(5) else { return false };
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let decoded = Zeroizing::new(STANDARD.decode(bytes.trim_ascii()).unwrap_or_default());
    let mut halves = decoded.splitn(2, |byte| *byte == b':');
    halves.any(|half| std::str::from_utf8(half).is_ok_and(&is))
}

/// One credential: visible ASCII without a comma, which could separate another one.
fn read_text(bytes: &[u8]) -> Result<&str, CredentialError> {
    if bytes.contains(&b',') {
        return Err(CredentialError::Repeated);
    }
    if bytes.is_empty() || !all(bytes, |byte| byte.is_ascii_graphic()) {
        return Err(CredentialError::Malformed);
    }
    as_text(bytes)
}

fn as_text(bytes: &[u8]) -> Result<&str, CredentialError> {
    std::str::from_utf8(bytes).map_err(|_| CredentialError::Malformed)
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 section 2.1).
fn is_b64token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &text[..text.len() - padding];
    !body.is_empty()
        && all(body, |byte| {
            // `-`, `.` and `/` are neighbours.
            byte.is_ascii_alphanumeric()
                | (b'-'..=b'/').contains(&byte)
                | (byte == b'_')
                | (byte == b'~')
                | (byte == b'+')
        })
}

/// `tchar` (RFC 9110 section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
