//! API keys and personal access tokens: create, rotate, disable, enable, revoke.
//!
//! Owns the limits of a person's credentials and the order of their states: what has ended never
//! returns, what is disabled does with `enable`. The secret itself is made by the caller, who has
//! its digest here. Never cuts scopes to roles at use: that is for the gate, on every request.

use std::time::Duration;

use crate::base::clock::UnixTime;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::{
    Act, Decision, Intent, Limit, Need, Refusal, Rows, Target, Thing, or_refuse, people, refuse,
};
use crate::issue::rows::{
    Credential, CredentialKind, DigestMethod, DisabledBy, Id, Person, SecretDigest, Use,
};

/// The most live credentials of one kind that a person has.
pub const PER_PERSON_MAX: usize = 100;

impl CredentialKind {
    /// The word for people.
    #[must_use]
    pub const fn thing(self) -> Thing {
        match self {
            Self::Key => Thing::Key,
            Self::Pat => Thing::Pat,
        }
    }

    const fn act(self, key: &'static str, pat: &'static str) -> &'static str {
        match self {
            Self::Key => key,
            Self::Pat => pat,
        }
    }
}

/// A new secret: made outside, known here by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSecret {
    /// The id of its row.
    pub id: Id,
    /// Its digest.
    pub digest: SecretDigest,
    /// Its last four characters, for lists.
    pub hint: Box<str>,
}

/// The lifetimes that the configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Unless one is requested.
    pub default: Duration,
    /// At most.
    pub max: Duration,
    /// A credential may have no end.
    pub forever: bool,
}

/// The end that a caller requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// After the configured default.
    Default,
    /// At this instant.
    At(UnixTime),
    /// Never.
    Never,
}

impl Lifetimes {
    /// The end of a credential that is created at `now`.
    fn end(&self, ending: Ending, now: UnixTime) -> Result<Option<UnixTime>, Refusal> {
        match ending {
            Ending::Default => Ok(Some(now.plus(self.default))),
            Ending::Never if self.forever => Ok(None),
            Ending::Never => Err(Refusal::Forever),
            Ending::At(end) if end > now && end <= now.plus(self.max) => Ok(Some(end)),
            Ending::At(_) => Err(Refusal::Lifetime(self.max.as_secs())),
        }
    }
}

/// Creates an API key or a personal access token.
#[derive(Clone, Debug)]
pub struct CreateCredential {
    /// The kind.
    pub kind: CredentialKind,
    /// The new secret.
    pub secret: NewSecret,
    /// The method of its digest.
    pub method: DigestMethod,
    /// The owner, by login or id.
    pub owner: Box<str>,
    /// A label for people.
    pub name: Box<str>,
    /// The scopes, which the caller has cut to the owner's roles.
    pub scopes: ScopeSet,
    /// Its end.
    pub ending: Ending,
    /// The limits of the configuration.
    pub lifetimes: Lifetimes,
}

impl Intent for CreateCredential {
    type Answer = Credential;
    const NAME: &'static str = "create_credential";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Credential>, Need> {
        let owner = or_refuse!(people::active(rows, &self.owner)?);
        let thing = self.kind.thing();
        if rows.get::<Credential>(&self.secret.id)?.is_some() {
            return refuse(Refusal::Exists(thing, self.secret.id.0.clone()));
        }
        if live(rows, &owner, self.kind, now)? >= PER_PERSON_MAX {
            let limit = Limit { thing, most: PER_PERSON_MAX, of: Thing::Person };
            return refuse(Refusal::Limit(limit));
        }
        let expires = or_refuse!(self.lifetimes.end(self.ending, now));
        let row = Credential {
            id: self.secret.id.clone(),
            kind: self.kind,
            owner: owner.id,
            name: self.name.clone(),
            digest: self.secret.digest,
            hint: self.secret.hint.clone(),
            scopes: self.scopes.clone(),
            created: now,
            expires,
            disabled: None,
            ended: None,
            replaces: None,
            method: Some(self.method),
            disabled_by: None,
        };
        let act = Act::new(self.kind.act("key.create", "pat.create"));
        let act = act.subject(&row.owner).credential(&row.id);
        Ok(Decision::ok(row.clone()).write(&row).act(act))
    }
}

/// Replaces a credential by a new one with the same owner, name and scopes. Both are good until
/// the old one is disabled or ends at `end_old`.
#[derive(Clone, Debug)]
pub struct RotateCredential {
    /// The kind.
    pub kind: CredentialKind,
    /// The old one.
    pub id: Id,
    /// The new secret.
    pub secret: NewSecret,
    /// The old one expires then, if not before.
    pub end_old: Option<UnixTime>,
    /// The end of the new one.
    pub ending: Ending,
    /// The limits of the configuration.
    pub lifetimes: Lifetimes,
}

