//! Applications of a developer: list, details, secrets, deletion.
//!
//! Owns the pages of a person's own applications. A secret is in the answer to the form that makes
//! it; its owner sees it again after the password. Never shows an application of another person, and
//! never sets what is for operators.

use askama::Template;
use http::StatusCode;

use crate::base::secret::Secret;
use crate::config::model::issuer::Registration;
use crate::decide::api_key::format::{SecretKind, generate};
use crate::decide::scope::ScopeSet;
use crate::issue::application::is_reviewed;
use crate::issue::credential::IdKind;
use crate::issue::error::ErrorCode;
use crate::issue::form::Form;
use crate::issue::intent::Refusal;
use crate::issue::intent::applications::{
    AddSecret, ClientSecret, EndSecret, Turn, TurnApplication,
};
use crate::issue::intent::credentials::NewSecret;
use crate::issue::person::DEVELOPER;
use crate::issue::rows::{self, Application, Id, SecretDigest};
use crate::issue::safe_store::Owner;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, refused, see_other};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::{Frame, Mistake, about, date};
use crate::serve::issuer::vault::{context, fill};

/// One application of the list.
struct Row {
    id: String,
    name: String,
    kind: &'static str,
    created: String,
    is_reviewed: bool,
}

#[derive(Template)]
#[template(path = "applications.html")]
struct List<'a> {
    frame: &'a Frame,
    rows: &'a [Row],
    may_register: bool,
}

/// One secret of an application.
struct SecretRow {
    id: String,
    created: String,
    ends: String,
    can_be_seen: bool,
}

#[derive(Template)]
#[template(path = "application.html")]
struct Details<'a> {
    frame: &'a Frame,
    row: &'a Row,
    profile: &'a str,
    redirect_uris: Vec<&'a str>,
    grants: Vec<&'a str>,
    scopes: Vec<&'a str>,
    secrets: &'a [SecretRow],
    is_confidential: bool,
    must_confirm: bool,
    new_id: &'a str,
    csrf: &'a str,
    mistakes: &'a [Mistake],
}

impl Details<'_> {
    fn about(&self, field: &str) -> Option<&str> {
        about(self.mistakes, field)
    }
}

#[derive(Template)]
#[template(path = "application_secret.html")]
struct Revealed<'a> {
    frame: &'a Frame,
    name: &'a str,
    client_id: &'a str,
    secret: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "application_delete.html")]
struct Delete<'a> {
    frame: &'a Frame,
    row: &'a Row,
    csrf: &'a str,
}

impl Issuer {
    pub(super) async fn applications(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        path: &[&str],
        is_post: bool,
    ) -> Shown {
        match (path, is_post) {
            ([], false) => self.list_applications(browser, signed_in).await,
            (["new"], false) => self.new_application(browser, signed_in),
            (["new"], true) => self.register(browser, signed_in).await,
            ([id], false) => {
                let row = self.own_application(signed_in, id).await?;
                self.details(browser, &row, &[]).await
            }
            ([id, "secrets"], true) => self.add_secret(browser, signed_in, id).await,
            ([id, "delete"], is_post) => {
                self.delete_application(browser, signed_in, id, is_post).await
            }
            _ => Err(Trouble::not_found()),
        }
    }

    async fn list_applications(&self, browser: &Browser<'_>, signed_in: &SignedIn) -> Shown {
        let mut found = self.find_live::<Application>("owner", &signed_in.person.id).await?;
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let rows: Vec<_> = found.iter().map(shown).collect();
        let (frame, may_register) = (browser.frame(), may_register(browser, signed_in));
        html(&browser.settings, Forms::Here, &List { frame: &frame, rows: &rows, may_register })
    }

    /// The person's own application of this id.
    async fn own_application(
        &self,
        signed_in: &SignedIn,
        id: &str,
    ) -> Result<Application, Trouble> {
        let found = self.find_live::<Application>("id", &Id::from(id)).await?.pop();
        let is_own = |row: &Application| row.owner.as_ref() == Some(&signed_in.person.id);
        found.filter(is_own).ok_or_else(Trouble::not_found)
    }

