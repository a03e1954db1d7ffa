//! The form for a new personal access token or API key, and the page that reveals it once.
//!
//! Owns what the form accepts: name, permissions within the person's roles, an end within the
//! configuration, and the password where the last sign-in was a while ago. Never stores a secret.

use http::StatusCode;

use crate::base::clock::{UnixTime, parse_instant};
use crate::base::secret::Secret;
use crate::decide::api_key::format::generate;
use crate::decide::scope::ScopeSet;
use crate::issue::credential::IdKind;
use crate::issue::error::ErrorCode;
use crate::issue::form::Form;
use crate::issue::intent::Refusal;
use crate::issue::intent::credentials::{CreateCredential, Ending, NewSecret};
use crate::issue::rows::{Credential, CredentialKind, DigestMethod, Id, SecretDigest};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, refused};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::credential_test;
use crate::serve::issuer::pages::credential_view::{
    Choice, DAY, Desk, Expiry, Made, New, secret_kind,
};
use crate::serve::issuer::pages::frame::{Mistake, date};
use crate::serve::issuer::pages::scopes::{held, ticked};
use crate::serve::issuer::vault::fill;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;
/// Characters of a secret that lists show.
const HINT_CHARS: usize = 4;
/// The lifetimes that the form offers, in days.
const DAYS: [u64; 5] = [7, 30, 60, 90, 365];

impl Issuer {
    /// The empty form, or the form with the settings of the credential that the query names.
    pub(super) async fn new_credential(&self, desk: &Desk<'_>) -> Shown {
        let id = new_id(desk.kind)?;
        let query = desk.browser.request.uri().query().unwrap_or_default();
        let form = match Form::decode(query.as_bytes())?.value("again") {
            Some(again) => again_form(desk, &self.own_credential(desk, again).await?),
            None => Form::default(),
        };
        self.new_page(desk, &form, &id, &[])
    }

    /// The form; with the values that were sent.
    fn new_page(&self, desk: &Desk<'_>, form: &Form, id: &Id, mistakes: &[Mistake]) -> Shown {
        let browser = desk.browser;
        let is_first = form.names().next().is_none();
        let choices: Vec<_> = allowed(desk)
            .iter()
            .enumerate()
            .map(|(at, name)| Choice {
                field: format!("scope-{at}"),
                name: name.to_owned(),
                text: words_of(browser, name),
                is_chosen: if is_first {
                    desk.kind == CredentialKind::Pat && name == "read"
                } else {
                    form.value(&format!("scope-{at}")).is_some()
                },
            })
            .collect();
        let (frame, expiries) = (browser.frame(), expiries(desk, form.value("expiry")));
        let page = New {
            frame: &frame,
            words: desk.words,
            name: form.value("name").unwrap_or_default(),
            is_key: desk.kind == CredentialKind::Key,
            is_full: form.value("full").is_some() || (is_first && desk.kind == CredentialKind::Key),
            choices: &choices,
            expiries: &expiries,
            date: form.value("date").unwrap_or_default(),
            must_confirm: browser.must_confirm(),
            id: id.as_str(),
            csrf: &browser.token(&format!("new\n{id}")),
            mistakes,
        };
        match mistakes {
            [] => html(&browser.settings, Forms::Here, &page),
            _ => refused(&browser.settings, Forms::Here, &page),
        }
    }

