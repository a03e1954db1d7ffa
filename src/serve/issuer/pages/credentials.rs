//! Personal access tokens and API keys: list, rotate, disable, revoke.
//!
//! Owns both pages, which differ in their words. A new secret is in the answer to the form that makes
//! it and nowhere else: the form names the id of the credential, so that a reload makes no second
//! one. Dangerous acts have a page of their own. Never shows a credential of another person.

use std::collections::HashMap;

use crate::base::clock::UnixTime;
use crate::issue::form::{Form, encode};
use crate::issue::intent::credentials::{Ending, RotateCredential, Turn, TurnCredential};
use crate::issue::rows::{Credential, CredentialKind, DisabledBy, Id, Use};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, refused, see_other};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::credential_form::{
    allowed, new_id, new_secret, refused_form, used_before,
};
use crate::serve::issuer::pages::credential_view::{
    Act, DAY, Desk, List, Row, Words, secret_kind, shown,
};
use crate::serve::issuer::pages::frame::Mistake;

/// Rows of a page.
const PAGE: usize = 50;
/// Seconds that an expired credential stays in the list.
const EXPIRED_SHOWN: u64 = 30 * DAY;
/// The days that both keys are good for after a rotation, unless another number is entered.
const OVERLAP_DAYS: u64 = 7;
const OVERLAP_DAYS_MAX: u64 = 365;

impl Issuer {
    pub(super) async fn credentials(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        (kind, path): (CredentialKind, &[&str]),
        is_post: bool,
    ) -> Shown {
        let configured = &browser.settings.configured;
        let lifetimes = match kind {
            CredentialKind::Pat => configured.personal_access_tokens,
            CredentialKind::Key => configured.api_keys,
        };
        let lifetimes = lifetimes.ok_or_else(Trouble::not_found)?;
        let words = Words::of(kind);
        let header = match kind {
            CredentialKind::Pat => words.header.to_owned(),
            CredentialKind::Key => {
                let field = browser.settings.key_field.as_deref();
                field.unwrap_or("X-API-Key: ").to_owned()
            }
        };
        let desk = Desk { browser, signed_in, kind, words, lifetimes, header };
        match (path, is_post) {
            ([], false) => self.list_credentials(&desk).await,
            (["new"], false) => self.new_credential(&desk).await,
            (["new"], true) => self.create_credential(&desk).await,
            (["test"], false) => self.test_form(&desk),
            (["test"], true) => self.test_credential(&desk).await,
            ([id, act], false) => self.ask_about(&desk, id, act, &[]).await,
            ([id, act], true) => self.turn_credential(&desk, id, act).await,
            _ => Err(Trouble::not_found()),
        }
    }

