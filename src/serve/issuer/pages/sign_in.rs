//! Sign-in of local people, and sign-out.
//!
//! Owns the form, and that every failure has the same answer after the same work: an unknown login,
//! a disabled person and a wrong password. Where the failures of a place have used up its budget, a
//! right password is refused there like a wrong one: it may have been found by trying. Failures
//! elsewhere refuse none, and a browser in which the person signed in before is a place of its own.
//! The page to come back to travels sealed in the form, so that it leads to no other site. Never
//! keeps a password.

use std::time::Duration;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};

use crate::base::secret::Secret;
use crate::decide::request::address::limit_bytes;
use crate::decide::request::framing::TARGET_BYTES_MAX;
use crate::issue::credential::{IdKind, SESSION_CHARS, random_text};
use crate::issue::error::ErrorCode;
use crate::issue::external::is_external;
use crate::issue::intent::sessions::{EndSessions, NewSession, StartSession, Which};
use crate::issue::password::{BYTES_MAX, dummy};
use crate::issue::rows::{Id, Password, PasswordHash, Person, Sealed, SecretDigest};
use crate::issue::safe_store::Context;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{
    Forms, Shown, Trouble, html, notice, refused, see_other, set_cookie,
};
use crate::serve::issuer::pages::browser::Browser;
use crate::serve::issuer::pages::frame::Frame;
use crate::serve::issuer::passwords::Place;
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::vault::{context, fill};

/// The method of `gatepost_sign_ins_total`.
const METHOD: &str = "password";
pub(super) const OK: &str = "ok";
/// The longest path and query that a person comes back to, in bytes: what a listener takes.
const NEXT_BYTES_MAX: usize = TARGET_BYTES_MAX;
/// Seconds that a browser is known after a sign-in.
const KNOWN_AGE: u64 = 400 * 86_400;
const KNOWN_CHARS: usize = 22;
/// The longest login that is looked up, in bytes.
const LOGIN_BYTES_MAX: usize = 128;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    frame: &'a Frame,
    login: &'a str,
    next: &'a str,
    csrf: &'a str,
    mistake: Option<&'a str>,
    /// The application signs people in, too.
    has_app: bool,
}

/// The page that a person comes back to after sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Return {
    /// The browser was sent to the sign-in page of the application so often.
    pub(super) tries: u8,
    /// The person is to sign in again, signed in or not.
    pub(super) fresh: bool,
    /// The person who was signed in when it began; empty for none.
    pub(super) person: String,
    /// A path of this host.
    pub(super) next: String,
}

impl Return {
    /// A sign-in that begins.
    pub(super) fn to(browser: &Browser<'_>, next: &str, fresh: bool) -> Self {
        let person = browser.person().map(|one| one.person.id.to_string());
        Self { tries: 0, fresh, person: person.unwrap_or_default(), next: next.to_owned() }
    }

    /// Neither a person nor a path has a line break.
    fn to_text(&self) -> String {
        format!("{} {} {}\n{}", self.tries, u8::from(self.fresh), self.person, self.next)
    }

    fn parse(text: &str) -> Option<Self> {
        let (facts, next) = text.split_once('\n')?;
        let mut facts = facts.splitn(3, ' ');
        let (tries, fresh) = (facts.next()?.parse().ok()?, facts.next()? == "1");
        Some(Self { tries, fresh, person: facts.next()?.to_owned(), next: next.to_owned() })
    }
}

/// What a person typed.
struct Typed {
    login: String,
    password: Secret<String>,
}

impl Issuer {
    /// The sign-in page, from which the person comes back to `next`: a path of this host.
    pub(super) async fn sign_in_first(&self, browser: &Browser<'_>, next: &str) -> Shown {
        if browser.person().is_some() {
            return see_other(&browser.settings, &browser.at("/"));
        }
        self.sign_in_form(browser, Return::to(browser, next, false)).await
    }

    /// The same for a person who may be signed in, and is asked to sign in again.
    pub(super) async fn sign_in_form(&self, browser: &Browser<'_>, back: Return) -> Shown {
        let sign_in = &browser.settings.configured.sign_in;
        if let Some(app) = sign_in.app.as_ref().filter(|_| !sign_in.local) {
            return self.through_app(browser, app, back).await;
        }
        let next = self.seal_next(browser, &back)?;
        self.sign_in_page(browser, &next, "", None)
    }

