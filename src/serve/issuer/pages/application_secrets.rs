//! Client secrets of a developer's application: add, show again, end.
//!
//! Owns the forms. A secret is in the answer to the form that makes it; its owner sees it again after
//! the password, out of the SafeStore. The form names the id of the secret, so that a reload makes no
//! second one. Never shows a secret of another application.

use std::collections::HashMap;

use askama::Template;

use crate::base::secret::Secret;
use crate::decide::api_key::format::{SecretKind, generate};
use crate::issue::credential::IdKind;
use crate::issue::form::Form;
use crate::issue::intent::Refusal;
use crate::issue::intent::applications::{AddSecret, ClientSecret, EndSecret};
use crate::issue::intent::credentials::NewSecret;
use crate::issue::rows::{self, Application, Id, SecretDigest};
use crate::issue::safe_store::Owner;
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, see_other};
use crate::serve::issuer::pages::application_view::{SecretRow, purpose, used_before};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::{Frame, Mistake, date};
use crate::serve::issuer::vault::{context, fill};

#[derive(Template)]
#[template(path = "application_secret.html")]
struct Revealed<'a> {
    frame: &'a Frame,
    name: &'a str,
    client_id: &'a str,
    secret: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "application_secret_end.html")]
struct End<'a> {
    frame: &'a Frame,
    name: &'a str,
    application: &'a str,
    row: &'a SecretRow,
    csrf: &'a str,
}

impl Issuer {
    /// The secrets that have not ended, the oldest first.
    pub(super) async fn secret_rows(
        &self,
        browser: &Browser<'_>,
        row: &Application,
    ) -> Result<Vec<SecretRow>, Trouble> {
        let mut secrets = self.find::<rows::Secret>("application", &row.id).await?;
        secrets.retain(|one| one.ends.is_none_or(|end| browser.now < end));
        secrets.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        let mut uses = HashMap::new();
        for one in &secrets {
            uses.extend(self.last_use(&one.id).await?.map(|at| (one.id.clone(), at)));
        }
        let shown = |one: rows::Secret| SecretRow {
            created: date(one.created),
            used: uses.get(&one.id).map_or_else(|| "never used".to_owned(), |at| date(*at)),
            ends: one.ends.map_or_else(|| "no end".to_owned(), date),
            can_be_seen: one.sealed.is_some(),
            id: one.id.0.into(),
        };
        Ok(secrets.into_iter().map(shown).collect())
    }

    /// Adds a secret or shows one again, by the button of the form.
    pub(super) async fn add_secret(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        id: &str,
    ) -> Shown {
        let form = browser.form()?;
        let row = self.own_application(signed_in, id).await?;
        browser.check(&form, &purpose("secrets", &row.id))?;
        if let Some(mistake) = self.confirm(browser, signed_in, &form).await? {
            return self.details(browser, &row, &[mistake]).await;
        }
        match (form.value("act"), form.value("secret")) {
            (Some("show"), Some(secret)) => self.show_secret(browser, &row, secret).await,
            (Some("show"), None) => {
                let text = "Choose the secret to show.".to_owned();
                self.details(browser, &row, &[Mistake { field: "secrets", text }]).await
            }
            _ => self.make_secret(browser, signed_in, (&row, &form)).await,
        }
    }

    /// The page that ends a secret, and its form.
    pub(super) async fn end_secret(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        (id, secret): (&str, &str),
        is_post: bool,
    ) -> Shown {
        let row = self.own_application(signed_in, id).await?;
        let purpose = purpose(&format!("end\n{secret}"), &row.id);
        if is_post {
            browser.check(&browser.form()?, &purpose)?;
            let intent = EndSecret { application: row.id, secret: Id::from(secret) };
            self.act(browser, &signed_in.person.id, intent).await?;
            let back = browser.at(&format!("/applications/{id}?done=ended"));
            return see_other(&browser.settings, &back);
        }
        let live = self.secret_rows(browser, &row).await?;
        let Some(shown) = live.iter().find(|one| one.id == secret) else {
            let text = "This secret has ended already. Nothing was changed.";
            let back = browser.at(&format!("/applications/{id}"));
            return Err(Trouble::stale(text).with_link("Back to the application", back));
        };
        let (frame, csrf) = (browser.frame(), browser.token(&purpose));
        let page = End { frame: &frame, name: &row.name, application: id, row: shown, csrf: &csrf };
        html(&browser.settings, Forms::Here, &page)
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
        let text = self.open_secret(row, &found).await?;
        reveal(browser, row, Some(text.expose()))
    }

    /// The text of a secret that was sealed for its owner.
    pub(super) async fn open_secret(
        &self,
        row: &Application,
        secret: &rows::Secret,
    ) -> Result<Secret<String>, Trouble> {
        let sealed = secret.sealed.as_ref().ok_or_else(Trouble::not_found)?;
        let owner = row.owner.as_ref().and_then(|owner| Owner::new(owner.as_str()));
        let owner = owner.ok_or_else(Trouble::not_found)?;
        let place = context("secrets", "sealed", secret.id.as_str());
        let place = place.map_err(|error| Trouble::fault(&error))?;
        let opened = self.vault.open_for(owner, &place, sealed).await;
        let opened = opened.map_err(|error| Trouble::fault(&error))?;
        Ok(Secret::new(String::from_utf8_lossy(opened.expose()).into_owned()))
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
}

/// The page that shows id and secret.
pub(super) fn reveal(browser: &Browser<'_>, row: &Application, secret: Option<&str>) -> Shown {
    let frame = browser.frame();
    let page = Revealed { frame: &frame, name: &row.name, client_id: row.id.as_str(), secret };
    html(&browser.settings, Forms::Here, &page)
}
