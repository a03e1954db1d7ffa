//! Sign-in through the protected application.
//!
//! Owns the way to its sign-in page and back, and that a session ends with the one that the
//! application has: another person there is another person here. The page to come back to travels
//! sealed in the path, bound to the browser, so that it leads to no other site and nothing is kept
//! for a caller who is not signed in. Never sends the application anything but its own cookies.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::base::clock::UnixTime;
use crate::config::model::issuer::AppSignIn;
use crate::issue::credential::{IdKind, SESSION_CHARS, random_text};
use crate::issue::error::ErrorCode;
use crate::issue::external::ExternalPerson;
use crate::issue::intent::Refusal;
use crate::issue::intent::external::{StartExternal, UpdateExternal};
use crate::issue::intent::sessions::{EndSessions, NewSession, Which};
use crate::issue::rows::{Person, SecretDigest};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Shown, Trouble, see_other, set_cookie};
use crate::serve::issuer::pages::browser::{Browser, SignedIn, is_fresh};
use crate::serve::issuer::pages::sign_in::{OK, Return, purpose};
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::vault::fill;
use crate::serve::issuer::whoami::{Question, Whoami};
use crate::serve::store::Caller;

/// The method of `gatepost_sign_ins_total`.
const METHOD: &str = "app";
/// The longest page to come back to, in bytes: sealed and encoded it is part of an address.
const NEXT_BYTES_MAX: usize = 4_096;
/// A browser is sent to the application's sign-in page this often, then it gets a page.
const TRIES_MAX: u8 = 3;

impl Issuer {
    /// The session of a person whom the application signs in, while it still does.
    pub(super) async fn still_signed_in(
        &self,
        settings: &Settings,
        request: &Request<Bytes>,
        mut signed_in: SignedIn,
    ) -> Result<Option<SignedIn>, Trouble> {
        let Some(app) = &settings.configured.sign_in.app else { return Ok(None) };
        let answer = self.application.whoami(app, &Question::of(app, request)).await;
        match answer.map_err(|_| no_answer())? {
            Whoami::SignedIn(known) if known.id == signed_in.person.id => {
                signed_in.session.auth_time = known.auth_time.unwrap_or(UnixTime(0));
                signed_in.person = self.updated(signed_in.person, &known).await?;
                Ok(Some(signed_in))
            }
            Whoami::SignedIn(_) | Whoami::SignedOut => {
                let (person, session) = (signed_in.person.id, signed_in.session.id);
                let which = Which::One(session);
                let caller = Caller { actor: person.0.clone(), ..Caller::default() };
                self.store.run(EndSessions { person, which }, caller).await?;
                Ok(None)
            }
        }
    }

    /// The row of a person, as the application describes them now.
    async fn updated(&self, row: Person, known: &ExternalPerson) -> Result<Person, Trouble> {
        let is_same = row.login == known.login
            && row.name == known.name
            && row.email == known.email
            && known.roles.as_ref().is_none_or(|roles| *roles == row.roles);
        if is_same {
            return Ok(row);
        }
        let caller = Caller { actor: row.id.0.clone(), ..Caller::default() };
        self.store.run(UpdateExternal { person: known.clone() }, caller).await?;
        let found = self.find::<Person>("id", &row.id).await?.pop();
        Ok(found.unwrap_or(row))
    }

    /// Signs a person in whom the application knows, or sends the browser to its sign-in page.
    pub(super) async fn through_app(
        &self,
        browser: &Browser<'_>,
        app: &Arc<AppSignIn>,
        back: Return,
    ) -> Shown {
        if back.fresh {
            return self.to_login(browser, app, back);
        }
        // A browser that keeps no cookie would be sent around in circles.
        if browser.is_new() {
            return see_other(&browser.settings, &self.way_back(browser, &back)?);
        }
        let answer = self.application.whoami(app, &Question::of(app, browser.request)).await;
        match answer.map_err(|_| self.unanswered())? {
            Whoami::SignedIn(known) => self.start_external(browser, &known, &back.next).await,
            Whoami::SignedOut => self.to_login(browser, app, back),
        }
    }

    /// The person of a browser without a session, if the application has one signed in.
    pub(super) async fn signed_in_there(
        &self,
        browser: &Browser<'_>,
    ) -> Result<Option<Arc<ExternalPerson>>, Trouble> {
        let app = browser.settings.configured.sign_in.app.as_ref();
        let Some(app) = app.filter(|_| browser.person().is_none() && !browser.is_new()) else {
            return Ok(None);
        };
        let answer = self.application.whoami(app, &Question::of(app, browser.request)).await;
        Ok(match answer.map_err(|_| self.unanswered())? {
            Whoami::SignedIn(known) => Some(known),
            Whoami::SignedOut => None,
        })
    }

    /// A POST of the button on the sign-in page.
    pub(super) async fn sign_in_by_button(&self, browser: &Browser<'_>) -> Shown {
        let form = browser.form()?;
        let sealed = form.value("next").unwrap_or_default();
        browser.check(&form, &purpose(sealed))?;
        let back = self.open_next(browser, sealed)?;
        let app = browser.settings.configured.sign_in.app.clone().ok_or_else(is_off)?;
        self.through_app(browser, &app, back).await
    }

