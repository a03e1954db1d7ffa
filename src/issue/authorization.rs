//! Authorization requests (RFC 6749 section 4.1.1, RFC 7636, RFC 9207).
//!
//! Owns their parameters, the order of the checks and the form of the response. An attacker would
//! want an answer, or an error, sent to a place of their choice: the client and the redirect URI are
//! checked before anything else, and only then is there a [`Target`] to send something to. Never
//! knows a person, and never decides whether one consents.

use crate::decide::scope::ScopeSet;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::form::{Form, encode};
use crate::issue::intent::client::Scopes;
use crate::issue::intent::tokens::AUTHORIZATION_CODE;
use crate::issue::redirect::{RedirectUri, choose};
use crate::issue::request::scope;
use crate::issue::rows::{Application, Id, Profile};

/// The longest `state`, in bytes.
pub const STATE_BYTES_MAX: usize = 4_096;

/// Characters of a challenge: the base64url of a SHA-256 digest.
const CHALLENGE_CHARS: usize = 43;

/// The parameters that are read, and passed on to the sign-in page.
const PARAMETERS: [&str; 9] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
];

/// `prompt` (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// No page may be shown.
    pub none: bool,
    /// The person signs in again.
    pub login: bool,
    /// The person is asked again.
    pub consent: bool,
}

/// An authorization request whose client and redirect URI are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The registered URI.
    pub registered: RedirectUri,
    /// The URI to redirect to: the registered one, but for the port of a loopback address.
    pub uri: Box<str>,
    /// The URI of the request, which the token request must repeat.
    pub presented: Option<Box<str>>,
    /// `state`, echoed as it came.
    pub state: Option<Box<str>>,
}

/// What an authorization request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The scopes, each known and allowed to the application.
    pub scopes: ScopeSet,
    /// The PKCE challenge.
    pub challenge: Option<Box<str>>,
}

/// The client of a request.
///
/// # Errors
/// `invalid_request`: there is none, or `state` is too long to be sent back.
pub fn client(form: &Form) -> Result<Id, OAuthError> {
    if form.value("state").is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        return Err(OAuthError::invalid_request("state is longer than 4 KiB"));
    }
    form.required("client_id").map(Id::from)
}

impl Target {
    /// The place that the answer goes to.
    ///
    /// # Errors
    /// `invalid_request`: nothing may be sent anywhere.
    pub fn of(form: &Form, application: &Application) -> Result<Self, OAuthError> {
        let presented = form.value("redirect_uri");
        if presented.is_none() && application.profile == Profile::Strict {
            return Err(OAuthError::invalid_request("missing parameter: redirect_uri"));
        }
        let registered = application.redirect_uris.0.iter();
        let registered: Vec<_> =
            registered.filter_map(|uri| RedirectUri::parse(uri).ok()).collect();
        let Some((found, uri)) = choose(&registered, presented) else {
            return Err(OAuthError::invalid_request(match presented {
                Some(_) => "redirect_uri is not registered for this application",
                None => "missing parameter: redirect_uri: several are registered",
            }));
        };
        Ok(Self {
            registered: found.clone(),
            uri: uri.into(),
            presented: presented.map(Box::from),
            state: form.value("state").map(Box::from),
        })
    }

    /// The URI of a success.
    #[must_use]
    pub fn with_code(&self, code: &str, issuer: &str) -> String {
        self.response(&[("code", code)], issuer)
    }

    /// The URI of an error.
    #[must_use]
    pub fn with_error(&self, error: &OAuthError, issuer: &str) -> String {
        let members =
            [("error", error.code().as_str()), ("error_description", error.description())];
        self.response(&members, issuer)
    }

    /// RFC 6749 section 4.1.2, with `iss` of RFC 9207: added to the query that the URI has.
    fn response(&self, members: &[(&str, &str)], issuer: &str) -> String {
        let mut uri = self.uri.to_string();
        let state = self.state.as_deref().map(|state| ("state", state));
        for (name, value) in members.iter().copied().chain(state).chain([("iss", issuer)]) {
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri.push_str(name);
            uri.push('=');
            uri.push_str(&encode(value));
        }
        uri
    }
}

impl Prompt {
    /// Reads `prompt`.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn read(form: &Form) -> Result<Self, OAuthError> {
        let mut prompt = Self::default();
        let text = form.value("prompt").unwrap_or_default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                _ => {
                    let accepted = "prompt: none, login and consent are accepted";
                    return Err(OAuthError::invalid_request(accepted));
                }
            }
        }
        if prompt.none && (prompt.login || prompt.consent) {
            return Err(OAuthError::invalid_request("prompt: none cannot be combined with others"));
        }
        Ok(prompt)
    }
}

