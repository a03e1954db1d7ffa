//! Revocation of tokens and grants.
//!
//! Owns RFC 7009: a client ends only its own tokens, a refresh token's end ends its access tokens,
//! not the reverse, and an unknown token is a success. Never sees a token, only what it names.

use crate::base::clock::UnixTime;
use crate::issue::intent::client::{Client, authenticate};
use crate::issue::intent::tokens::act;
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, Target, or_refuse, refuse};
use crate::issue::rows::{
    Code, Column, Device, DeviceState, EndedToken, Grant, Id, RecordedConsent, RefreshToken,
    Sealed, Secret, SecretDigest, Share,
};

/// Ends one access token: the bearer itself, whose signature the caller has verified.
#[derive(Clone, Debug)]
pub struct EndToken {
    /// Its `jti`.
    pub jti: Id,
    /// Its `sub`, if that is a person.
    pub subject: Option<Id>,
    /// Its `client_id`.
    pub client: Id,
    /// Its `exp`.
    pub expires: UnixTime,
}

impl Intent for EndToken {
    type Answer = ();
    const NAME: &'static str = "end_token";

    fn ends(&self) -> Option<Target> {
        Some(Target::Grant(self.jti.clone()))
    }

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
        if rows.get::<EndedToken>(&self.jti)?.is_some() {
            return Ok(Decision::ok(()));
        }
        let row = EndedToken { id: self.jti.clone(), expires: self.expires };
        let mut act = Act::new("token.revoke").application(&self.client).credential(&self.jti);
        act.subject = self.subject.clone();
        Ok(Decision::ok(()).write(&row).act(act))
    }
}

/// A revocation request of a client about an access token that the caller has verified.
#[derive(Clone, Debug)]
pub struct RevokeAccess {
    /// The caller.
    pub client: Client,
    /// The token.
    pub token: EndToken,
}

impl Intent for RevokeAccess {
    type Answer = ();
    const NAME: &'static str = "revoke_access";

    /// Its holder ends it: who has the token may end it without a client, too.
    fn ends(&self) -> Option<Target> {
        self.token.ends()
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let application = or_refuse!(authenticate(rows, &self.client, now)?);
        if application.id != self.token.client {
            return refuse(Refusal::InvalidGrant("the token of another client"));
        }
        self.token.decide(rows, now)
    }
}

/// A revocation request of a client about a refresh token.
#[derive(Clone, Debug)]
pub struct RevokeRefresh {
    /// The caller.
    pub client: Client,
    /// Digest of the token.
    pub token: SecretDigest,
}

impl Intent for RevokeRefresh {
    type Answer = ();
    const NAME: &'static str = "revoke_refresh";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let application = or_refuse!(authenticate(rows, &self.client, now)?);
        let Some(token) = rows.get::<RefreshToken>(&self.token)? else {
            return Ok(Decision::ok(()));
        };
        let Some(mut grant) = rows.get::<Grant>(&token.grant_id)? else {
            return Ok(Decision::ok(()));
        };
        if grant.application != application.id {
            return refuse(Refusal::InvalidGrant("the token of another client"));
        }
        if grant.ended.is_some() {
            return Ok(Decision::ok(()));
        }
        grant.ended = Some(now);
        let ends = Target::Grant(grant.id.clone());
        Ok(Decision::ok(()).write(&grant).act(act("refresh.revoke", &grant)).target(ends))
    }
}

/// Ends every grant of a person to an application, the consent, codes that were not redeemed, and
/// what the person approved on a device that has not asked for its token yet.
#[derive(Clone, Debug)]
pub struct EndGrants {
    /// The person.
    pub person: Id,
    /// The application.
    pub application: Id,
}

impl Intent for EndGrants {
    type Answer = ();
    const NAME: &'static str = "end_grants";

    fn ends(&self) -> Option<Target> {
        let (person, application) = (self.person.clone(), self.application.clone());
        Some(Target::Grants { person, application })
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let mut denied = denied(rows, "application", &self.application, now)?;
        denied.retain(|device| device.person.as_ref() == Some(&self.person));
        let of =
            vec![("person", self.person.to_value()), ("application", self.application.to_value())];
        let act = Act::new("grant.revoke").subject(&self.person).application(&self.application);
        let decision = Decision::ok(()).end_all::<RecordedConsent>(of.clone());
        let decision = decision.end_all::<Code>(of.clone()).end_all::<Grant>(of);
        Ok(decision.write_all(&denied).act(act))
    }
}

/// Records a change of the log of revocations, which is in force already: no row changes.
#[derive(Clone, Debug)]
pub struct RecordRevocation(pub Act);

impl Intent for RecordRevocation {
    type Answer = ();
    const NAME: &'static str = "record_revocation";

    fn decide(&self, _rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
        Ok(Decision::ok(()).act(self.0.clone()))
    }
}

/// The devices of a person or an application that were approved and have not asked for their tokens
/// yet, as they are after the end of what was approved.
pub(super) fn denied(
    rows: &Rows,
    column: &'static str,
    of: &Id,
    now: UnixTime,
) -> Result<Vec<Device>, Need> {
    let open = rows.open::<Device>(column, of, now)?.into_iter();
    let approved = open.filter(|device| device.state == DeviceState::Approved);
    Ok(approved.map(|device| Device { state: DeviceState::Denied, ..device }).collect())
}

/// The secrets of an application that is deleted: ended, and without their sealed copies.
pub(super) fn ended_secrets(
    rows: &Rows,
    application: &Id,
    now: UnixTime,
) -> Result<Vec<Secret>, Need> {
    let mut secrets = rows.all::<Secret>("application", application)?;
    for row in &mut secrets {
        (row.sealed, row.ends) = (None, Some(row.ends.map_or(now, |known| known.min(now))));
    }
    Ok(secrets)
}

/// The share of an owner that is deleted: what was sealed under it cannot be read any more.
pub(super) fn ended_share(rows: &Rows, owner: &Id) -> Result<Option<Share>, Need> {
    let share = rows.get::<Share>(owner)?;
    Ok(share.map(|row| Share { wrapped: Sealed("".into()), ..row }))
}
