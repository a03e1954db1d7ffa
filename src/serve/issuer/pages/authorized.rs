//! Authorized applications: list, and withdrawal.
//!
//! Owns the list of a person's consents and live grants. Withdrawal ends every token of the
//! application at once, and the consent. Never shows a token.

use std::collections::BTreeMap;

use askama::Template;

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::revoke::EndGrants;
use crate::issue::rows::{
    Application, Device, DeviceState, Grant, Id, RecordedConsent, RefreshToken,
};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, see_other};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::{Frame, date};

/// One application.
struct Row {
    id: String,
    name: String,
    site: Option<String>,
    since: String,
    scopes: Vec<String>,
}

#[derive(Template)]
#[template(path = "authorized.html")]
struct List<'a> {
    frame: &'a Frame,
    rows: &'a [Row],
    has_withdrawn: bool,
}

#[derive(Template)]
#[template(path = "authorized_end.html")]
struct End<'a> {
    frame: &'a Frame,
    row: &'a Row,
    csrf: &'a str,
}

impl Issuer {
    pub(super) async fn authorized(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        path: &[&str],
        is_post: bool,
    ) -> Shown {
        let person = &signed_in.person.id;
        match (path, is_post) {
            ([], false) => {
                let rows = self.allowed_by(browser, person).await?;
                let frame = browser.frame();
                let query = browser.request.uri().query();
                let has_withdrawn = query == Some("done=revoked");
                html(
                    &browser.settings,
                    Forms::Here,
                    &List { frame: &frame, rows: &rows, has_withdrawn },
                )
            }
            ([id, "revoke"], false) => {
                let rows = self.allowed_by(browser, person).await?;
                let row = rows.iter().find(|row| row.id == *id).ok_or_else(Trouble::not_found)?;
                let (frame, csrf) = (browser.frame(), browser.token(&purpose(id)));
                html(&browser.settings, Forms::Here, &End { frame: &frame, row, csrf: &csrf })
            }
            ([id, "revoke"], true) => {
                let form = browser.form()?;
                browser.check(&form, &purpose(id))?;
                let intent = EndGrants { person: person.clone(), application: Id::from(*id) };
                self.act(browser, person, intent).await?;
                see_other(&browser.settings, &browser.at("/authorized?done=revoked"))
            }
            _ => Err(Trouble::not_found()),
        }
    }

    /// The applications that the person consented to, or that have a grant in force.
    async fn allowed_by(&self, browser: &Browser<'_>, person: &Id) -> Result<Vec<Row>, Trouble> {
        let mut found: BTreeMap<Id, (UnixTime, ScopeSet)> = BTreeMap::new();
        for consent in self.find_live::<RecordedConsent>("person", person).await? {
            found.insert(consent.application, (consent.created, consent.scopes));
        }
        for grant in self.find_live::<Grant>("person", person).await? {
            if !found.contains_key(&grant.application) && !self.is_in_force(browser, &grant).await?
            {
                continue;
            }
            let entry =
                found.entry(grant.application).or_insert((grant.created, ScopeSet::default()));
            *entry = (entry.0.min(grant.created), entry.1.union(&grant.scopes));
        }
        for device in self.find::<Device>("person", person).await? {
            if device.state == DeviceState::Approved && browser.now < device.expires {
                found.entry(device.application).or_insert((browser.now, device.scopes));
            }
        }
        let mut rows = Vec::new();
        for (id, (since, scopes)) in found {
            let Some(application) = self.find::<Application>("id", &id).await?.pop() else {
                continue;
            };
            if application.ended.is_some() {
                continue;
            }
            rows.push(Row {
                id: id.to_string(),
                name: application.name.to_string(),
                site: application.site.map(String::from),
                since: date(since),
                scopes: scopes.iter().map(str::to_owned).collect(),
            });
        }
        Ok(rows)
    }

    /// Returns whether a grant has an access token that is valid, or a refresh token to get one.
    async fn is_in_force(&self, browser: &Browser<'_>, grant: &Grant) -> Result<bool, Trouble> {
        if browser.now < grant.live_until {
            return Ok(true);
        }
        let tokens = self.find::<RefreshToken>("grant_id", &grant.id).await?;
        let is_good = |one: &RefreshToken| {
            one.used.is_none() && browser.now < one.expires && browser.now < one.idle_until
        };
        Ok(tokens.iter().any(is_good))
    }
}

fn purpose(id: &str) -> String {
    format!("authorized\n{id}")
}