    async fn details(
        &self,
        browser: &Browser<'_>,
        row: &Application,
        mistakes: &[Mistake],
    ) -> Shown {
        let secrets = self.find::<rows::Secret>("application", &row.id).await?;
        let live = secrets.iter().filter(|one| one.ends.is_none_or(|end| browser.now < end));
        let secrets: Vec<_> = live
            .map(|one| SecretRow {
                id: one.id.to_string(),
                created: date(one.created),
                ends: one.ends.map_or_else(|| "no end".to_owned(), date),
                can_be_seen: one.sealed.is_some(),
            })
            .collect();
        let new_id = IdKind::ClientSecret.generate(&mut fill);
        let new_id = new_id.map_err(|error| Trouble::fault(&error))?;
        let frame = browser.frame();
        let page = Details {
            frame: &frame,
            row: &shown(row),
            profile: row.profile.as_str(),
            redirect_uris: row.redirect_uris.0.iter().map(AsRef::as_ref).collect(),
            grants: row.grants.0.iter().map(AsRef::as_ref).collect(),
            scopes: row.scopes.iter().flat_map(ScopeSet::iter).collect(),
            secrets: &secrets,
            is_confidential: row.confidential,
            must_confirm: browser.must_confirm(),
            new_id: new_id.as_str(),
            csrf: &browser.token(&purpose("secrets", &row.id)),
            mistakes,
        };
        match mistakes {
            [] => html(&browser.settings, Forms::Here, &page),
            _ => refused(&browser.settings, Forms::Here, &page),
        }
    }

    /// Adds a secret, shows one again, or ends one: one form for each, which name what they are for.
    async fn add_secret(&self, browser: &Browser<'_>, signed_in: &SignedIn, id: &str) -> Shown {
        let form = browser.form()?;
        let row = self.own_application(signed_in, id).await?;
        browser.check(&form, &purpose("secrets", &row.id))?;
        if let Some(mistake) = self.confirm(browser, signed_in, &form).await? {
            return self.details(browser, &row, &[mistake]).await;
        }
        match (form.value("act"), form.value("secret")) {
            (Some("end"), Some(secret)) => {
                let intent = EndSecret { application: row.id.clone(), secret: Id::from(secret) };
                self.act(browser, &signed_in.person.id, intent).await?;
                let back = browser.at(&format!("/applications/{id}"));
                see_other(&browser.settings, &back)
            }
            (Some("show"), Some(secret)) => self.show_secret(browser, &row, secret).await,
            _ => self.make_secret(browser, signed_in, (&row, &form)).await,
        }
    }

    async fn make_secret(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        (row, form): (&Application, &Form),
    ) -> Shown {
        let new_id = Id::from(form.value("new_id").unwrap_or_default());
        if !IdKind::ClientSecret.is_form_of(new_id.as_str()) {
            return Err(Trouble::stale("The form is not complete. Open the page again."));
        }
        if self.find::<rows::Secret>("id", &new_id).await?.pop().is_some() {
            return Err(used_before(browser));
        }
        let (secret, text) = self.new_client_secret(&signed_in.person.id, new_id).await?;
        let intent = AddSecret { application: row.id.clone(), secret, end_old: None };
        let done = self.store.run(intent, browser.acting(&signed_in.person.id)).await?;
        match done.outcome {
            Ok(_) => reveal(browser, row, Some(text.expose())),
            Err(Refusal::Limit(_)) => {
                let text = "Two secrets are live, which is the limit. End one first.".to_owned();
                let mistakes = [Mistake { field: "secrets", text }];
                self.details(browser, row, &mistakes).await
            }
            Err(refusal) => Err(Trouble::from(&refusal)),
        }
    }