    pub(super) async fn create_credential(&self, desk: &Desk<'_>) -> Shown {
        let browser = desk.browser;
        let form = browser.form()?;
        let id = Id::from(form.value("id").unwrap_or_default());
        browser.check(&form, &format!("new\n{id}"))?;
        let (mut mistakes, name) = (Vec::new(), form.value("name").unwrap_or_default().trim());
        if name.is_empty()
            || name.chars().count() > NAME_CHARS_MAX
            || name.chars().any(char::is_control)
        {
            let text = format!("Enter a name of 1 to {NAME_CHARS_MAX} characters.");
            mistakes.push(Mistake { field: "name", text });
        }
        let scopes = chosen(desk, &form);
        if scopes.is_empty() {
            let text = "Choose at least one permission.".to_owned();
            mistakes.push(Mistake { field: "scopes", text });
        }
        let ending = ending(&form, browser.now);
        if ending.is_none() {
            let text = "Enter a date in the future, such as 2027-01-31.".to_owned();
            mistakes.push(Mistake { field: "expiry", text });
        }
        if mistakes.is_empty() {
            mistakes.extend(self.confirm(browser, desk.signed_in, &form).await?);
        }
        let Some(ending) = ending.filter(|_| mistakes.is_empty()) else {
            return self.new_page(desk, &form, &id, &mistakes);
        };
        let (secret, text) = new_secret(desk.kind, id.clone())?;
        let intent = CreateCredential {
            method: DigestMethod::Made,
            kind: desk.kind,
            secret,
            owner: desk.signed_in.person.id.0.clone(),
            name: name.into(),
            scopes,
            ending,
            lifetimes: desk.lifetimes,
        };
        let done = self.store.run(intent, browser.acting(&desk.signed_in.person.id)).await?;
        match done.outcome {
            Ok(row) => self.reveal(desk, &row, &text, None),
            Err(refusal) => match refused_form(desk, &refusal)? {
                Some(mistake) => self.new_page(desk, &form, &id, &[mistake]),
                None => Err(used_before(desk)),
            },
        }
    }

    /// The password, where it must be entered again.
    pub(super) async fn confirm(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        form: &Form,
    ) -> Result<Option<Mistake>, Trouble> {
        if browser.must_sign_in_again() {
            let text = "You signed in to the application some time ago. Sign in there again, then \
                        repeat this. Nothing was changed.";
            let link = browser.at("/sign-in/again");
            return Err(Trouble::new(StatusCode::FORBIDDEN, ErrorCode::LoginRequired, text)
                .with_link("Sign in again", link));
        }
        if !browser.must_confirm() {
            return Ok(None);
        }
        let mistake = |text: &str| Mistake { field: "password", text: text.to_owned() };
        let Some(typed) = form.value("password") else {
            return Ok(Some(mistake("Enter your password.")));
        };
        let hash = self.password_of(&signed_in.person.id).await?;
        let is_right = self.is_own_password(browser, &signed_in.person.id, typed, hash).await?;
        Ok((!is_right).then(|| mistake("The password is wrong.")))
    }

    pub(super) fn reveal(
        &self,
        desk: &Desk<'_>,
        row: &Credential,
        secret: &Secret<String>,
        old_until: Option<UnixTime>,
    ) -> Shown {
        let browser = desk.browser;
        let (frame, old_until) = (browser.frame(), old_until.map(date));
        let base = browser.settings.api_base();
        let page = Made {
            frame: &frame,
            words: desk.words,
            name: &row.name,
            secret: secret.expose(),
            expires: &row.expires.map_or_else(|| "never".to_owned(), date),
            old_until: old_until.as_deref(),
            csrf: &browser.token(&credential_test::purpose(desk.kind)),
            curl: &format!("curl -H '{}{}' {base}/", desk.header, secret.expose()),
        };
        html(&browser.settings, Forms::Here, &page)
    }
}

/// The settings of a credential: name, and the permissions that the person still has.
fn again_form(desk: &Desk<'_>, row: &Credential) -> Form {
    let allowed = allowed(desk);
    let mut pairs = vec![("name".to_owned(), row.name.to_string())];
    let given = allowed.iter().enumerate().filter(|(_, scope)| row.scopes.contains(scope));
    pairs.extend(given.map(|(at, _)| (format!("scope-{at}"), "on".to_owned())));
    if desk.kind == CredentialKind::Key && row.scopes.contains_all(&allowed) {
        pairs.push(("full".to_owned(), "on".to_owned()));
    }
    Form::of(pairs)
}

/// A refusal that the form shows; `None` where the form was used before.
pub(super) fn refused_form(desk: &Desk<'_>, refusal: &Refusal) -> Result<Option<Mistake>, Trouble> {
    let field = match refusal {
        Refusal::Exists(..) => return Ok(None),
        Refusal::Lifetime(_) | Refusal::Forever => "expiry",
        Refusal::Limit(_) => "name",
        _ => return Err(Trouble::from(refusal)),
    };
    let text = match refusal {
        Refusal::Lifetime(seconds) => {
            format!("At most {} days are allowed here.", seconds / DAY)
        }
        Refusal::Limit(limit) => {
            format!(
                "You have {} {}s, which is the limit. Revoke one first.",
                limit.most, desk.words.one
            )
        }
        other => other.to_string(),
    };
    Ok(Some(Mistake { field, text }))
}

