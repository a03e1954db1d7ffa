//! Applications of a developer: list, details, deletion.
//!
//! Owns the pages of a person's own applications. Never shows an application of another person, and
//! never sets what is for operators.

use askama::Template;

use crate::base::clock::UnixTime;
use crate::config::model::issuer::Registration;
use crate::decide::scope::ScopeSet;
use crate::issue::application::is_reviewed;
use crate::issue::credential::IdKind;
use crate::issue::intent::applications::{Turn, TurnApplication};
use crate::issue::intent::people::{AskForRole, ROLE_ASKED, ROLE_ASKED_FOR, ROLES_SET};
use crate::issue::rows::{Application, Audit, Column, Id, Row as _};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, Trouble, html, refused, see_other};
use crate::serve::issuer::pages::application_view::{SecretRow, is_fixed, may_register, purpose};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::{Frame, Mistake, about, date};
use crate::serve::issuer::pages::help::endpoints;
use crate::serve::issuer::vault::fill;
use crate::serve::store::{Failure, LISTED_MAX, Listing};

/// The purpose of the form that asks for the role.
const ASK: &str = "ask for developer";

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
    /// The role is asked for on this page.
    can_ask: bool,
    /// The day when it was asked for.
    asked: Option<String>,
    csrf: &'a str,
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
    site: Option<&'a str>,
    secrets: &'a [SecretRow],
    is_confidential: bool,
    /// An operator set it up further than its owner may change.
    is_fixed: bool,
    endpoints: &'a [(&'static str, String)],
    done: &'a str,
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
            (["developer"], true) => self.ask_for_role(browser, signed_in).await,
            (["new"], false) => self.new_application(browser, signed_in),
            (["new"], true) => self.register(browser, signed_in).await,
            ([id], false) => {
                let row = self.own_application(signed_in, id).await?;
                self.details(browser, &row, &[]).await
            }
            ([id, "edit"], false) => self.edit_application(browser, signed_in, id).await,
            ([id, "edit"], true) => self.change_application(browser, signed_in, id).await,
            ([id, "try", rest @ ..], is_post) => {
                self.try_flow(browser, signed_in, (id, rest), is_post).await
            }
            ([id, "secrets"], true) => self.add_secret(browser, signed_in, id).await,
            ([id, "secrets", secret, "end"], is_post) => {
                self.end_secret(browser, signed_in, (id, secret), is_post).await
            }
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
        let can_ask =
            !may_register && browser.settings.configured.registration == Registration::Role;
        let asked = if can_ask { self.asked_for_role(browser, signed_in).await? } else { None };
        let page = List {
            frame: &frame,
            rows: &rows,
            may_register,
            can_ask,
            asked: asked.map(date),
            csrf: &browser.token(ASK),
        };
        html(&browser.settings, Forms::Here, &page)
    }

    /// The form that asks the operators for the role. A second request makes no second line.
    async fn ask_for_role(&self, browser: &Browser<'_>, signed_in: &SignedIn) -> Shown {
        browser.check(&browser.form()?, ASK)?;
        let person = &signed_in.person.id;
        let is_open = browser.settings.configured.registration == Registration::Role;
        if is_open && self.asked_for_role(browser, signed_in).await?.is_none() {
            self.act(browser, person, AskForRole { person: person.clone() }).await?;
        }
        see_other(&browser.settings, &browser.at("/applications"))
    }

    /// The time when a person asked for the role: a request that no change of roles has answered.
    async fn asked_for_role(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
    ) -> Result<Option<UnixTime>, Trouble> {
        let since = UnixTime(browser.now.0.saturating_sub(ROLE_ASKED_FOR));
        let last = async |act: &str| {
            let listing = Listing {
                table: Audit::TABLE,
                of: vec![
                    ("subject", signed_in.person.id.to_value()),
                    ("act", Box::<str>::from(act).to_value()),
                ],
                live: false,
                since: Some(("at", since)),
                standing: None,
                after: Vec::new(),
                limit: LISTED_MAX,
            };
            let found = self.store.list(listing).await?.pop().map(Audit::of).transpose();
            let found = found.map_err(Failure::from)?;
            Ok::<_, Trouble>(found.map(|line| ((line.number, line.position), line.at)))
        };
        let (asked, answered) = (last(ROLE_ASKED).await?, last(ROLES_SET).await?);
        let is_open = |place| answered.is_none_or(|(answer, _)| answer < place);
        Ok(asked.filter(|(place, _)| is_open(*place)).map(|(_, at)| at))
    }

    /// The person's own application of this id.
    pub(super) async fn own_application(
        &self,
        signed_in: &SignedIn,
        id: &str,
    ) -> Result<Application, Trouble> {
        let found = self.find_live::<Application>("id", &Id::from(id)).await?.pop();
        let is_own = |row: &Application| row.owner.as_ref() == Some(&signed_in.person.id);
        found.filter(is_own).ok_or_else(Trouble::not_found)
    }

    pub(super) async fn details(
        &self,
        browser: &Browser<'_>,
        row: &Application,
        mistakes: &[Mistake],
    ) -> Shown {
        let secrets = self.secret_rows(browser, row).await?;
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
            site: row.site.as_deref(),
            secrets: &secrets,
            is_confidential: row.confidential,
            is_fixed: is_fixed(row),
            endpoints: &endpoints(&browser.settings),
            done: match browser.request.uri().query() {
                Some("done=changed") => "The changes are in force.",
                Some("done=ended") => "The secret has ended. Requests with it are refused.",
                _ => "",
            },
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

fn shown(row: &Application) -> Row {
    Row {
        id: row.id.to_string(),
        name: row.name.to_string(),
        kind: if row.confidential { "confidential" } else { "public" },
        created: date(row.created),
        is_reviewed: is_reviewed(row),
    }
}