impl Wanted {
    /// Checks the rest of a request.
    ///
    /// # Errors
    /// An error of RFC 6749 section 4.1.2.1.
    pub fn read(
        form: &Form,
        application: &Application,
        scopes: &Scopes,
    ) -> Result<Self, OAuthError> {
        if !application.grants.contains(AUTHORIZATION_CODE) {
            let description = "the application may not use the authorization code grant";
            return Err(OAuthError::new(ErrorCode::UnauthorizedClient, description));
        }
        if form.required("response_type")? != "code" {
            let description = "response_type: code is accepted";
            return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, description));
        }
        if form.value("response_mode").is_some_and(|mode| mode != "query") {
            return Err(OAuthError::invalid_request("response_mode: query is accepted"));
        }
        let challenge = challenge(form, application)?;
        let asked = scope(form)?;
        let scopes = scopes.requested(asked.as_ref(), application);
        let scopes = scopes.map_err(|refusal| OAuthError::from(&refusal))?;
        Ok(Self { scopes, challenge })
    }
}

/// PKCE with S256 alone: a challenge without a method is `plain` (RFC 7636 section 4.3).
fn challenge(form: &Form, application: &Application) -> Result<Option<Box<str>>, OAuthError> {
    let method = form.value("code_challenge_method");
    let Some(challenge) = form.value("code_challenge") else {
        if application.profile == Profile::Strict {
            let description = "missing parameter: code_challenge: this application uses PKCE";
            return Err(OAuthError::invalid_request(description));
        }
        if method.is_some() {
            let description = "code_challenge_method without a code_challenge";
            return Err(OAuthError::invalid_request(description));
        }
        return Ok(None);
    };
    if method != Some("S256") {
        return Err(OAuthError::invalid_request("code_challenge_method: S256 is accepted"));
    }
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if challenge.len() != CHALLENGE_CHARS || !challenge.bytes().all(is_fit) {
        let description = "code_challenge: the base64url of a SHA-256 digest has 43 characters";
        return Err(OAuthError::invalid_request(description));
    }
    Ok(Some(challenge.into()))
}