pub(super) fn used_before(desk: &Desk<'_>) -> Trouble {
    let text = format!(
        "This form was sent before, and the {} was made then. It is shown once only: if you did not \
         store it, revoke it and create another one.",
        desk.words.one
    );
    let list = desk.browser.at(&format!("/{}", desk.words.folder));
    Trouble::new(StatusCode::CONFLICT, ErrorCode::InvalidRequest, text)
        .with_link("Back to the list", list)
}

pub(super) fn new_id(kind: CredentialKind) -> Result<Id, Trouble> {
    let id = match kind {
        CredentialKind::Pat => IdKind::PersonalAccessToken,
        CredentialKind::Key => IdKind::ApiKey,
    };
    id.generate(&mut fill).map_err(|error| Trouble::fault(&error))
}

/// A new secret under the id of the form, whose CSRF token vouches for it.
pub(super) fn new_secret(
    kind: CredentialKind,
    id: Id,
) -> Result<(NewSecret, Secret<String>), Trouble> {
    let text = generate(secret_kind(kind), &mut fill).map_err(|error| Trouble::fault(&error))?;
    let hint = text.expose()[text.expose().len() - HINT_CHARS..].into();
    let digest = SecretDigest::of_secret(text.expose());
    Ok((NewSecret { id, digest, hint }, text))
}

/// The scopes that the person may have.
pub(super) fn allowed(desk: &Desk<'_>) -> ScopeSet {
    held(desk.browser, desk.signed_in)
}

fn chosen(desk: &Desk<'_>, form: &Form) -> ScopeSet {
    let allowed = allowed(desk);
    if form.value("full").is_some() {
        return allowed;
    }
    ticked(&allowed, form)
}

fn words_of(browser: &Browser<'_>, scope: &str) -> String {
    let words = browser.settings.configured.scopes.iter().find(|one| *one.name == *scope);
    words.map_or_else(|| scope.to_owned(), |one| one.text.to_string())
}

/// The lifetimes that are allowed, each with its date.
fn expiries(desk: &Desk<'_>, chosen: Option<&str>) -> Vec<Expiry> {
    let max = desk.lifetimes.max.as_secs() / DAY;
    let default = desk.lifetimes.default.as_secs() / DAY;
    let chosen = chosen.map_or_else(|| default.to_string(), str::to_owned);
    let mut days: Vec<_> = DAYS.into_iter().chain([default]).filter(|days| *days <= max).collect();
    days.sort_unstable();
    days.dedup();
    let at = |days: u64| date(UnixTime(desk.browser.now.0.saturating_add(days * DAY)));
    let mut all: Vec<_> = days
        .into_iter()
        .filter(|days| *days > 0)
        .map(|days| Expiry {
            value: days.to_string(),
            text: format!("{days} days ({})", &at(days)[..10]),
            is_chosen: chosen == days.to_string(),
        })
        .collect();
    if desk.lifetimes.forever {
        let is_chosen = chosen == "never";
        all.push(Expiry { value: "never".into(), text: "No end".into(), is_chosen });
    }
    let (value, text) = ("date".to_owned(), "Until the date below".to_owned());
    all.push(Expiry { value, text, is_chosen: chosen == "date" });
    all
}

/// The end that was chosen; `None` if it is no date.
fn ending(form: &Form, now: UnixTime) -> Option<Ending> {
    match form.value("expiry")? {
        "never" => Some(Ending::Never),
        "date" => {
            let day = format!("{}T00:00:00Z", form.value("date")?);
            let at = parse_instant(&day).ok()?;
            (at > now).then_some(Ending::At(at))
        }
        days => {
            let days = days.parse::<u64>().ok().filter(|days| (1..=36_500).contains(days))?;
            Some(Ending::At(UnixTime(now.0.saturating_add(days * DAY))))
        }
    }
}