impl Intent for RotateCredential {
    type Answer = Credential;
    const NAME: &'static str = "rotate_credential";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Credential>, Need> {
        let thing = self.kind.thing();
        let mut old = or_refuse!(find(rows, self.kind, &self.id)?);
        let owner = or_refuse!(people::active_id(rows, &old.owner)?);
        if rows.get::<Credential>(&self.secret.id)?.is_some() {
            return refuse(Refusal::Exists(thing, self.secret.id.0.clone()));
        }
        if live(rows, &owner, self.kind, now)? >= PER_PERSON_MAX {
            let limit = Limit { thing, most: PER_PERSON_MAX, of: Thing::Person };
            return refuse(Refusal::Limit(limit));
        }
        let expires = or_refuse!(self.lifetimes.end(self.ending, now));
        let new = Credential {
            id: self.secret.id.clone(),
            digest: self.secret.digest,
            hint: self.secret.hint.clone(),
            created: now,
            expires,
            disabled: None,
            replaces: Some(old.id.clone()),
            method: Some(DigestMethod::Made),
            disabled_by: None,
            ..old.clone()
        };
        if let Some(end) = self.end_old {
            old.expires = Some(old.expires.map_or(end, |known| known.min(end)));
        }
        let act = Act::new(self.kind.act("key.rotate", "pat.rotate"));
        let act = act.subject(&new.owner).credential(&new.id);
        Ok(Decision::ok(new.clone()).write(&old).write(&new).act(act))
    }
}

/// A change of a credential's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Refused until it is enabled.
    Disable,
    /// Accepted again.
    Enable,
    /// Refused for good.
    Revoke,
}

/// Disables, enables or revokes a credential. Doing it twice changes nothing.
#[derive(Clone, Debug)]
pub struct TurnCredential {
    /// The kind.
    pub kind: CredentialKind,
    /// Which one.
    pub id: Id,
    /// The change.
    pub turn: Turn,
    /// The actor: what an operator disabled, its owner cannot enable.
    pub by: DisabledBy,
}

impl Intent for TurnCredential {
    type Answer = Credential;
    const NAME: &'static str = "turn_credential";

    fn ends(&self) -> Option<Target> {
        (self.turn != Turn::Enable).then(|| Target::Credential(self.id.clone()))
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Credential>, Need> {
        let mut row = or_refuse!(find(rows, self.kind, &self.id)?);
        let before = row.clone();
        let act = match self.turn {
            Turn::Disable => {
                row.disabled = row.disabled.or(Some(now));
                let is_first = before.disabled.is_none() || self.by == DisabledBy::Operator;
                row.disabled_by = if is_first { Some(self.by) } else { before.disabled_by };
                self.kind.act("key.disable", "pat.disable")
            }
            Turn::Enable if !self.may_enable(&row) => {
                return refuse(Refusal::Held(self.kind.thing(), row.id.0));
            }
            Turn::Enable => {
                (row.disabled, row.disabled_by) = (None, None);
                self.kind.act("key.enable", "pat.enable")
            }
            Turn::Revoke => {
                row.ended = Some(now);
                self.kind.act("key.revoke", "pat.revoke")
            }
        };
        if row == before {
            return Ok(Decision::ok(row));
        }
        let act = Act::new(act).subject(&row.owner).credential(&row.id);
        Ok(Decision::ok(row.clone()).write(&row).act(act))
    }
}

impl TurnCredential {
    /// In a row of an earlier release the actor is not known: it may have been an operator.
    fn may_enable(&self, row: &Credential) -> bool {
        let is_own = row.disabled_by == Some(DisabledBy::Owner);
        self.by == DisabledBy::Operator || row.disabled.is_none() || is_own
    }
}

/// Records uses, which the gate counts. Nothing at the gate changes, and nothing is audited.
#[derive(Clone, Debug)]
pub struct RecordUses {
    /// Credentials or client secrets, and the times of their last use.
    pub uses: Vec<(Id, UnixTime)>,
}

impl Intent for RecordUses {
    type Answer = ();
    const NAME: &'static str = "record_uses";

    fn decide(&self, _rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
        let rows: Vec<_> =
            self.uses.iter().map(|(id, at)| Use { id: id.clone(), at: *at }).collect();
        Ok(Decision::ok(()).write_all(&rows))
    }
}

/// The credential of this id that has not ended.
fn find(rows: &Rows, kind: CredentialKind, id: &Id) -> Result<Result<Credential, Refusal>, Need> {
    let found = rows.get::<Credential>(id)?;
    let found = found.filter(|row| row.kind == kind && row.ended.is_none());
    Ok(found.ok_or_else(|| Refusal::Unknown(kind.thing(), id.0.clone())))
}

/// The number of a person's credentials of a kind that are neither ended nor expired.
fn live(rows: &Rows, owner: &Person, kind: CredentialKind, now: UnixTime) -> Result<usize, Need> {
    let all = rows.live::<Credential>("owner", &owner.id)?;
    let is_live = |row: &&Credential| row.kind == kind && row.expires.is_none_or(|end| now < end);
    Ok(all.iter().filter(is_live).count())
}
