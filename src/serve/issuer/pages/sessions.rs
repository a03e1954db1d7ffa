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

/// Marks in a `User-Agent`, in the order in which they count: other browsers name Chrome and Safari, too.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
/// The same for systems: Android names Linux.
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

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
            agent: row.agent.map_or_else(unknown, |agent| browser_name(&agent)),
            address: row.address.map_or_else(unknown, String::from),
            since: date(row.created),
            seen: date(row.seen),
        };
        let rows: Vec<_> = live.into_iter().map(shown).collect();
        let (frame, csrf) = (browser.frame(), browser.token("sessions"));
        html(&browser.settings, Forms::Here, &List { frame: &frame, rows: &rows, csrf: &csrf })
    }
}

/// Browser and system of a `User-Agent` in words; the field itself where one of them is not known.
fn browser_name(agent: &str) -> String {
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        _ => agent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_by_its_first_mark_and_others_by_their_field() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
        let edge = chrome.replace("X11; Linux x86_64", "Windows NT 10.0") + " Edg/156.0";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1";
        let android = "Mozilla/5.0 (Android 16; Mobile; rv:145.0; Linux) Gecko/145.0 Firefox/145.0";
        for (agent, name) in [
            (chrome, "Chrome on Linux"),
            (&edge, "Edge on Windows"),
            (phone, "Safari on iPhone"),
            (android, "Firefox on Android"),
            ("curl/8.16.0", "curl/8.16.0"),
        ] {
            assert_eq!(browser_name(agent), name, "{agent}");
        }
    }
}