    async fn list_credentials(&self, desk: &Desk<'_>) -> Shown {
        let browser = desk.browser;
        let query = browser.request.uri().query().unwrap_or_default();
        let query = Form::decode(query.as_bytes())?;
        let filter = query.value("q").unwrap_or_default().to_lowercase();
        let page: usize = query.value("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let mut found = self.find_live::<Credential>("owner", &desk.signed_in.person.id).await?;
        let is_shown = |row: &Credential| {
            let gone = row.expires.is_some_and(|at| browser.now.0 > at.0 + EXPIRED_SHOWN);
            row.kind == desk.kind && !gone && row.name.to_lowercase().contains(&filter)
        };
        found.retain(is_shown);
        found.sort_by(|one, other| (other.created, &other.id).cmp(&(one.created, &one.id)));
        let begin = page.saturating_sub(1).saturating_mul(PAGE).min(found.len());
        let end = (begin + PAGE).min(found.len());
        let rows = self.shown_rows(&found[begin..end], browser.now).await?;
        let link = |page: usize| {
            format!(
                "{}?page={page}&q={}",
                browser.at(&format!("/{}", desk.words.folder)),
                encode(&filter)
            )
        };
        let done = match query.value("done") {
            Some("revoked") => "It was revoked. Requests with it are refused from now on.",
            Some("disabled") => "It is disabled. Requests with it are refused until it is enabled.",
            Some("enabled") => "It is enabled again.",
            _ => "",
        };
        let frame = browser.frame();
        let example = format!(
            "curl -H '{}{}...' {}/",
            desk.header,
            secret_kind(desk.kind).prefix(),
            browser.settings.api_base()
        );
        let page = List {
            frame: &frame,
            words: desk.words,
            rows: &rows,
            filter: query.value("q").unwrap_or_default(),
            is_key: desk.kind == CredentialKind::Key,
            done,
            previous: (begin > 0).then(|| link(page - 1)),
            next: (end < found.len()).then(|| link(page + 1)),
            example: &example,
            csrf: &browser.token(&enable(desk.kind)),
        };
        html(&browser.settings, Forms::Here, &page)
    }

    /// Rows with their last use and last refusal.
    async fn shown_rows(&self, rows: &[Credential], now: UnixTime) -> Result<Vec<Row>, Trouble> {
        let uses = self.uses(rows).await?;
        let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
        let refusals = self.enforced.last_refused(&ids).into_iter();
        let refusals = refusals.map(Some).chain(std::iter::repeat(None)).map(Option::flatten);
        let both = rows.iter().zip(refusals);
        Ok(both.map(|(row, refusal)| shown(row, (&uses, refusal.as_ref()), now)).collect())
    }

    async fn uses(&self, rows: &[Credential]) -> Result<HashMap<Id, UnixTime>, Trouble> {
        let mut uses = HashMap::new();
        for row in rows {
            uses.extend(self.last_use(&row.id).await?.map(|at| (row.id.clone(), at)));
        }
        Ok(uses)
    }

    /// The time when a credential or client secret was used last: what is stored, a minute late.
    pub(super) async fn last_use(&self, id: &Id) -> Result<Option<UnixTime>, Trouble> {
        Ok(self.find::<Use>("id", id).await?.pop().map(|row| row.at))
    }

    /// The person's own credential of this id.
    pub(super) async fn own_credential(
        &self,
        desk: &Desk<'_>,
        id: &str,
    ) -> Result<Credential, Trouble> {
        let found = self.find_live::<Credential>("id", &Id::from(id)).await?.pop();
        let is_own =
            |row: &Credential| row.kind == desk.kind && row.owner == desk.signed_in.person.id;
        found.filter(is_own).ok_or_else(Trouble::not_found)
    }

    /// The page of an act.
    async fn ask_about(&self, desk: &Desk<'_>, id: &str, act: &str, mistakes: &[Mistake]) -> Shown {
        let browser = desk.browser;
        let row = self.own_credential(desk, id).await?;
        let (button, warning) = match (desk.kind, act) {
            (CredentialKind::Pat, "revoke") => {
                ("Revoke", "Programs that use it get 401 from now on. This cannot be undone.")
            }
            (CredentialKind::Key, "delete") => {
                ("Delete", "Applications that use it get 401 from now on. This cannot be undone.")
            }
            (CredentialKind::Key, "disable") => {
                ("Disable", "Applications that use it get 401 until you enable it again.")
            }
            (CredentialKind::Key, "rotate") => (
                "Rotate",
                "A new key with the same name and permissions is made. The old one \
                            ends after the overlap.",
            ),
            _ => return Err(Trouble::not_found()),
        };
        let rows = self.shown_rows(std::slice::from_ref(&row), browser.now).await?;
        let shown = rows.first().ok_or_else(Trouble::not_found)?;
        let (frame, new_id) = (browser.frame(), new_id(desk.kind)?);
        let purpose = purpose(act, id, new_id.as_str());
        let page = Act {
            frame: &frame,
            words: desk.words,
            row: shown,
            act,
            button,
            warning,
            overlap: OVERLAP_DAYS,
            must_confirm: act == "rotate" && browser.must_confirm(),
            new_id: new_id.as_str(),
            csrf: &browser.token(&purpose),
            mistakes,
        };
        match mistakes {
            [] => html(&browser.settings, Forms::Here, &page),
            _ => refused(&browser.settings, Forms::Here, &page),
        }
    }

    async fn turn_credential(&self, desk: &Desk<'_>, id: &str, act: &str) -> Shown {
        let browser = desk.browser;
        let form = browser.form()?;
        let new_id = form.value("new_id").unwrap_or_default();
        if act == "enable" {
            browser.check(&form, &enable(desk.kind))?;
        } else {
            browser.check(&form, &purpose(act, id, new_id))?;
        }
        let row = self.own_credential(desk, id).await?;
        let (turn, done) = match (desk.kind, act) {
            (CredentialKind::Pat, "revoke") | (CredentialKind::Key, "delete") => {
                (Turn::Revoke, "revoked")
            }
            (CredentialKind::Key, "disable") => (Turn::Disable, "disabled"),
            (CredentialKind::Key, "enable") => (Turn::Enable, "enabled"),
            (CredentialKind::Key, "rotate") => return self.rotate(desk, &row, &form).await,
            _ => return Err(Trouble::not_found()),
        };
        let intent = TurnCredential { kind: desk.kind, id: row.id, turn, by: DisabledBy::Owner };
        self.act(browser, &desk.signed_in.person.id, intent).await?;
        let list = browser.at(&format!("/{}?done={done}", desk.words.folder));
        see_other(&browser.settings, &list)
    }

    async fn rotate(&self, desk: &Desk<'_>, row: &Credential, form: &Form) -> Shown {
        let browser = desk.browser;
        if row.disabled.is_some() || row.expires.is_some_and(|end| end <= browser.now) {
            let text = "A key that is disabled or has expired cannot be rotated.";
            return Err(Trouble::stale(text));
        }
        let days = form.value("overlap").and_then(|days| days.parse::<u64>().ok());
        let Some(days) = days.filter(|days| *days <= OVERLAP_DAYS_MAX) else {
            let text = format!("Enter a number of days from 0 to {OVERLAP_DAYS_MAX}.");
            let mistakes = [Mistake { field: "overlap", text }];
            return self.ask_about(desk, row.id.as_str(), "rotate", &mistakes).await;
        };
        if let Some(mistake) = self.confirm(browser, desk.signed_in, form).await? {
            return self.ask_about(desk, row.id.as_str(), "rotate", &[mistake]).await;
        }
        let new_id = Id::from(form.value("new_id").unwrap_or_default());
        let (secret, text) = new_secret(desk.kind, new_id)?;
        let end_old = UnixTime(browser.now.0.saturating_add(days * DAY));
        let ending = match row.expires {
            // Of scopes that the person cannot give: the end that the operator set stays.
            Some(end) if !allowed(desk).contains_all(&row.scopes) => Ending::At(end),
            None if desk.lifetimes.forever => Ending::Never,
            None | Some(_) => Ending::Default,
        };
        let intent = RotateCredential {
            kind: desk.kind,
            id: row.id.clone(),
            secret,
            end_old: Some(end_old),
            ending,
            lifetimes: desk.lifetimes,
        };
        let done = self.store.run(intent, browser.acting(&desk.signed_in.person.id)).await?;
        match done.outcome {
            Ok(new) => {
                let until = row.expires.map_or(end_old, |known| known.min(end_old));
                self.reveal(desk, &new, &text, Some(until))
            }
            Err(refusal) => match refused_form(desk, &refusal)? {
                Some(mistake) => {
                    let mistakes = [Mistake { field: "overlap", ..mistake }];
                    self.ask_about(desk, row.id.as_str(), "rotate", &mistakes).await
                }
                None => Err(used_before(desk)),
            },
        }
    }
}

fn purpose(act: &str, id: &str, new_id: &str) -> String {
    format!("credential\n{act}\n{id}\n{new_id}")
}

fn enable(kind: CredentialKind) -> String {
    format!("enable\n{}", kind.as_str())
}
