//! Pages of lists.
//!
//! Owns the query parameters `after`, `limit`, `name` and `state`, and the `next` of an answer.

use serde_json::{Value as Json, json};

use crate::base::clock::Clock;
use crate::issue::form::Form;
use crate::issue::rows::{Column, DamagedRow, Row, Value};
use crate::serve::issuer::manage::Manager;
use crate::serve::issuer::manage::reply::{Answer, Refused, ok};
use crate::serve::store::{Failure, LISTED_MAX, Listing, Standing};

/// Rows on a page unless another number is asked for.
const PAGE: u32 = 100;

/// The parameters of a query.
pub(super) struct Asked(Form);

impl Asked {
    /// Reads a query whose parameters are among `accepted`, `after` and `limit`.
    pub(super) fn read(query: &str, accepted: &[&str]) -> Result<Self, Refused> {
        let form = Form::decode(query.as_bytes());
        let form = form.map_err(|error| Refused::mistake(error.description()))?;
        let is_known = |name: &str| accepted.contains(&name) || ["after", "limit"].contains(&name);
        if let Some(name) = form.names().find(|name| !is_known(name)) {
            let accepted = accepted.iter().map(|name| format!("{name}, ")).collect::<String>();
            let detail = format!("unknown parameter {name:?}: accepted are {accepted}after, limit");
            return Err(Refused::mistake(detail));
        }
        Ok(Self(form))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.value(name)
    }

    /// The filter of the column `name`, byte for byte.
    pub(super) fn name(&self) -> Option<(&'static str, Value)> {
        self.value("name").map(|name| ("name", Box::<str>::from(name).to_value()))
    }

    fn standing(&self) -> Result<Option<Standing>, Refused> {
        let now = Clock::start().now().unix;
        Ok(match self.value("state") {
            None => None,
            Some("active") => Some(Standing::Active(now)),
            Some("disabled") => Some(Standing::Disabled),
            Some("expired") => Some(Standing::Expired(now)),
            Some(_) => {
                return Err(Refused::mistake("state: active, disabled and expired are accepted"));
            }
        })
    }

    pub(super) fn limit(&self) -> Result<u32, Refused> {
        let Some(text) = self.value("limit") else { return Ok(PAGE) };
        let limit = text.parse().ok().filter(|limit| (1..=LISTED_MAX).contains(limit));
        limit.ok_or_else(|| Refused::mistake(format!("limit: 1 to {LISTED_MAX} are accepted")))
    }
}

impl Manager {
    /// One page of rows whose key is a text, shown by `show`; more than the page leaves a `next`.
    pub(super) async fn page<R: Row>(
        &self,
        name: &str,
        asked: &Asked,
        of: Vec<(&'static str, Value)>,
        show: impl Fn(&R) -> Json,
    ) -> Answer {
        let (limit, standing) = (asked.limit()?, asked.standing()?);
        let after = asked.value("after").map(|id| Value::Text(id.into())).into_iter().collect();
        let table = R::TABLE;
        let listing = Listing { table, of, live: true, since: None, standing, after, limit };
        let (rows, has_more) = self.one_page::<R>(listing).await?;
        let key = |row: &R| match row.values().into_iter().next() {
            Some(Value::Text(id)) => json!(id),
            Some(_) | None => Json::Null,
        };
        let next = rows.last().filter(|_| has_more).map_or(Json::Null, key);
        let shown: Vec<_> = rows.iter().map(show).collect();
        ok(json!({ name: shown, "next": next }))
    }

    /// The rows of a page, and whether there are more.
    pub(super) async fn one_page<R: Row>(&self, asked: Listing) -> Result<(Vec<R>, bool), Refused> {
        let limit = asked.limit as usize;
        let mut rows = self.rows::<R>(Listing { limit: asked.limit + 1, ..asked }).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, has_more))
    }

    pub(super) async fn rows<R: Row>(&self, listing: Listing) -> Result<Vec<R>, Refused> {
        let rows = self.store.list(listing).await?.into_iter();
        let rows: Result<_, DamagedRow> = rows.map(R::of).collect();
        Ok(rows.map_err(Failure::from)?)
    }
}