    /// A secret that its owner sees again.
    async fn show_secret(&self, browser: &Browser<'_>, row: &Application, id: &str) -> Shown {
        let found = self.find::<rows::Secret>("id", &Id::from(id)).await?.pop();
        let found = found.filter(|one| one.application == row.id);
        let found = found.ok_or_else(Trouble::not_found)?;
        let sealed = found.sealed.ok_or_else(Trouble::not_found)?;
        let owner = row.owner.as_ref().and_then(|owner| Owner::new(owner.as_str()));
        let owner = owner.ok_or_else(Trouble::not_found)?;
        let place = context("secrets", "sealed", id).map_err(|error| Trouble::fault(&error))?;
        let opened = self.vault.open_for(owner, &place, &sealed).await;
        let opened = opened.map_err(|error| Trouble::fault(&error))?;
        let text = Secret::new(String::from_utf8_lossy(opened.expose()).into_owned());
        reveal(browser, row, Some(text.expose()))
    }

    /// A new client secret, with a copy that its owner can open.
    pub(super) async fn new_client_secret(
        &self,
        owner: &Id,
        id: Id,
    ) -> Result<(ClientSecret, Secret<String>), Trouble> {
        let text = generate(SecretKind::ClientSecret, &mut fill);
        let text = text.map_err(|error| Trouble::fault(&error))?;
        let place = context("secrets", "sealed", id.as_str());
        let place = place.map_err(|error| Trouble::fault(&error))?;
        let owner = Owner::new(owner.as_str()).ok_or_else(Trouble::not_found)?;
        let sealed = self.vault.seal(owner, &place, text.expose().as_bytes()).await;
        let sealed = Some(sealed.map_err(|error| Trouble::fault(&error))?);
        let digest = SecretDigest::of_secret(text.expose());
        let secret = NewSecret { id, digest, hint: "".into() };
        Ok((ClientSecret { secret, sealed }, text))
    }

    async fn delete_application(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        id: &str,
        is_post: bool,
    ) -> Shown {
        let row = self.own_application(signed_in, id).await?;
        let purpose = purpose("delete", &row.id);
        if !is_post {
            let (frame, csrf, row) = (browser.frame(), browser.token(&purpose), shown(&row));
            let page = Delete { frame: &frame, row: &row, csrf: &csrf };
            return html(&browser.settings, Forms::Here, &page);
        }
        let form = browser.form()?;
        browser.check(&form, &purpose)?;
        let intent = TurnApplication { application: row.id, turn: Turn::Delete };
        self.act(browser, &signed_in.person.id, intent).await?;
        see_other(&browser.settings, &browser.at("/applications"))
    }
}

/// The page that shows id and secret.
pub(super) fn reveal(browser: &Browser<'_>, row: &Application, secret: Option<&str>) -> Shown {
    let frame = browser.frame();
    let page = Revealed { frame: &frame, name: &row.name, client_id: row.id.as_str(), secret };
    html(&browser.settings, Forms::Here, &page)
}

/// Returns whether the person may register applications.
pub(super) fn may_register(browser: &Browser<'_>, signed_in: &SignedIn) -> bool {
    match browser.settings.configured.registration {
        Registration::Anyone => true,
        Registration::Role => signed_in.person.roles.contains(DEVELOPER),
        Registration::Off => false,
    }
}

pub(super) fn used_before(browser: &Browser<'_>) -> Trouble {
    let text = "This form was sent before, and it did what it says. Nothing was made twice.";
    Trouble::new(StatusCode::CONFLICT, ErrorCode::InvalidRequest, text)
        .with_link("Your applications", browser.at("/applications"))
}

fn purpose(act: &str, application: &Id) -> String {
    format!("application\n{act}\n{application}")
}

fn shown(row: &Application) -> Row {
    Row {
        id: row.id.to_string(),
        name: row.name.to_string(),
        kind: if row.confidential { "confidential" } else { "public" },
        created: date(row.created),
        is_reviewed: is_reviewed(row),
    }
}