/// The query of the same request, to come back to after sign-in. Without `prompt=login`: that was
/// done.
#[must_use]
pub fn query(form: &Form, signed_in: bool) -> String {
    let mut query = String::new();
    for name in PARAMETERS {
        let Some(value) = form.value(name) else { continue };
        let value = if signed_in && name == "prompt" {
            let words: Vec<_> = value.split(' ').filter(|word| *word != "login").collect();
            words.join(" ")
        } else {
            value.to_owned()
        };
        if !value.is_empty() {
            query.push_str(if query.is_empty() { "" } else { "&" });
            query.push_str(name);
            query.push('=');
            query.push_str(&encode(&value));
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::clock::UnixTime;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const URI: &str = "https://shop.example.com/cb?x=1";

    fn application(profile: Profile) -> Application {
        Application {
            id: Id::from("shop"),
            owner: None,
            name: "Shop".into(),
            site: None,
            confidential: true,
            profile,
            redirect_uris: [URI, "http://127.0.0.1/cb"].into_iter().collect(),
            grants: ["authorization_code"].into_iter().collect(),
            scopes: None,
            first_party: false,
            introspect: false,
            access_lifetime: None,
            plugin: None,
            approved: None,
            generation: Id::from("g"),
            created: UnixTime(0),
            disabled: None,
            ended: None,
        }
    }

    fn form(text: &str) -> Form {
        Form::decode(text.as_bytes()).unwrap()
    }

    fn scopes() -> Arc<Scopes> {
        let known = ScopeSet::parse("read write").unwrap();
        Arc::new(Scopes { known, ..Scopes::default() })
    }

    #[track_caller]
    fn refused(profile: Profile, text: &str, code: &str) {
        let error = Wanted::read(&form(text), &application(profile), &scopes()).unwrap_err();
        assert_eq!(error.code().as_str(), code, "{text}: {}", error.description());
    }

    #[test]
    fn r1101_an_answer_goes_to_a_registered_uri_or_nowhere() {
        let strict = application(Profile::Strict);
        let of = |uri: &str| Target::of(&form(&format!("redirect_uri={}", encode(uri))), &strict);
        assert_eq!(&*of(URI).unwrap().uri, URI);
        assert_eq!(&*of("http://127.0.0.1:7777/cb").unwrap().uri, "http://127.0.0.1:7777/cb");
        for wrong in [
            "https://shop.example.com/cb",
            "https://shop.example.com/cb?x=1&y=2",
            "https://shop.example.com/cb?x=1#f",
            "https://SHOP.example.com/cb?x=1",
            "https://shop.example.com:443/cb?x=1",
            "https://shop.example.com@evil.example/cb?x=1",
            "https://evil.example/cb?x=1",
            "//evil.example",
            "javascript:alert(1)",
            "http://127.0.0.1/other",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert!(Target::of(&form(""), &strict).is_err());
        let compat = application(Profile::Compat);
        assert!(Target::of(&form(""), &compat).is_err(), "two are registered");
        let one = Application { redirect_uris: [URI].into_iter().collect(), ..compat };
        let target = Target::of(&form("state=a%26b"), &one).unwrap();
        assert_eq!((target.presented.as_deref(), &*target.uri), (None, URI));
        assert_eq!(
            target.with_code("gp_ac_1", "https://api.example.com"),
            format!("{URI}&code=gp_ac_1&state=a%26b&iss=https%3A%2F%2Fapi.example.com")
        );
        let error = OAuthError::new(ErrorCode::AccessDenied, "the person refused");
        assert_eq!(
            target.with_error(&error, "https://api.example.com"),
            format!(
                "{URI}&error=access_denied&error_description=the%20person%20refused&state=a%26b\
                 &iss=https%3A%2F%2Fapi.example.com"
            )
        );
    }

    #[test]
    fn r1102_pkce_is_s256_or_refused() {
        let begin = "response_type=code";
        let pkce = format!("{begin}&code_challenge={CHALLENGE}&code_challenge_method=S256");
        for profile in [Profile::Strict, Profile::Compat] {
            let wanted = Wanted::read(&form(&pkce), &application(profile), &scopes()).unwrap();
            assert_eq!(wanted.challenge.as_deref(), Some(CHALLENGE));
            for wrong in [
                format!("{begin}&code_challenge={CHALLENGE}"),
                format!("{begin}&code_challenge={CHALLENGE}&code_challenge_method=plain"),
                format!("{begin}&code_challenge=short&code_challenge_method=S256"),
                format!("{begin}&code_challenge_method=S256"),
            ] {
                refused(profile, &wrong, "invalid_request");
            }
        }
        refused(Profile::Strict, begin, "invalid_request");
        let compat = Wanted::read(&form(begin), &application(Profile::Compat), &scopes()).unwrap();
        assert_eq!((compat.challenge, compat.scopes.to_string()), (None, "read write".into()));
    }

    #[test]
    fn contract_authorization_requests_are_checked_in_their_order() {
        let compat = Profile::Compat;
        refused(compat, "", "invalid_request");
        refused(compat, "response_type=token", "unsupported_response_type");
        refused(compat, "response_type=code&response_mode=fragment", "invalid_request");
        refused(compat, "response_type=code&scope=other", "invalid_scope");
        let asked = form("response_type=code&scope=read+offline_access");
        let wanted = Wanted::read(&asked, &application(compat), &scopes()).unwrap();
        assert_eq!(wanted.scopes.to_string(), "read");
        let without = Application { grants: ["x"].into_iter().collect(), ..application(compat) };
        let error = Wanted::read(&asked, &without, &scopes()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnauthorizedClient);
        assert!(client(&form("state=x")).is_err());
        assert!(client(&form(&format!("client_id=a&state={}", "x".repeat(4_097)))).is_err());
    }

    #[test]
    fn contract_prompt_is_done_once() {
        let read = |text: &str| Prompt::read(&form(text));
        assert_eq!(read(""), Ok(Prompt::default()));
        assert!(read("prompt=none").unwrap().none);
        assert!(read("prompt=login").unwrap().login);
        for wrong in ["prompt=none+login", "prompt=create", "prompt=None"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let asked = form("client_id=a&state=b%26c&prompt=login+consent&other=x&scope=");
        assert_eq!(query(&asked, false), "client_id=a&state=b%26c&prompt=login%20consent");
        assert_eq!(query(&asked, true), "client_id=a&state=b%26c&prompt=consent");
        assert_eq!(query(&form("prompt=login"), true), "");
    }
}
