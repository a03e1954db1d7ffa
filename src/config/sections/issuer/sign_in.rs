//! `issuer.sign_in`.
//!
//! Owns local accounts, sign-in through the application, and sessions. Never sends a request and
//! never signs a person in.

use std::sync::Arc;
use std::time::Duration;

use crate::config::key_url::KeyUrl;
use crate::config::language::walk::Mapping;
use crate::config::language::walk::key::{Key, Section};
use crate::config::language::walk::types::{Lasting, List, NestedAs, Parsed, Words};
use crate::config::model::issuer::{AppSignIn, SignIn, Template};
use crate::decide::request::own_cookie;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) static SIGN_IN: Key<NestedAs<SignIn>> =
    Key::new("sign_in", NestedAs(&SECTION, sign_in), "sign-in of people").or("{}");

static SECTION: Section = Section::new("issuer.sign_in", &[&ACCOUNTS, &APP, &SESSION]);

/// True is `local`.
static ACCOUNTS: Key<Words<bool>> = Key::new(
    "accounts",
    Words(&[("local", true), ("off", false)]),
    "local users with passwords, or off",
)
.or("local");

static APP: Key<NestedAs<Arc<AppSignIn>>> = Key::new(
    "app",
    NestedAs(&APPS, app),
    "sign-in through the protected application; absent means none",
);

static APPS: Section = Section::new("issuer.sign_in.app", &[&WHOAMI, &LOGIN, &COOKIES, &PERSON]);

static WHOAMI: Key<Parsed<KeyUrl>> = Key::required(
    "whoami",
    Parsed(whoami),
    "the address that answers who is signed in: https, or http on loopback",
);

static LOGIN: Key<Parsed<Template>> = Key::required(
    "login",
    Parsed(login),
    "the sign-in page of the application, with {return_to} in its query",
);

// Each is looked for among the cookies of every request for a page.
static COOKIES: Key<List<Parsed<Box<str>>>> = Key::required(
    "cookies",
    List(Parsed(cookie), 1, 16),
    "the names of the cookies that are sent to whoami, and no others",
);

static PERSON: Key<Parsed<Template>> = Key::new(
    "person",
    Parsed(person),
    "the address that answers 404 for a person who is gone, with {sub}: https, or http on loopback",
);

static SESSION: Key<NestedAs<(Duration, Duration)>> =
    Key::new("session", NestedAs(&SESSIONS, session), "lifetimes of sessions").or("{}");

static SESSIONS: Section = Section::new("issuer.sign_in.session", &[&LIFETIME, &IDLE]);

static LIFETIME: Key<Lasting> = Key::new(
    "lifetime",
    Lasting(SECOND, DAY.saturating_mul(90)),
    "the longest session, whatever its use",
)
.or("12h");

static IDLE: Key<Lasting> = Key::new(
    "idle",
    Lasting(SECOND, DAY.saturating_mul(90)),
    "the longest time between two requests of a session",
)
.or("1h");

/// The longest `login` and the longest name of a cookie, in bytes.
const LOGIN_BYTES_MAX: usize = 1_024;
const COOKIE_BYTES_MAX: usize = 128;

fn sign_in(section: &Mapping<'_>) -> Option<SignIn> {
    let local = section.read(&ACCOUNTS)?;
    let app = match section.has(&APP) {
        true => Some(section.read(&APP)?),
        false => None,
    };
    let (session_lifetime, session_idle) = section.read(&SESSION)?;
    Some(SignIn { local, app, session_lifetime, session_idle })
}

fn app(section: &Mapping<'_>) -> Option<Arc<AppSignIn>> {
    let (whoami, login) = (section.read(&WHOAMI), section.read(&LOGIN));
    let cookies = section.read(&COOKIES);
    let person = match section.has(&PERSON) {
        true => section.read(&PERSON).map(Some),
        false => Some(None),
    };
    let (whoami, login, cookies, person) = (whoami?, login?, cookies?, person?);
    Some(Arc::new(AppSignIn { whoami, login, cookies, person }))
}

fn session(section: &Mapping<'_>) -> Option<(Duration, Duration)> {
    Some((section.read(&LIFETIME)?, section.read(&IDLE)?))
}

/// The text is not quoted: it might contain a password.
fn whoami(text: &str) -> Result<KeyUrl, String> {
    KeyUrl::parse(text, false).map_err(|_| {
        "is not an address that cookies may be sent to: https://HOST[:PORT]/PATH is accepted, and \
         http on loopback, without a user and a fragment"
            .to_owned()
    })
}

fn login(text: &str) -> Result<Template, String> {
    let template = Template::parse(text, "return_to").ok_or_else(|| {
        "needs {return_to} once, for the page to come back to: /login?next={return_to}".to_owned()
    })?;
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let is_url = || KeyUrl::parse(&template.with("x"), false).is_ok();
    let fits = text.len() <= LOGIN_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.contains(['\\', '#'])
        && template.before().contains('?');
    if fits && (is_path || is_url()) {
        return Ok(template);
    }
    Err("is not a sign-in page: a path as in /login?next={return_to}, or an https URL (http on \
         loopback) with {return_to} in its query, is accepted"
        .to_owned())
}

fn cookie(text: &str) -> Result<Box<str>, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !(1..=COOKIE_BYTES_MAX).contains(&text.len()) || !text.bytes().all(is_token) {
        return Err(format!(
            "is not the name of a cookie: 1 to {COOKIE_BYTES_MAX} letters, digits and \
             !#$%&'*+-.^_`|~ are accepted"
        ));
    }
    if own_cookie::is_set_by(format!("{text}=").as_bytes()) {
        return Err("is a cookie of gatepost, which no application may see".to_owned());
    }
    Ok(text.into())
}

fn person(text: &str) -> Result<Template, String> {
    let template = Template::parse(text, "sub").ok_or_else(|| {
        "needs {sub} once, for the person: http://127.0.0.1:3000/people/{sub}".to_owned()
    })?;
    // In the host it would let a person choose the server that vouches for them.
    let path = template.before().splitn(4, '/').nth(3);
    if path.is_some() && KeyUrl::parse(&template.with("x"), false).is_ok() {
        return Ok(template);
    }
    Err("is not an address of people: https://HOST[:PORT]/PATH/{sub} is accepted, and http on \
         loopback, without a user and a fragment"
        .to_owned())
}
