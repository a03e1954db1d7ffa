//! The people of the application: do they still exist there?
//!
//! Owns when `sign_in.app.person` is asked: at each refresh, and once a day for the owners of
//! personal access tokens and API keys. 404 ends everything of the person. Any other failure ends
//! nothing, because an outage of the application is no farewell of its people: a refresh is then
//! refused with `temporarily_unavailable`, since the person may be gone, and the daily question is
//! asked again an hour later. Never asks about a local person.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::model::issuer::AppSignIn;
use crate::issue::error::{ErrorCode, OAuthError};
use crate::issue::external::is_external;
use crate::issue::intent::Query;
use crate::issue::intent::external::{EndExternal, UpdateExternal};
use crate::issue::rows::{Credential, Grant, Id, RefreshToken, Row, SecretDigest};
use crate::serve::issuer::rotate::{PAGE, page};
use crate::serve::issuer::settings::Settings;
use crate::serve::issuer::vault::VaultError;
use crate::serve::issuer::whoami::Existence;
use crate::serve::issuer::{Failed, Issuer};
use crate::serve::store::{Caller, Failure};

/// Between two rounds of questions about owners, and after a round with failures.
pub(super) const ROUND: Duration = Duration::from_secs(86_400);
pub(super) const AFTER_FAILURE: Duration = Duration::from_secs(3_600);
/// Failures in a row after which a round ends: the application is down.
const FAILURES_MAX: u32 = 5;
/// The actor of the audit log.
const ACTOR: &str = "sign_in.app";

impl Issuer {
    /// Asks about the person of a refresh token, if the application signed them in. The intent looks
    /// at the rows afterwards: what ends here is refused there.
    pub(super) async fn check_person_of(
        &self,
        token: &SecretDigest,
        settings: &Settings,
    ) -> Result<(), Failed> {
        let app = settings.configured.sign_in.app.as_ref();
        let Some(app) = app.filter(|app| app.person.is_some()) else { return Ok(()) };
        let Some(person) = self.person_of(token).await.map_err(|error| unavailable(&error))? else {
            return Ok(());
        };
        match self.check_person(app, &person).await {
            Ok(_) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// The external person of a live refresh token.
    async fn person_of(&self, token: &SecretDigest) -> Result<Option<Id>, Failure> {
        let rows = self.store.read(Query::all::<RefreshToken>("digest", token)).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let token = RefreshToken::of(row)?;
        let rows = self.store.read(Query::all::<Grant>("id", &token.grant_id)).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let grant = Grant::of(row)?;
        Ok(Some(grant.person).filter(|id| grant.ended.is_none() && is_external(id)))
    }

    /// Asks about one person, and stores what the answer says.
    async fn check_person(&self, app: &Arc<AppSignIn>, person: &Id) -> Result<(), String> {
        let Some(answer) = self.application.person(app, person).await else { return Ok(()) };
        let caller = Caller { actor: ACTOR.into(), ..Caller::default() };
        match answer.map_err(|error| error.to_string())? {
            Existence::Exists(None) => Ok(()),
            Existence::Exists(Some(known)) => {
                let done = self.store.run(UpdateExternal { person: known }, caller).await;
                done.map(drop).map_err(|error| error.to_string())
            }
            Existence::Gone => {
                tracing::warn!(%person, "issuer: gone from the application, all of theirs ends");
                let end = EndExternal { person: person.clone() };
                let done = self.store.run(end, caller).await;
                done.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Asks about every owner of a live personal access token or API key. Returns whether each was
    /// answered.
    pub(super) async fn check_owners(&self) -> bool {
        let settings = self.settings.load_full();
        let app = settings.configured.sign_in.app.as_ref();
        let Some(app) = app.filter(|app| app.person.is_some()) else { return true };
        let owners = match self.external_owners().await {
            Ok(owners) => owners,
            Err(error) => {
                tracing::error!(%error, "issuer: owners of credentials were not checked");
                return false;
            }
        };
        let (mut failed, mut in_a_row) = (0_u32, 0_u32);
        for owner in &owners {
            match self.check_person(app, owner).await {
                Ok(()) => in_a_row = 0,
                Err(error) => {
                    (failed, in_a_row) = (failed + 1, in_a_row + 1);
                    tracing::warn!(person = %owner, %error, "issuer: person was not checked");
                }
            }
            if in_a_row >= FAILURES_MAX {
                break;
            }
        }
        tracing::info!(owners = owners.len(), failed, "issuer: owners of credentials checked");
        failed == 0
    }

    async fn external_owners(&self) -> Result<BTreeSet<Id>, VaultError> {
        let (mut owners, mut after) = (BTreeSet::new(), Vec::new());
        loop {
            let rows: Vec<Credential> = page(&self.store, &mut after).await?;
            let is_last = rows.len() < PAGE as usize;
            owners.extend(rows.into_iter().map(|row| row.owner).filter(is_external));
            if is_last {
                return Ok(owners);
            }
        }
    }
}

/// A refresh that may not pass without an answer.
fn unavailable(error: &dyn std::fmt::Display) -> Failed {
    tracing::warn!(%error, "issuer: refresh refused, the person could not be looked up");
    let text = "the application that signs people in does not answer: try again later";
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, text);
    error.with_retry_after(Duration::from_secs(5)).into()
}
