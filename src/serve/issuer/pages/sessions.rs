//! A person's sessions: list, end one, end all.
//!
//! Owns the page. Never shows the id of a session, only its name.

use askama::Template;

use crate::issue::intent::sessions::{EndSessions, Which};
use crate::issue::rows::{Id, Session};
use crate::serve::issuer::Issuer;
use crate::serve::issuer::pages::answer::{Forms, Shown, html, see_other};
use crate::serve::issuer::pages::browser::{Browser, SignedIn};
use crate::serve::issuer::pages::frame::{Frame, date};

/// One session.
struct Row {
    id: String,
    agent: String,
    address: String,
    since: String,
    seen: String,
    is_this: bool,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct List<'a> {
    frame: &'a Frame,
    rows: &'a [Row],
    csrf: &'a str,
}

impl Issuer {
    pub(super) async fn sessions(
        &self,
        browser: &Browser<'_>,
        signed_in: &SignedIn,
        is_post: bool,
    ) -> Shown {
        let person = &signed_in.person.id;
        if is_post {
            let form = browser.form()?;
            browser.check(&form, "sessions")?;
            let which = match form.value("id") {
                Some("all") => Which::All,
                id => Which::One(Id::from(id.unwrap_or_default())),
            };
            self.act(browser, person, EndSessions { person: person.clone(), which }).await?;
            return see_other(&browser.settings, &browser.at("/sessions"));
        }
        let idle = browser.settings.configured.sign_in.session_idle.as_secs();
        let mut live = self.find_live::<Session>("person", person).await?;
        live.retain(|row| row.is_live(idle, browser.now));
        live.sort_by_key(|row| std::cmp::Reverse(row.seen));
        let unknown = || "unknown".to_owned();
        let shown = |row: Session| Row {
            is_this: row.id == signed_in.session.id,
            id: row.id.to_string(),
            agent: row.agent.map_or_else(unknown, String::from),
            address: row.address.map_or_else(unknown, String::from),
            since: date(row.created),
            seen: date(row.seen),
        };
        let rows: Vec<_> = live.into_iter().map(shown).collect();
        let (frame, csrf) = (browser.frame(), browser.token("sessions"));
        html(&browser.settings, Forms::Here, &List { frame: &frame, rows: &rows, csrf: &csrf })
    }
}