    fn sign_in_page(
        &self,
        browser: &Browser<'_>,
        next: &str,
        login: &str,
        mistake: Option<&str>,
    ) -> Shown {
        check_local(browser)?;
        let (frame, csrf) = (browser.frame(), browser.token(&purpose(next)));
        let has_app = browser.settings.configured.sign_in.app.is_some();
        let page = Page { frame: &frame, login, next, csrf: &csrf, mistake, has_app };
        match mistake {
            None => html(&browser.settings, Forms::Leave, &page),
            Some(_) => refused(&browser.settings, Forms::Leave, &page),
        }
    }

    /// A POST of the form.
    pub(super) async fn sign_in(&self, browser: &Browser<'_>) -> Shown {
        check_local(browser)?;
        let form = browser.form()?;
        let sealed = form.value("next").unwrap_or_default();
        browser.check(&form, &purpose(sealed))?;
        let next = self.open_next(browser, sealed)?.next;
        let (login, password) = (form.value("login"), form.value("password"));
        let (Some(login), Some(password)) = (login, password) else {
            let text = "Enter your login and your password.";
            let login = login.unwrap_or_default();
            return self.sign_in_page(browser, sealed, login, Some(text));
        };
        let typed = Typed { login: login.to_owned(), password: Secret::new(password.to_owned()) };
        let place = self.place(browser, &typed.login).await?;
        self.check_guesses(&typed.login, &place)?;
        match self.proved(&typed, &place).await? {
            Some((person, hash)) => self.start_session(browser, person, hash, &next).await,
            None => self.failed_sign_in(browser, sealed, &typed, &place),
        }
    }

    /// The place that turns and failures of a sign-in are counted at.
    async fn place(&self, browser: &Browser<'_>, login: &str) -> Result<Place, Trouble> {
        if let Some(known) = self.known(browser, login).await? {
            return Ok(Place::Known(known));
        }
        let bytes = browser.caller.address.map(limit_bytes).unwrap_or_default();
        let is_one = browser.caller.address.is_some_and(|one| self.revoked.is_single_caller(one));
        Ok(if is_one { Place::Address(bytes) } else { Place::Shared(bytes) })
    }

    /// Refuses a password, right or wrong, where failures have used up the budget of its place.
    fn check_guesses(&self, login: &str, place: &Place) -> Result<(), Trouble> {
        let now = self.clock.now().monotonic;
        let budget = match place {
            Place::Known(_) | Place::Address(_) => &self.failures,
            Place::Shared(_) => &self.shared_failures,
        };
        let looked = budget.look(&account(login), place.bytes(), now);
        looked.map_err(|wait| self.too_many_sign_ins(wait))
    }

    fn too_many_sign_ins(&self, wait: Duration) -> Trouble {
        self.count_sign_in(ErrorCode::RateLimited.as_str());
        too_many(wait, "Too many failed attempts to sign in. Wait, or ask for a reset link.")
    }

    /// The person whose password it is. As much work for a login that is unknown.
    async fn proved(
        &self,
        typed: &Typed,
        place: &Place,
    ) -> Result<Option<(Person, PasswordHash)>, Trouble> {
        let person = self.by_login(&typed.login).await?;
        let is_active = |person: &Person| person.disabled.is_none();
        let id = person.as_ref().map_or_else(|| Id::from(""), |person| person.id.clone());
        let hash = self.password_of(&id).await?;
        let compared = hash.clone().unwrap_or_else(dummy);
        let is_right = self.is_password(place, &typed.password, compared).await;
        let is_right = is_right.inspect_err(|error| self.count_sign_in(error.code.as_str()))?;
        Ok(person.filter(is_active).zip(hash).filter(|_| is_right))
    }

    /// Compares a password on the thread for them.
    pub(super) async fn is_password(
        &self,
        place: &Place,
        password: &Secret<String>,
        hash: PasswordHash,
    ) -> Result<bool, Trouble> {
        if password.expose().len() > BYTES_MAX {
            return Ok(false);
        }
        let verified = self.passwords.verify(password.clone(), hash, place);
        verified.await.map_err(|_| Trouble::unavailable())
    }

    /// The hash of a person's password, if they have one.
    pub(super) async fn password_of(&self, person: &Id) -> Result<Option<PasswordHash>, Trouble> {
        let row = self.find::<Password>("person", person).await?.pop();
        Ok(row.map(|row| row.hash).filter(|hash| !hash.0.is_empty()))
    }

    async fn by_login(&self, login: &str) -> Result<Option<Person>, Trouble> {
        if login.len() > LOGIN_BYTES_MAX {
            return Ok(None);
        }
        Ok(self.find_live::<Person>("login", &Box::<str>::from(login)).await?.pop())
    }

