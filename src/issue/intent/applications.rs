//! Applications and their secrets.
//!
//! Owns the limits (20 applications a person, two live secrets an application) and what ends with
//! an application: its grants, codes and approvals of devices and, by a new generation, its
//! client-credentials tokens. Never makes
//! a secret, and never checks the form of a redirect URI.

use crate::base::clock::UnixTime;
use crate::issue::credential::IdKind;
use crate::issue::intent::credentials::NewSecret;
use crate::issue::intent::revoke::{denied, ended_secrets, ended_share};
use crate::issue::intent::{
    Act, Decision, Intent, Limit, Need, Refusal, Rows, Target, Thing, or_refuse, people, refuse,
};
use crate::issue::rows::{Application, Code, Column, Grant, Id, RecordedConsent, Sealed, Secret};

/// The most applications of a person.
pub const PER_PERSON_MAX: usize = 20;
/// The most secrets of an application that are good: the old and the new one.
pub const SECRETS_MAX: usize = 2;

/// A new client secret, with its sealed copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecret {
    /// Id and digest.
    pub secret: NewSecret,
    /// The secret, sealed.
    pub sealed: Option<Sealed>,
}

impl ClientSecret {
    pub(crate) fn row(&self, application: &Id, now: UnixTime) -> Secret {
        Secret {
            id: self.secret.id.clone(),
            application: application.clone(),
            digest: self.secret.digest,
            sealed: self.sealed.clone(),
            created: now,
            ends: None,
        }
    }
}

/// Registers an application.
#[derive(Clone, Debug)]
pub struct CreateApplication {
    /// The row as the caller has checked it; `created`, and `approved` where it is set, become the
    /// time of the transaction.
    pub application: Application,
    /// Its first secret, for a confidential one.
    pub secret: Option<ClientSecret>,
}

impl Intent for CreateApplication {
    type Answer = Application;
    const NAME: &'static str = "create_application";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Application>, Need> {
        let id = &self.application.id;
        if rows.get::<Application>(id)?.is_some() {
            return refuse(Refusal::Exists(Thing::Application, id.0.clone()));
        }
        if let Some(owner) = &self.application.owner {
            or_refuse!(people::active_id(rows, owner)?);
            if rows.live::<Application>("owner", owner)?.len() >= PER_PERSON_MAX {
                let (thing, of) = (Thing::Application, Thing::Person);
                return refuse(Refusal::Limit(Limit { thing, most: PER_PERSON_MAX, of }));
            }
        }
        let approved = self.application.approved.map(|_| now);
        let row = Application { created: now, approved, ..self.application.clone() };
        let secret = self.secret.as_ref().map(|secret| secret.row(id, now));
        let mut act = Act::new("application.create").application(id);
        act.subject = row.owner.clone();
        Ok(Decision::ok(row.clone()).write(&row).write_all(&secret).act(act))
    }
}

/// Adds a secret; the old one stays good, until `end_old` if that is given.
#[derive(Clone, Debug)]
pub struct AddSecret {
    /// The application.
    pub application: Id,
    /// The new secret.
    pub secret: ClientSecret,
    /// The other secrets end then, if not before.
    pub end_old: Option<UnixTime>,
}

impl Intent for AddSecret {
    type Answer = Secret;
    const NAME: &'static str = "add_secret";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Secret>, Need> {
        let application = or_refuse!(find(rows, &self.application)?);
        or_refuse!(check_not_declared(&application));
        if !application.confidential {
            return refuse(Refusal::UnauthorizedClient);
        }
        let mut good = good_secrets(rows, &application.id, now)?;
        let ends_now = self.end_old.is_some_and(|end| end <= now);
        if good.len() >= SECRETS_MAX && !ends_now {
            let (thing, of) = (Thing::Secret, Thing::Application);
            return refuse(Refusal::Limit(Limit { thing, most: SECRETS_MAX, of }));
        }
        if let Some(end) = self.end_old {
            end_by(&mut good, end);
        } else {
            good.clear();
        }
        let row = self.secret.row(&application.id, now);
        let act = Act::new("secret.add").application(&application.id).credential(&row.id);
        Ok(Decision::ok(row.clone()).write_all(&good).write(&row).act(act))
    }
}

/// Ends a secret. Tokens that it obtained stay.
#[derive(Clone, Debug)]
pub struct EndSecret {
    /// The application.
    pub application: Id,
    /// The secret's id.
    pub secret: Id,
}

