//! The browser of a request: its cookie, its session, and the token of its forms.
//!
//! Owns the session cookie and the CSRF token, an HMAC of the cookie and of what the form is for, so
//! that a token is good for one browser and one purpose. Before sign-in the cookie is a random id
//! that nothing is stored under; sign-in gives another one. An attacker would want a person's
//! browser to send a form, or to sign in to a session that the attacker knows. Never reads a
//! bearer token or an API key: they open no page.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::config::model::issuer::Registration;
use crate::decide::request::own_cookie;
use crate::issue::credential::{SESSION_CHARS, random_text};
use crate::issue::error::ErrorCode;
use crate::issue::external::is_external;
use crate::issue::form::Form;
use crate::issue::intent::sessions::TouchSession;
use crate::issue::origin::check_post;
use crate::issue::rows::{Id, Person, SecretDigest, Session};
use crate::serve::issuer::pages::answer::{Trouble, set_cookie};
use crate::serve::issuer::pages::frame::Frame;
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::vault::{Vault, fill};
use crate::serve::issuer::{Caller, Issuer};

/// Seconds between two records of a session's last request.
const SEEN: u64 = 60;
/// Seconds after a sign-in in which no password is asked for again.
const FRESH: u64 = 300;
/// Seconds that the clock of the store may be ahead.
const AHEAD: u64 = 60;

/// A person who is signed in.
#[derive(Clone, Debug)]
pub(super) struct SignedIn {
    pub(super) session: Session,
    pub(super) person: Person,
}

/// The browser of a request.
pub(super) struct Browser<'r> {
    pub(super) request: &'r Request<Bytes>,
    pub(super) caller: &'r Caller,
    pub(super) settings: Arc<Settings>,
    pub(super) now: UnixTime,
    signed_in: Option<SignedIn>,
    /// The session has just ended: the application has another person, or none, signed in.
    is_replaced: bool,
    /// The id in the cookie.
    id: Secret<String>,
    /// The cookie is sent with the answer.
    is_new: bool,
    vault: Arc<Vault>,
}

impl Issuer {
    /// The browser of a request, with its session if that is in force.
    pub(super) async fn browser<'r>(
        &self,
        request: &'r Request<Bytes>,
        caller: &'r Caller,
    ) -> Result<Browser<'r>, Trouble> {
        let settings = self.settings.load_full();
        let sent = cookie(request, settings.session_cookie()).filter(|id| is_id(id));
        let is_new = sent.is_none();
        let id = match sent {
            Some(id) => Secret::new(id.to_owned()),
            None => random_text(SESSION_CHARS, &mut fill).map_err(|fail| Trouble::fault(&fail))?,
        };
        let now = self.clock.now().unix;
        let known = if is_new { None } else { self.signed_in(&settings, &id, now).await? };
        let had_session = known.is_some();
        let signed_in = match known {
            Some(known) if is_external(&known.person.id) => {
                self.still_signed_in(&settings, request, known).await?
            }
            known => known,
        };
        let is_replaced = had_session && signed_in.is_none();
        // Sessions of local people do not outlive the setting.
        let signed_in = signed_in
            .filter(|one| settings.configured.sign_in.local || is_external(&one.person.id));
        let vault = Arc::clone(&self.vault);
        Ok(Browser { request, caller, settings, now, signed_in, is_replaced, id, is_new, vault })
    }

    async fn signed_in(
        &self,
        settings: &Settings,
        id: &Secret<String>,
        now: UnixTime,
    ) -> Result<Option<SignedIn>, Trouble> {
        let digest = SecretDigest::of_secret(id.expose());
        let idle = settings.configured.sign_in.session_idle.as_secs();
        let session = self.find::<Session>("digest", &digest).await?.pop();
        let Some(session) = session.filter(|session| session.is_live(idle, now)) else {
            return Ok(None);
        };
        let person = self.find::<Person>("id", &session.person).await?.pop();
        let is_active = |person: &Person| person.ended.is_none() && person.disabled.is_none();
        let Some(person) = person.filter(is_active) else { return Ok(None) };
        if now.0 >= session.seen.0.saturating_add(SEEN.min(idle / 4)) {
            // Not awaited: a page does not wait for a disk.
            let (store, caller) = (self.store.clone(), crate::serve::store::Caller::default());
            self.runtime.spawn(async move { store.run(TouchSession { digest }, caller).await });
        }
        Ok(Some(SignedIn { session, person }))
    }
}