    /// A session with a new id, whatever the browser had before.
    async fn start_session(
        &self,
        browser: &Browser<'_>,
        person: Person,
        password: PasswordHash,
        next: &str,
    ) -> Shown {
        let new = random_text(SESSION_CHARS, &mut fill).map_err(|error| Trouble::fault(&error))?;
        let session = NewSession {
            digest: SecretDigest::of_secret(new.expose()),
            id: IdKind::Session.generate(&mut fill).map_err(|error| Trouble::fault(&error))?,
            agent: browser.agent(),
            address: browser.caller.address.map(|address| address.to_string().into()),
        };
        let intent = StartSession {
            person: person.id.clone(),
            password,
            session,
            replaces: browser.id_digest(),
            lifetime: browser.settings.configured.sign_in.session_lifetime.as_secs(),
        };
        let done = self.store.run(intent, browser.acting(&person.id)).await?;
        done.outcome.map_err(|refusal| Trouble::from(&refusal))?;
        self.count_sign_in(OK);
        let settings = &browser.settings;
        let mut response = see_other(settings, next)?;
        set_cookie(&mut response, settings, (settings.session_cookie(), &new), None);
        self.set_known(&mut response, settings, &person.id)?;
        Ok(response)
    }

    /// Marks the browser as one in which the person proved who they are.
    pub(super) fn set_known(
        &self,
        response: &mut Response<Bytes>,
        settings: &Settings,
        person: &Id,
    ) -> Result<(), Trouble> {
        let known = self.known_browser(person)?;
        set_cookie(response, settings, (settings.known_cookie(), &known), Some(KNOWN_AGE));
        Ok(())
    }

    /// The same form, or 429 once the budget of this place is exhausted.
    fn failed_sign_in(
        &self,
        browser: &Browser<'_>,
        next: &str,
        typed: &Typed,
        place: &Place,
    ) -> Shown {
        let now = self.clock.now().monotonic;
        let account = account(&typed.login);
        if let Place::Shared(bytes) = place {
            // What right passwords are refused by there; wrong ones have the budget of any address.
            let _ = self.shared_failures.charge_at(&account, bytes, now);
        }
        let charged = self.failures.charge_at(&account, place.bytes(), now);
        charged.map_err(|wait| self.too_many_sign_ins(wait))?;
        self.count_sign_in(ErrorCode::AccessDenied.as_str());
        let text = "The login or the password is wrong.";
        let mut response = self.sign_in_page(browser, next, &typed.login, Some(text))?;
        response.extensions_mut().insert(ErrorCode::AccessDenied);
        Ok(response)
    }

