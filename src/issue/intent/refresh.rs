//! The refresh token grant (RFC 6749 section 6, RFC 9700 section 4.14.2).
//!
//! Owns rotation. A public client's token rotates at each use, to one successor; for the grace
//! time, while that is unused, the predecessor gets the same successor again, so that any number of
//! racers and a lost answer do no harm. Later use ends the family. A confidential client's token is
//! bound to the secret and stays. An attacker would want two live descendants of one token: there
//! is one successor, written in the transaction that marks its predecessor as used.

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::client::{Client, Rules, authorize, without_offline};
use crate::issue::intent::tokens::{
    Issued, NewRefresh, REFRESH_TOKEN, Refreshed, access_token, act, idle_until,
};
use crate::issue::intent::{Decision, Intent, Need, Refusal, Rows, Target, or_refuse, people};
use crate::issue::rows::{Application, Grant, Person, RefreshToken, SecretDigest};

/// A token request with `grant_type=refresh_token`.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The client.
    pub client: Client,
    /// Digest of the presented token.
    pub token: SecretDigest,
    /// The successor, if it is needed.
    pub successor: NewRefresh,
    /// `scope`.
    pub scope: Option<ScopeSet>,
    /// The configuration.
    pub rules: Rules,
}

/// The token, its family, and the person and application it acts for.
struct Family {
    token: RefreshToken,
    grant: Grant,
    application: Application,
    person: Person,
}

impl Intent for Refresh {
    type Answer = Issued;
    const NAME: &'static str = "refresh_token";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Issued>, Need> {
        let application = or_refuse!(authorize(rows, &self.client, REFRESH_TOKEN, now)?);
        let family = or_refuse!(self.family(rows, application, now)?);
        let Some(used) = family.token.used else { return Ok(self.issue(family, now)) };
        // The successor of a token that was used before.
        let successor = match &family.token.successor {
            Some(digest) => rows.get::<RefreshToken>(digest)?,
            None => None,
        };
        let in_grace = now.0 < used.0.saturating_add(self.rules.lifetimes.grace);
        let unused = successor.filter(|successor| in_grace && successor.used.is_none());
        match (unused, &family.token.sealed) {
            (Some(successor), Some(sealed)) => {
                let refreshed = Refreshed::Again(sealed.clone());
                Ok(self.access(family, refreshed, successor, now))
            }
            (Some(_) | None, _) => Ok(replay(family.grant, now)),
        }
    }
}

impl Refresh {
    /// Another client's token is refused and stays as it is.
    fn family(
        &self,
        rows: &Rows,
        application: Application,
        now: UnixTime,
    ) -> Result<Result<Family, Refusal>, Need> {
        let unknown = Err(Refusal::InvalidGrant("unknown refresh token"));
        let Some(token) = rows.get::<RefreshToken>(&self.token)? else { return Ok(unknown) };
        let grant = rows.get::<Grant>(&token.grant_id)?;
        let Some(grant) = grant.filter(|grant| grant.application == application.id) else {
            return Ok(unknown);
        };
        if grant.ended.is_some() {
            return Ok(Err(Refusal::InvalidGrant("refresh token revoked")));
        }
        // A token that was used before has a successor, whose idle time counts.
        let is_idle = token.used.is_none() && now >= token.idle_until;
        if now >= token.expires || is_idle {
            return Ok(Err(Refusal::InvalidGrant("refresh token expired")));
        }
        let person = people::active_id(rows, &grant.person)?;
        let person = person.map_err(|_| Refusal::InvalidGrant("the person is disabled"));
        Ok(person.map(|person| Family { token, grant, application, person }))
    }

    /// The first use: a successor for a public client, the same token for a confidential one.
    fn issue(&self, family: Family, now: UnixTime) -> Decision<Issued> {
        if family.application.confidential {
            let token = family.token.clone();
            return self.access(family, Refreshed::Same, token, now);
        }
        let mut old = family.token.clone();
        let new =
            RefreshToken { digest: self.successor.digest, created: now, ..family.token.clone() };
        (old.used, old.successor) = (Some(now), Some(new.digest));
        old.sealed = Some(self.successor.sealed.clone());
        let decision = self.access(family, Refreshed::New, new, now);
        if decision.outcome.is_ok() { decision.write(&old) } else { decision }
    }

    /// An access token, with the refresh token that is the newest of its family.
    fn access(
        &self,
        family: Family,
        refreshed: Refreshed,
        mut newest: RefreshToken,
        now: UnixTime,
    ) -> Decision<Issued> {
        let Family { mut grant, application, person, .. } = family;
        let asked = self.scope.as_ref().map(without_offline).filter(|asked| !asked.is_empty());
        let asked = asked.as_ref();
        if let Some(beyond) =
            asked.and_then(|asked| asked.iter().find(|one| !grant.scopes.contains(one)))
        {
            return Decision::refuse(Refusal::Scope(beyond.into()));
        }
        let scopes = asked.unwrap_or(&grant.scopes);
        let scopes = self.rules.scopes.still(scopes, &application, &person);
        let lifetime = self.rules.lifetimes.access(&application);
        grant.live_until = grant.live_until.max(UnixTime(now.0.saturating_add(lifetime)));
        newest.idle_until = newest.idle_until.max(idle_until(&self.rules, lifetime, now));
        let access = access_token(&grant, scopes, lifetime);
        let decision = Decision::ok(Issued { access, refresh: Some(refreshed) });
        decision.write(&grant).write(&newest).act(act("token.refresh", &grant))
    }
}

/// A token that was replaced is used again: it was copied, and the whole family ends.
fn replay(mut grant: Grant, now: UnixTime) -> Decision<Issued> {
    grant.ended = Some(now);
    let refusal = Refusal::InvalidGrant("refresh token used again: the grant is revoked");
    let ends = Target::Grant(grant.id.clone());
    Decision::refuse(refusal).write(&grant).act(act("refresh.replay", &grant)).target(ends)
}
