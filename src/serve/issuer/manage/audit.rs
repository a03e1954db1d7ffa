//! `/audit`: who was given, used and lost what. Oldest first.

use http::Method;
use serde_json::{Value, json};

use crate::issue::credential::IdKind;
use crate::issue::intent::Query;
use crate::issue::rows::{Application, Audit, Column, Id, Row, Value as Cell};
use crate::serve::issuer::manage::credentials::instant;
use crate::serve::issuer::manage::list::Asked;
use crate::serve::issuer::manage::reply::{Answer, Refused, ok, wrong_method};
use crate::serve::issuer::manage::{Call, Manager};
use crate::serve::store::Listing;

impl Manager {
    pub(super) async fn audit(&self, call: Call<'_>) -> Answer {
        if call.method != Method::GET {
            return Err(wrong_method("GET, HEAD"));
        }
        let asked = Asked::read(call.query, &["since", "subject"])?;
        let since = asked.value("since").map(instant).transpose()?;
        let of = match asked.value("subject") {
            Some(who) => vec![self.subject(who).await],
            None => Vec::new(),
        };
        let after = asked.value("after").map(place).transpose()?.unwrap_or_default();
        let limit = asked.limit()?;
        let since = since.map(|since| ("at", since));
        let (table, standing) = (Audit::TABLE, None);
        let listing = Listing { table, of, live: false, since, standing, after, limit };
        let (lines, has_more) = self.one_page::<Audit>(listing).await?;
        let next = lines.last().filter(|_| has_more);
        let next = next.map(|line| format!("{}.{}", line.number, line.position));
        ok(json!({ "audit": lines.iter().map(show).collect::<Vec<_>>(), "next": next }))
    }

    /// The column and value of the lines about a person, or about an application by its client id
    /// or by `app:` and that. What was deleted has lines as well.
    async fn subject(&self, who: &str) -> (&'static str, Cell) {
        if let Ok(person) = self.person(who).await {
            return ("subject", person.id.to_value());
        }
        let application = who.strip_prefix("app:").unwrap_or(who);
        let known = self.store.read(Query::all::<Application>("id", &Id::from(application))).await;
        let is_known = known.is_ok_and(|rows| !rows.is_empty());
        let is_meant = is_known || application != who || IdKind::Application.is_form_of(who);
        let column = if is_meant { "application" } else { "subject" };
        (column, Id::from(if is_meant { application } else { who }).to_value())
    }
}

/// `NUMBER.POSITION` of the last line before.
fn place(text: &str) -> Result<Vec<Cell>, Refused> {
    let parts = text.split_once('.').and_then(|(number, position)| {
        let (number, position): (u64, u64) = (number.parse().ok()?, position.parse().ok()?);
        Some(vec![number.to_value(), position.to_value()])
    });
    parts.ok_or_else(|| Refused::mistake("after: the `next` of the page before is accepted"))
}

fn show(line: &Audit) -> Value {
    json!({
        "time": line.at.to_string(),
        "act": line.act,
        "actor": line.actor,
        "subject": line.subject.as_ref().map(Id::as_str),
        "application": line.application.as_ref().map(Id::as_str),
        "credential": line.credential.as_ref().map(Id::as_str),
        "address": line.address,
        "request": line.request,
    })
}
