//! The rows of the SafeStore: peppers, shares, secrets of the issuer.
//!
//! Owns that the first value wins: of two processes that make the share of an owner at once, both
//! go on with the one that was stored. Never sees a pepper, and no share out of its wrapping.

use crate::base::clock::UnixTime;
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, Thing, refuse};
use crate::issue::rows::{Id, Pepper, Row, Sealed, Share, SystemSecret};
use crate::issue::safe_store::WrappedShare;

/// The purpose of every pepper, so that all of them are one query.
pub const SAFE_STORE: &str = "safe_store";

/// Records the check value of a pepper, unless the store knows the pepper.
#[derive(Clone, Debug)]
pub struct RecordPepper {
    /// Its id.
    pub id: Id,
    /// Its check value.
    pub check_value: Box<str>,
}

impl Intent for RecordPepper {
    /// The row as the store has it: another check value means other bytes.
    type Answer = Pepper;
    const NAME: &'static str = "record_pepper";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Pepper>, Need> {
        let known = rows.get::<Pepper>(&self.id)?;
        // Nothing is sealed under one that has ended: its id is free.
        if let Some(known) = known.filter(|known| known.ended.is_none()) {
            return Ok(Decision::ok(known));
        }
        let (id, check_value) = (self.id.clone(), self.check_value.clone());
        let purpose = SAFE_STORE.into();
        let row = Pepper { id, check_value, purpose, created: now, ended: None };
        Ok(Decision::ok(row.clone()).write(&row).act(Act::new("pepper.add").credential(&row.id)))
    }
}

/// Finds the share of an owner, or keeps this one.
#[derive(Clone, Debug)]
pub struct EnsureShare {
    /// The owner.
    pub owner: Id,
    /// Its share, if there is none.
    pub share: WrappedShare,
}

impl Intent for EnsureShare {
    type Answer = Share;
    const NAME: &'static str = "ensure_share";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<Share>, Need> {
        let known = rows.get::<Share>(&self.owner)?;
        // An empty one was given up with its pepper.
        if let Some(known) = known.filter(|known| !known.wrapped.0.is_empty()) {
            return Ok(Decision::ok(known));
        }
        let row = Share {
            owner: self.owner.clone(),
            version: self.share.version.into(),
            pepper: self.share.pepper.clone(),
            wrapped: Sealed(self.share.wrapped.clone()),
            created: now,
        };
        Ok(Decision::ok(row.clone()).write(&row).act(Act::new("share.add").subject(&row.owner)))
    }
}

/// Finds a secret of the issuer, or keeps this one.
#[derive(Clone, Debug)]
pub struct EnsureSystemSecret {
    /// Its name.
    pub name: Id,
    /// The secret, if there is none.
    pub sealed: Sealed,
}

impl Intent for EnsureSystemSecret {
    type Answer = SystemSecret;
    const NAME: &'static str = "ensure_system_secret";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<SystemSecret>, Need> {
        let known = rows.get::<SystemSecret>(&self.name)?;
        if let Some(known) = known.filter(|known| !known.sealed.0.is_empty()) {
            return Ok(Decision::ok(known));
        }
        let (name, sealed) = (self.name.clone(), self.sealed.clone());
        let row = SystemSecret { name, sealed, created: now };
        let act = Act::new("secret.make").credential(&row.name);
        Ok(Decision::ok(row.clone()).write(&row).act(act))
    }
}

/// Replaces the wrapping of a share and the records that were sealed with it, in one transaction.
/// Refused if the share is another by now.
#[derive(Clone, Debug)]
pub struct RewrapShare {
    /// The share as it was read.
    pub before: Share,
    /// The same share, wrapped under the active pepper.
    pub after: WrappedShare,
}

impl Intent for RewrapShare {
    type Answer = Share;
    const NAME: &'static str = "rewrap_share";

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<Share>, Need> {
        let Some(known) = rows.get::<Share>(&self.before.owner)? else {
            return refuse(Refusal::Unknown(Thing::Person, self.before.owner.0.clone()));
        };
        if known != self.before {
            return Ok(Decision::ok(known));
        }
        let (pepper, wrapped) = (self.after.pepper.clone(), Sealed(self.after.wrapped.clone()));
        let row = Share { pepper, wrapped, ..known };
        Ok(Decision::ok(row.clone()).write(&row))
    }
}

/// Replaces a row that was sealed again. One that has changed since stays as it is.
#[derive(Clone, Debug)]
pub struct Replace<R> {
    /// Its key.
    pub id: Id,
    /// The row as it was read.
    pub before: R,
    /// The row from now on.
    pub after: R,
}

impl<R: Row> Intent for Replace<R> {
    type Answer = ();
    const NAME: &'static str = "rewrap_record";

    fn decide(&self, rows: &Rows, _now: UnixTime) -> Result<Decision<()>, Need> {
        let known = rows.get::<R>(&self.id)?;
        let decision = Decision::ok(());
        Ok(if known.as_ref() == Some(&self.before) {
            decision.write(&self.after)
        } else {
            decision
        })
    }
}

/// Records that nothing is sealed under a pepper any more.
#[derive(Clone, Debug)]
pub struct EndPepper {
    /// Its id.
    pub id: Id,
}

impl Intent for EndPepper {
    type Answer = ();
    const NAME: &'static str = "end_pepper";

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<()>, Need> {
        let found = rows.get::<Pepper>(&self.id)?.filter(|row| row.ended.is_none());
        let Some(mut row) = found else { return Ok(Decision::ok(())) };
        row.ended = Some(now);
        Ok(Decision::ok(()).write(&row).act(Act::new("pepper.end").credential(&row.id)))
    }
}