    /// Compares the password of a person who is signed in, within a budget of failures.
    pub(super) async fn is_own_password(
        &self,
        browser: &Browser<'_>,
        person: &Id,
        typed: &str,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Trouble> {
        const TEXT: &str = "Too many wrong passwords. Wait a moment, then try again.";
        let account = format!("confirm:{person}");
        let typed = Secret::new(typed.to_owned());
        let is_right = match hash {
            Some(hash) => self.is_password(&proved(person), &typed, hash).await?,
            None => false,
        };
        let now = self.clock.now().monotonic;
        let place = browser.caller.address.map(limit_bytes).unwrap_or_default();
        // A session has one person: no other is refused with this one.
        let within = match is_right {
            true => self.failures.look(&account, &place, now),
            false => self.failures.charge_at(&account, &place, now),
        };
        within.map(|()| is_right).map_err(|wait| too_many(wait, TEXT))
    }

    /// Signs out: the session ends, and the cookie is emptied.
    pub(super) async fn sign_out(&self, browser: &Browser<'_>) -> Shown {
        let form = browser.form()?;
        browser.check(&form, "sign-out")?;
        let settings = &browser.settings;
        if let Some(signed_in) = browser.person() {
            let person = signed_in.person.id.clone();
            let which = Which::One(signed_in.session.id.clone());
            self.act(browser, &person, EndSessions { person: person.clone(), which }).await?;
        }
        let mut response = match browser.person() {
            Some(signed_in) if is_external(&signed_in.person.id) => signed_out(settings, browser)?,
            Some(_) | None => see_other(settings, &browser.at("/sign-in"))?,
        };
        let none = Secret::new(String::new());
        set_cookie(&mut response, settings, (settings.session_cookie(), &none), Some(0));
        Ok(response)
    }

    /// A text that only a browser has in which this person signed in.
    fn known_browser(&self, person: &Id) -> Result<Secret<String>, Trouble> {
        let random = random_text(KNOWN_CHARS, &mut fill).map_err(|error| Trouble::fault(&error))?;
        let proof = URL_SAFE_NO_PAD.encode(self.known_proof(random.expose(), person).0);
        Ok(Secret::new(format!("{}.{proof}", random.expose())))
    }

    fn known_proof(&self, random: &str, person: &Id) -> SecretDigest {
        self.vault.keyed_digest(&format!("known\n{random}\n{person}"))
    }

    /// The place that failures of a browser count at in which the person of this login signed in
    /// before: others cannot exhaust its budget.
    async fn known(&self, browser: &Browser<'_>, login: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let cookie = browser.cookie(browser.settings.known_cookie());
        let Some((random, proof)) = cookie.and_then(|text| text.split_once('.')) else {
            return Ok(None);
        };
        let Some(person) = self.by_login(login).await? else { return Ok(None) };
        let proof = URL_SAFE_NO_PAD.decode(proof).ok().and_then(|bytes| bytes.try_into().ok());
        let is_right = random.len() == KNOWN_CHARS
            && proof.map(SecretDigest) == Some(self.known_proof(random, &person.id));
        Ok(is_right.then(|| format!("browser:{random}").into_bytes()))
    }

    pub(super) fn seal_next(
        &self,
        browser: &Browser<'_>,
        back: &Return,
    ) -> Result<String, Trouble> {
        if back.next.len() > NEXT_BYTES_MAX {
            return Err(Trouble::stale("The address of the request is too long."));
        }
        let sealed = self.vault.seal_own(&next_place(browser)?, back.to_text().as_bytes());
        sealed.map(|sealed| sealed.0.into()).map_err(|error| Trouble::fault(&error))
    }

    pub(super) fn open_next(&self, browser: &Browser<'_>, sealed: &str) -> Result<Return, Trouble> {
        let opened = self.vault.open_own(&next_place(browser)?, &Sealed(sealed.into()));
        let text = opened.ok().and_then(|text| String::from_utf8(text.expose().clone()).ok());
        text.as_deref().and_then(Return::parse).ok_or_else(|| {
            Trouble::stale(
                "This sign-in is too old, or belongs to another browser. Open the page again.",
            )
            .with_link("Sign in", browser.at("/sign-in"))
        })
    }

    fn count_sign_in(&self, result: &str) {
        self.count(METHOD, result);
    }

    pub(super) fn count(&self, method: &str, result: &str) {
        self.people.sign_ins.with_label_values(&[method, result]).inc();
    }
}

/// The application would sign the person in at once on the sign-in page.
fn signed_out(settings: &Settings, browser: &Browser<'_>) -> Shown {
    let text = "You are signed out here. You are still signed in to the application: sign out there, \
                too, if others use this browser.";
    let link = ("Sign in", browser.at("/sign-in"));
    let frame = Frame::default();
    notice(settings, &Frame { account: browser.at(""), ..frame }, ("Signed out", text), Some(&link))
}

/// The place of a person who is signed in, or has a reset link.
pub(super) fn proved(person: &Id) -> Place {
    Place::Known(format!("person:{person}").into_bytes())
}

/// The account that failed sign-ins are charged to.
fn account(login: &str) -> String {
    format!("person:{login}")
}

fn too_many(wait: Duration, text: &str) -> Trouble {
    let (status, code) = (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited);
    Trouble { retry_after: Some(wait.as_secs() + 1), ..Trouble::new(status, code, text) }
}

/// A form that was kept does not outlive the setting.
fn check_local(browser: &Browser<'_>) -> Result<(), Trouble> {
    if browser.settings.configured.sign_in.local {
        return Ok(());
    }
    let text = "Sign-in with passwords is off here (issuer.sign_in.accounts).";
    Err(Trouble::new(StatusCode::FORBIDDEN, ErrorCode::LoginRequired, text))
}

/// The purpose of the form: it is good for one page to come back to.
pub(super) fn purpose(next: &str) -> String {
    format!("sign-in\n{next}")
}

/// Good in the browser that the form was sent to.
fn next_place(browser: &Browser<'_>) -> Result<Context, Trouble> {
    let row = URL_SAFE_NO_PAD.encode(browser.id_digest().0);
    context("pages", "next", &row).map_err(|error| Trouble::fault(&error))
}
