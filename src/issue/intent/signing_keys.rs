//! The set of signing keys: rotation, and the end of a key.
//!
//! Owns that every change of the set is computed from the rows of its own transaction, by
//! [`life`]: two processes that look at once make one new key.
//! Never holds a private key but sealed, and never generates one.

use crate::base::clock::UnixTime;
use crate::decide::jwt::Algorithm;
use crate::issue::intent::{Act, Decision, Intent, Need, Refusal, Rows, Target, Thing, refuse};
use crate::issue::rows::{Id, KeyStage, Sealed, SigningKey};
use crate::issue::signing_key::life::{self, KeyLife, Rotation, Stage, Step};

/// The purpose of the keys that sign access tokens.
pub const ACCESS_TOKENS: &str = "access_token";

/// A change that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// The changes that are due now.
    Due,
    /// Publish a new key now, and sign with it later.
    Rotate,
    /// End the key of this id: what it signed ends.
    Retire(Id),
}

/// A key for the case that one is to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub kid: Id,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// The private key, sealed.
    pub sealed: Sealed,
}

/// The set after a change.
#[derive(Clone, Debug, PartialEq)]
pub enum KeysChanged {
    /// Nothing was written: a key of this algorithm is needed.
    Needs(Algorithm),
    /// The keys from now on.
    Keys(Vec<SigningKey>),
}

/// Changes the set of signing keys.
#[derive(Clone, Debug)]
pub struct ChangeKeys {
    /// The change.
    pub change: KeyChange,
    /// The configured rules.
    pub rules: Rotation,
    /// A key, if one is to be added.
    pub new: Option<NewKey>,
}

impl Intent for ChangeKeys {
    type Answer = KeysChanged;
    const NAME: &'static str = "change_signing_keys";

    fn ends(&self) -> Option<Target> {
        match &self.change {
            KeyChange::Retire(kid) => Some(Target::SigningKey(kid.clone())),
            KeyChange::Due | KeyChange::Rotate => None,
        }
    }

    fn decide(&self, rows: &Rows, now: UnixTime) -> Result<Decision<KeysChanged>, Need> {
        let keys = rows.live::<SigningKey>("purpose", &Box::<str>::from(ACCESS_TOKENS))?;
        let lives: Vec<_> = keys.iter().filter_map(life_of).collect();
        let (steps, act) = match &self.change {
            KeyChange::Due => (life::due(&lives, &self.rules, now), "signing_key.turn"),
            KeyChange::Rotate => (life::rotate(&lives, &self.rules, now), "signing_key.rotate"),
            KeyChange::Retire(kid) => {
                if !keys.iter().any(|key| key.kid == *kid) {
                    return refuse(Refusal::Unknown(Thing::SigningKey, kid.0.clone()));
                }
                let steps = life::end(&lives, kid.as_str(), &self.rules, now);
                (steps, "signing_key.retire")
            }
        };
        Ok(self.apply(keys, &steps, act, now))
    }
}

impl ChangeKeys {
    fn apply(
        &self,
        mut keys: Vec<SigningKey>,
        steps: &[Step],
        act: &'static str,
        now: UnixTime,
    ) -> Decision<KeysChanged> {
        let mut changed = Vec::new();
        for step in steps {
            match step {
                Step::Add(algorithm, stage) => {
                    let new = self.new.as_ref().filter(|new| new.algorithm == *algorithm);
                    let Some(new) = new else {
                        return Decision::ok(KeysChanged::Needs(*algorithm));
                    };
                    changed.push(new.row(*stage, now));
                }
                Step::Turn(kid, stage) => {
                    let known = keys.iter().find(|key| key.kid.0 == *kid);
                    let (stage, at) = columns(*stage);
                    changed.extend(known.map(|key| SigningKey { stage, at, ..key.clone() }));
                }
                Step::Remove(kid) => {
                    let known = keys.iter().find(|key| key.kid.0 == *kid);
                    changed.extend(known.map(|key| SigningKey { ended: Some(now), ..key.clone() }));
                }
            }
        }
        keys.retain(|key| !changed.iter().any(|row| row.kid == key.kid));
        keys.extend(changed.iter().filter(|row| row.ended.is_none()).cloned());
        let decision = Decision::ok(KeysChanged::Keys(keys)).write_all(&changed);
        changed
            .iter()
            .fold(decision, |decision, row| decision.act(Act::new(act).credential(&row.kid)))
    }
}

impl NewKey {
    fn row(&self, stage: Stage, now: UnixTime) -> SigningKey {
        let (stage, at) = columns(stage);
        SigningKey {
            kid: self.kid.clone(),
            purpose: ACCESS_TOKENS.into(),
            algorithm: self.algorithm.as_str().into(),
            stage,
            at,
            sealed: self.sealed.clone(),
            created: now,
            ended: None,
        }
    }
}

const fn columns(stage: Stage) -> (KeyStage, UnixTime) {
    match stage {
        Stage::Next { signs_from } => (KeyStage::Next, signs_from),
        Stage::Active { since } => (KeyStage::Active, since),
        Stage::Retired { until } => (KeyStage::Retired, until),
    }
}

/// A row as the rules of rotation see it; `None` for an algorithm of a later version.
#[must_use]
pub fn life_of(row: &SigningKey) -> Option<KeyLife> {
    let stage = match row.stage {
        KeyStage::Next => Stage::Next { signs_from: row.at },
        KeyStage::Active => Stage::Active { since: row.at },
        KeyStage::Retired => Stage::Retired { until: row.at },
    };
    let algorithm = algorithm_of(row)?;
    Some(KeyLife { kid: row.kid.0.clone(), algorithm, stage })
}

/// The algorithm of a row: RS256 or ES256.
#[must_use]
pub fn algorithm_of(row: &SigningKey) -> Option<Algorithm> {
    let known = [Algorithm::Rs256, Algorithm::Es256];
    known.into_iter().find(|one| one.as_str() == &*row.algorithm)
}