impl Intent for EndSecret {
    type Answer = Secret;
    const NAME: &'static str = "end_secret";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Secret>, Need> {
        if let Some(application) = rows.get::<Application>(&self.application)? {
            or_refuse!(check_not_declared(&application));
        }
        let good = good_secrets(rows, &self.application, now)?;
        let Some(mut row) = good.into_iter().find(|row| row.id == self.secret) else {
            return refuse(Refusal::Unknown(Thing::Secret, self.secret.0.clone()));
        };
        row.ends = Some(now);
        let act = Act::new("secret.end").application(&row.application).credential(&row.id);
        Ok(Decision::ok(row.clone()).write(&row).act(act))
    }
}

/// A change of an application's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// An operator reviewed it.
    Approve,
    /// It gets no tokens, and its tokens are refused, until it is enabled.
    Disable,
    /// The reverse.
    Enable,
    /// Its tokens end: every grant, and its generation, which is this one from now on.
    EndTokens(Id),
    /// It is deleted, with its tokens.
    Delete,
}

/// Approves, disables, enables or deletes an application, or ends its tokens.
#[derive(Clone, Debug)]
pub struct TurnApplication {
    /// The application.
    pub application: Id,
    /// The change.
    pub turn: Turn,
}

impl Intent for TurnApplication {
    type Answer = Application;
    const NAME: &'static str = "turn_application";

    fn ends(&self) -> Option<Target> {
        match self.turn {
            Turn::Disable | Turn::EndTokens(_) | Turn::Delete => {
                Some(Target::Application(self.application.clone()))
            }
            Turn::Approve | Turn::Enable => None,
        }
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Application>, Need> {
        let mut row = or_refuse!(find(rows, &self.application)?);
        if matches!(self.turn, Turn::Disable | Turn::Delete) {
            or_refuse!(check_not_declared(&row));
        }
        let ends = matches!(self.turn, Turn::EndTokens(_) | Turn::Delete);
        let act = match &self.turn {
            Turn::Approve => {
                row.approved = row.approved.or(Some(now));
                "application.approve"
            }
            Turn::Disable => {
                row.disabled = row.disabled.or(Some(now));
                "application.disable"
            }
            Turn::Enable => {
                row.disabled = None;
                "application.enable"
            }
            Turn::EndTokens(generation) => {
                row.generation = generation.clone();
                "application.revoke"
            }
            Turn::Delete => {
                row.ended = Some(now);
                "application.delete"
            }
        };
        let act = Act::new(act).application(&row.id);
        let decision = Decision::ok(row.clone()).write(&row).act(act);
        if !ends {
            return Ok(decision);
        }
        let of = || vec![("application", row.id.to_value())];
        let denied = denied(rows, "application", &row.id, now)?;
        let decision = decision.end_all::<Grant>(of()).end_all::<Code>(of()).write_all(&denied);
        Ok(match self.turn {
            // An id that is declared again is another application: people are asked again.
            Turn::Delete => decision
                .end_all::<RecordedConsent>(of())
                .write_all(&ended_secrets(rows, &row.id, now)?)
                .write_all(&ended_share(rows, &row.id)?),
            Turn::Approve | Turn::Disable | Turn::Enable | Turn::EndTokens(_) => decision,
        })
    }
}

/// Returns whether the configuration declared an application when it was read last.
pub(super) fn is_declared(row: &Application) -> bool {
    let is_generated = IdKind::Application.is_form_of(row.id.as_str());
    !is_generated && row.owner.is_none() && row.plugin.is_none() && row.disabled.is_none()
}

/// Refuses a change that the next reload would undo.
///
/// # Errors
/// [`Refusal::Declared`].
pub(super) fn check_not_declared(row: &Application) -> Result<(), Refusal> {
    if is_declared(row) { Err(Refusal::Declared(row.id.0.clone())) } else { Ok(()) }
}

/// The application of this id that has not ended.
pub(crate) fn find(rows: &Rows, id: &Id) -> Result<Result<Application, Refusal>, Need> {
    let found = rows.get::<Application>(id)?.filter(|row| row.ended.is_none());
    Ok(found.ok_or_else(|| Refusal::Unknown(Thing::Application, id.0.clone())))
}

/// The secrets of an application that have not ended.
pub(crate) fn good_secrets(
    rows: &Rows,
    application: &Id,
    now: UnixTime,
) -> Result<Vec<Secret>, Need> {
    let mut secrets = rows.all::<Secret>("application", application)?;
    secrets.retain(|row| row.ends.is_none_or(|end| now < end));
    Ok(secrets)
}

/// Ends secrets at `end`, if not before.
pub(crate) fn end_by(secrets: &mut [Secret], end: UnixTime) {
    for row in secrets {
        row.ends = Some(row.ends.map_or(end, |known| known.min(end)));
    }
}