impl Browser<'_> {
    /// The person who is signed in.
    pub(super) fn person(&self) -> Option<&SignedIn> {
        self.signed_in.as_ref()
    }

    /// The person who must be signed in to send a form.
    pub(super) fn require(&self) -> Result<&SignedIn, Trouble> {
        self.signed_in.as_ref().ok_or_else(|| {
            let text = match self.is_replaced {
                true => {
                    "Another person is signed in to the application now, or you signed out there, so \
                     this session has ended. Nothing was changed. Open the page again."
                }
                false => "You are signed out, or your session has ended. Nothing was changed.",
            };
            let link = self.at("/sign-in");
            Trouble::new(StatusCode::FORBIDDEN, ErrorCode::LoginRequired, text)
                .with_link("Sign in", link)
        })
    }

    /// The path of a page.
    pub(super) fn at(&self, page: &str) -> String {
        format!("{}{page}", self.settings.account)
    }

    /// The frame of a page.
    pub(super) fn frame(&self) -> Frame {
        let configured = &self.settings.configured;
        Frame {
            account: self.settings.account.to_string(),
            login: self.signed_in.as_ref().map(|one| shown_name(&one.person)),
            sign_out: self.token("sign-out"),
            has_tokens: configured.personal_access_tokens.is_some(),
            has_keys: configured.api_keys.is_some(),
            has_applications: configured.registration != Registration::Off,
        }
    }

    /// The CSRF token of a form for one purpose.
    pub(super) fn token(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.digest(purpose).0)
    }

    fn digest(&self, purpose: &str) -> SecretDigest {
        self.vault.keyed_digest(&format!("csrf\n{}\n{purpose}", self.id.expose()))
    }

    /// Digest of the id in the cookie.
    pub(super) fn id_digest(&self) -> SecretDigest {
        SecretDigest::of_secret(self.id.expose())
    }

    /// The form of a POST that a page of this origin sent.
    pub(super) fn form(&self) -> Result<Form, Trouble> {
        let headers = self.request.headers();
        let field = |name| headers.get(name).map(http::HeaderValue::as_bytes);
        let own = self.origin();
        if check_post(field("origin"), field("sec-fetch-site"), &own).is_err() {
            let text = "This request came from a page of another site. Nothing was changed.";
            return Err(Trouble::new(StatusCode::FORBIDDEN, ErrorCode::AccessDenied, text));
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Form::parse(content_type, self.request.body())?)
    }

    /// Checks the CSRF token of a form.
    pub(super) fn check(&self, form: &Form, purpose: &str) -> Result<(), Trouble> {
        let sent = form.value("csrf").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let sent = sent.and_then(|bytes| bytes.try_into().ok()).map(SecretDigest);
        if sent.is_some_and(|sent| sent == self.digest(purpose)) {
            return Ok(());
        }
        let text = "This form belongs to an earlier session of this browser, or to another one. \
                    Nothing was changed. Open the page again.";
        Err(Trouble::new(StatusCode::FORBIDDEN, ErrorCode::AccessDenied, text)
            .with_link("Open your account", self.at("/")))
    }

    /// Scheme and host that the browser sees.
    fn origin(&self) -> String {
        let host = self.request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if self.settings.is_https() { "https" } else { "http" };
        format!("{scheme}://{}", host.to_ascii_lowercase())
    }

    /// Sends the cookie of a browser that had none, so that its forms can be recognized.
    pub(super) fn finish(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        let name = self.settings.session_cookie();
        let has_own = response.headers().contains_key(header::SET_COOKIE);
        // A browser sends no Lax cookie with a POST of another site: the one that it has must stay.
        if self.is_new && !has_own && self.request.method() != Method::POST {
            set_cookie(&mut response, &self.settings, (name, &self.id), None);
        }
        response
    }

    /// Returns whether a change needs the password again.
    pub(super) fn must_confirm(&self) -> bool {
        self.is_stale() && !self.is_external()
    }

    /// Returns whether a change needs another sign-in in the application, whose people have no
    /// password here.
    pub(super) fn must_sign_in_again(&self) -> bool {
        self.is_stale() && self.is_external()
    }

    /// The application serves pages of its own from this host, and the last sign-in was a while ago.
    fn is_stale(&self) -> bool {
        let has_own_host = self.settings.configured.pages.is_some();
        let fresh = |one: &SignedIn| is_fresh(Some(one.session.auth_time), self.now);
        !has_own_host && !self.signed_in.as_ref().is_some_and(fresh)
    }

    fn is_external(&self) -> bool {
        self.signed_in.as_ref().is_some_and(|one| is_external(&one.person.id))
    }

    /// `User-Agent`, shortened.
    pub(super) fn agent(&self) -> Option<Box<str>> {
        const CHARS_MAX: usize = 120;
        let agent = self.request.headers().get(header::USER_AGENT)?.to_str().ok()?;
        let agent: String = agent.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect();
        (!agent.is_empty()).then(|| agent.into())
    }

    /// Returns whether the request came without a session cookie.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The value of a cookie of this request.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        cookie(self.request, name)
    }

    /// This person as the actor of a change.
    pub(super) fn acting(&self, person: &Id) -> crate::serve::store::Caller {
        self.caller.acting(person.as_str())
    }
}

impl Settings {
    /// Returns whether the pages have https, by the configuration: never by a header.
    pub(super) fn is_https(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// The name of the session cookie.
    pub(super) fn session_cookie(&self) -> &'static str {
        if self.is_https() { own_cookie::SESSION } else { own_cookie::SESSION_HTTP }
    }

    /// The name of the cookie of browsers that signed in before.
    pub(super) fn known_cookie(&self) -> &'static str {
        if self.is_https() { own_cookie::KNOWN } else { own_cookie::KNOWN_HTTP }
    }
}

/// Returns whether a sign-in was within the last 5 minutes.
pub(super) fn is_fresh(auth_time: Option<UnixTime>, now: UnixTime) -> bool {
    // A clock that stepped back makes no sign-in fresh for longer.
    let is_past = |at: UnixTime| at.0 <= now.0.saturating_add(AHEAD);
    auth_time.is_some_and(|at| is_past(at) && now.0 < at.0.saturating_add(FRESH))
}

/// A person as the pages name them.
pub(super) fn shown_name(person: &Person) -> String {
    let login = person.login.as_deref();
    login.unwrap_or(person.id.as_str()).to_owned()
}

/// The one cookie of this name; several are none: which one counts would be a guess.
fn cookie<'r>(request: &'r Request<Bytes>, name: &str) -> Option<&'r str> {
    let values = request.headers().get_all(header::COOKIE).iter();
    // Bytes: cookies of the application share the field, and may have any.
    let pairs = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut found = pairs.filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let value = std::str::from_utf8(pair[at + 1..].trim_ascii()).ok()?;
        (pair[..at].trim_ascii() == name.as_bytes()).then_some(value)
    });
    let first = found.next();
    if found.next().is_some() { None } else { first }
}

fn is_id(text: &str) -> bool {
    text.len() == SESSION_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