    /// The way back from the application's sign-in page.
    pub(super) async fn come_back(&self, browser: &Browser<'_>, sealed: &str) -> Shown {
        let back = self.open_next(browser, sealed)?;
        let app = browser.settings.configured.sign_in.app.clone().ok_or_else(is_off)?;
        let question = Question::of(&app, browser.request);
        let answer = self.application.whoami_now(&app, &question).await;
        match answer.map_err(|_| self.unanswered())? {
            Whoami::SignedOut => self.to_login(browser, &app, back),
            Whoami::SignedIn(known) if !is_same(&back, &known) => Err(other_person(browser)),
            Whoami::SignedIn(known) if back.fresh && !is_fresh(known.auth_time, browser.now) => {
                self.count(METHOD, ErrorCode::LoginRequired.as_str());
                Err(not_fresh(browser))
            }
            Whoami::SignedIn(known) => self.start_external(browser, &known, &back.next).await,
        }
    }

    /// A page that asks for a recent sign-in, from which the person comes back to `next`.
    pub(super) fn sign_in_recently(&self, browser: &Browser<'_>, next: &str) -> Shown {
        let app = browser.settings.configured.sign_in.app.clone().ok_or_else(is_off)?;
        self.to_login(browser, &app, Return::to(browser, next, true))
    }

    fn to_login(&self, browser: &Browser<'_>, app: &AppSignIn, back: Return) -> Shown {
        if back.tries >= TRIES_MAX {
            self.count(METHOD, ErrorCode::LoginRequired.as_str());
            return Err(not_signed_in(browser));
        }
        let back = Return { tries: back.tries + 1, ..back };
        see_other(&browser.settings, &app.login.with(&self.way_back(browser, &back)?))
    }

    /// The path that the application sends the browser back to.
    fn way_back(&self, browser: &Browser<'_>, back: &Return) -> Result<String, Trouble> {
        if back.next.len() > NEXT_BYTES_MAX {
            return Err(Trouble::stale("The address of the request is too long."));
        }
        Ok(browser.at(&format!("/continue/{}", self.seal_next(browser, back)?)))
    }

    /// A session with a new id, whatever the browser had before.
    pub(super) async fn start_external(
        &self,
        browser: &Browser<'_>,
        known: &ExternalPerson,
        next: &str,
    ) -> Shown {
        let new = random_text(SESSION_CHARS, &mut fill).map_err(|error| Trouble::fault(&error))?;
        let session = NewSession {
            digest: SecretDigest::of_secret(new.expose()),
            id: IdKind::Session.generate(&mut fill).map_err(|error| Trouble::fault(&error))?,
            agent: browser.agent(),
            address: browser.caller.address.map(|address| address.to_string().into()),
        };
        let intent = StartExternal {
            person: known.clone(),
            session,
            replaces: browser.id_digest(),
            lifetime: browser.settings.configured.sign_in.session_lifetime.as_secs(),
        };
        let done = self.store.run(intent, browser.acting(&known.id)).await?;
        if let Err(refusal) = done.outcome {
            self.count(METHOD, ErrorCode::AccessDenied.as_str());
            tracing::warn!(person = %known.id, error = %refusal, "issuer: sign-in refused");
            return Err(refused(&refusal));
        }
        self.count(METHOD, OK);
        let settings = &browser.settings;
        let mut response = see_other(settings, next)?;
        set_cookie(&mut response, settings, (settings.session_cookie(), &new), None);
        Ok(response)
    }

    fn unanswered(&self) -> Trouble {
        self.count(METHOD, ErrorCode::TemporarilyUnavailable.as_str());
        no_answer()
    }
}

/// `whoami` did not answer, or with something else.
fn no_answer() -> Trouble {
    let text = "The application that signs people in did not answer as expected, so no person is \
                signed in here. Nothing was changed. Try again in a moment. If it stays so, tell the \
                operator: the reason is in the log of gatepost (issuer.sign_in.app.whoami).";
    let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TemporarilyUnavailable);
    Trouble { retry_after: Some(2), ..Trouble::new(status, code, text) }
}

fn is_off() -> Trouble {
    let text = "Sign-in through the application is off here (issuer.sign_in.app).";
    Trouble::new(StatusCode::FORBIDDEN, ErrorCode::LoginRequired, text)
}

/// Returns whether the person who comes back is the one who went, if one was signed in.
fn is_same(back: &Return, known: &ExternalPerson) -> bool {
    back.person.is_empty() || *back.person == *known.id.0
}

fn other_person(browser: &Browser<'_>) -> Trouble {
    let text = "You signed in to the application as another person. What the person before you began \
                has ended, and nothing was changed.";
    Trouble::new(StatusCode::FORBIDDEN, ErrorCode::AccessDenied, text)
        .with_link("Open your account", browser.at("/"))
}

fn not_signed_in(browser: &Browser<'_>) -> Trouble {
    let text = "The application sent you back, but does not say that you are signed in. Sign in \
                there first, then try again. If you are signed in there, its session cookie is not \
                among those of issuer.sign_in.app.cookies, or is not sent to this host.";
    Trouble::new(StatusCode::FORBIDDEN, ErrorCode::LoginRequired, text)
        .with_link("Try again", browser.at("/sign-in"))
}

fn not_fresh(browser: &Browser<'_>) -> Trouble {
    let text = "This needs a sign-in within the last 5 minutes, and the application does not confirm \
                one (auth_time of issuer.sign_in.app.whoami). Sign out of the application, sign in \
                there again, then come back.";
    Trouble::new(StatusCode::FORBIDDEN, ErrorCode::LoginRequired, text)
        .with_link("Open your account", browser.at("/"))
}

fn refused(refusal: &Refusal) -> Trouble {
    let text = match refusal {
        Refusal::Disabled(..) => "Your account is disabled here. Ask the operator of this service.",
        Refusal::Exists(..) => {
            "Your id in the application is the login of another person here, so you cannot be \
             signed in. Ask the operator of this service to rename that login."
        }
        _ => return Trouble::from(refusal),
    };
    Trouble::new(StatusCode::FORBIDDEN, ErrorCode::AccessDenied, text)
}
