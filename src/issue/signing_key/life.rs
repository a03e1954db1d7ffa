//! The life of signing keys: next, active, retired, gone.
//!
//! Owns the changes of a key set at an instant, as a pure function of the keys and of `now`. A key is published
//! before it signs, so that every resource server has fetched it by then, and is published until
//! the last token that it signed has ended. Never holds a key, and never reads the clock.

use std::time::Duration;

use crate::base::clock::UnixTime;
use crate::decide::jwt::Algorithm;

/// The most keys of a set: one next, one active, and those that were retired within the longest
/// lifetime of a token. Rotation waits while there are more.
pub const KEYS_MAX: usize = 16;

/// The configured rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A key signs for so long.
    pub rotate: Duration,
    /// A key is published so long before it signs.
    pub publish_before: Duration,
    /// No token lives longer.
    pub longest_token: Duration,
    /// The algorithm of new keys.
    pub algorithm: Algorithm,
}

/// One key of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLife {
    /// Its id.
    pub kid: Box<str>,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its stage.
    pub stage: Stage,
}

/// The stage of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Published, and signs from then on.
    Next {
        /// Not before this instant.
        signs_from: UnixTime,
    },
    /// Signs.
    Active {
        /// Since then.
        since: UnixTime,
    },
    /// Signs no more, and is published.
    Retired {
        /// Until the last token that it signed has ended.
        until: UnixTime,
    },
}

/// A change of the set that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Generate a key and add it with this stage.
    Add(Algorithm, Stage),
    /// Give the key of this id another stage.
    Turn(Box<str>, Stage),
    /// Remove the key of this id.
    Remove(Box<str>),
}

/// The changes that are due now; none if the set is as it should be.
#[must_use]
pub fn due(keys: &[KeyLife], rules: &Rotation, now: UnixTime) -> Vec<Step> {
    let mut steps: Vec<_> = keys.iter().filter(|key| is_over(key, now)).map(remove).collect();
    let is_full = keys.len() - steps.len() >= KEYS_MAX;
    let next = keys.iter().find_map(|key| match key.stage {
        Stage::Next { signs_from } => Some((key, signs_from)),
        Stage::Active { .. } | Stage::Retired { .. } => None,
    });
    match (signer(keys), next) {
        (None, None) => steps.push(Step::Add(rules.algorithm, Stage::Active { since: now })),
        // Without one that signs there is nothing to wait for.
        (None, Some((next, _))) => steps.push(activate(next, now)),
        (Some(active), Some((next, signs_from))) if signs_from <= now => {
            steps.push(retire(active, rules, now));
            steps.push(activate(next, now));
        }
        (Some(active), None) if !is_full && is_old(active, rules, now) => {
            steps.push(Step::Add(rules.algorithm, next_stage(active, rules, now)));
        }
        (Some(_), _) => {}
    }
    steps
}

/// The changes for a rotation that an operator asks for: publish now, sign after
/// `publish_before`. A key that waits already is moved forward.
#[must_use]
pub fn rotate(keys: &[KeyLife], rules: &Rotation, now: UnixTime) -> Vec<Step> {
    let stage = Stage::Next { signs_from: now.plus(rules.publish_before) };
    let waiting = keys.iter().find(|key| matches!(key.stage, Stage::Next { .. }));
    match waiting {
        Some(KeyLife { stage: Stage::Next { signs_from }, .. })
            if *signs_from <= now.plus(rules.publish_before) =>
        {
            Vec::new()
        }
        Some(next) => vec![Step::Turn(next.kid.clone(), stage)],
        None if signer(keys).is_none() => due(keys, rules, now),
        None => vec![Step::Add(rules.algorithm, stage)],
    }
}

/// The changes for the end of a key that may be known to others: it is published no more, so what
/// it signed ends. The next key, or a new one, signs at once. Empty if there is no such key.
#[must_use]
pub fn end(keys: &[KeyLife], kid: &str, rules: &Rotation, now: UnixTime) -> Vec<Step> {
    let Some(ended) = keys.iter().find(|key| &*key.kid == kid) else { return Vec::new() };
    let rest: Vec<_> = keys.iter().filter(|key| *key != ended).cloned().collect();
    let mut steps = vec![remove(ended)];
    if signer(&rest).is_none() {
        steps.extend(due(&rest, rules, now));
    }
    steps
}

/// The key that signs.
#[must_use]
pub fn signer(keys: &[KeyLife]) -> Option<&KeyLife> {
    keys.iter().find(|key| matches!(key.stage, Stage::Active { .. }))
}

/// The keys that the JWK set has: next, active and retired.
pub fn published(keys: &[KeyLife], now: UnixTime) -> impl Iterator<Item = &KeyLife> {
    keys.iter().filter(move |key| !is_over(key, now))
}

fn is_over(key: &KeyLife, now: UnixTime) -> bool {
    matches!(key.stage, Stage::Retired { until } if until <= now)
}

/// Returns whether it is time to publish the key that follows.
fn is_old(active: &KeyLife, rules: &Rotation, now: UnixTime) -> bool {
    let Stage::Active { since } = active.stage else { return false };
    let lead = rules.rotate.saturating_sub(rules.publish_before);
    active.algorithm != rules.algorithm || since.plus(lead) <= now
}

/// Published now; signs when the active key is old enough, and not before it is known.
fn next_stage(active: &KeyLife, rules: &Rotation, now: UnixTime) -> Stage {
    let known = now.plus(rules.publish_before);
    let signs_from = match active.stage {
        Stage::Active { since } if active.algorithm == rules.algorithm => {
            known.max(since.plus(rules.rotate))
        }
        Stage::Active { .. } | Stage::Next { .. } | Stage::Retired { .. } => known,
    };
    Stage::Next { signs_from }
}

fn activate(next: &KeyLife, now: UnixTime) -> Step {
    Step::Turn(next.kid.clone(), Stage::Active { since: now })
}

fn retire(active: &KeyLife, rules: &Rotation, now: UnixTime) -> Step {
    let until = now.plus(rules.longest_token);
    Step::Turn(active.kid.clone(), Stage::Retired { until })
}

fn remove(key: &KeyLife) -> Step {
    Step::Remove(key.kid.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const RULES: Rotation = Rotation {
        rotate: Duration::from_secs(90 * DAY),
        publish_before: Duration::from_secs(DAY),
        longest_token: Duration::from_secs(30 * DAY),
        algorithm: Algorithm::Rs256,
    };
    const START: UnixTime = UnixTime(1_800_000_000);

    fn at(seconds: u64) -> UnixTime {
        UnixTime(START.0 + seconds)
    }

    /// A set of keys as a store would keep it.
    #[derive(Default)]
    struct Set {
        keys: Vec<KeyLife>,
        made: usize,
    }

    impl Set {
        fn apply(&mut self, steps: &[Step]) {
            for step in steps {
                match step {
                    Step::Add(algorithm, stage) => {
                        self.made += 1;
                        let (kid, stage) = (format!("k{}", self.made).into(), *stage);
                        self.keys.push(KeyLife { kid, algorithm: *algorithm, stage });
                    }
                    Step::Turn(kid, stage) => {
                        self.keys.iter_mut().find(|key| key.kid == *kid).unwrap().stage = *stage;
                    }
                    Step::Remove(kid) => self.keys.retain(|key| key.kid != *kid),
                }
            }
        }

        fn tick(&mut self, rules: &Rotation, now: UnixTime) {
            let steps = due(&self.keys, rules, now);
            self.apply(&steps);
        }

        fn signs(&self) -> &str {
            &signer(&self.keys).expect("a key that signs").kid
        }

        fn kids(&self, now: UnixTime) -> Vec<&str> {
            published(&self.keys, now).map(|key| &*key.kid).collect()
        }
    }

    #[test]
    fn contract_signing_keys_are_published_first_and_served_until_the_last_token_ends() {
        let mut set = Set::default();
        let mut tick = |seconds: u64, signs: &str, kids: &[&str]| {
            set.tick(&RULES, at(seconds));
            assert_eq!((set.signs(), &*set.kids(at(seconds))), (signs, kids), "{seconds}");
            assert_eq!(due(&set.keys, &RULES, at(seconds)), [], "settled at {seconds}");
        };
        tick(0, "k1", &["k1"]);
        tick(89 * DAY - 1, "k1", &["k1"]);
        tick(89 * DAY, "k1", &["k1", "k2"]);
        tick(90 * DAY - 1, "k1", &["k1", "k2"]);
        tick(90 * DAY, "k2", &["k1", "k2"]);
        tick(120 * DAY - 1, "k2", &["k1", "k2"]);
        tick(120 * DAY, "k2", &["k2"]);
    }

    #[test]
    fn a_late_start_still_publishes_first() {
        let mut set = Set::default();
        set.tick(&RULES, at(0));
        set.tick(&RULES, at(200 * DAY));
        assert_eq!((set.signs(), set.kids(at(200 * DAY))), ("k1", vec!["k1", "k2"]));
        set.tick(&RULES, at(201 * DAY - 1));
        assert_eq!(set.signs(), "k1");
        set.tick(&RULES, at(201 * DAY));
        assert_eq!(set.signs(), "k2");
    }

    #[test]
    fn contract_signing_keys_rotate_publishes_now_and_signs_later() {
        let mut set = Set::default();
        set.tick(&RULES, at(0));
        set.apply(&rotate(&set.keys, &RULES, at(DAY)));
        assert_eq!((set.signs(), set.kids(at(DAY))), ("k1", vec!["k1", "k2"]));
        // A second request changes nothing.
        assert_eq!(rotate(&set.keys, &RULES, at(DAY + 1)), []);
        set.tick(&RULES, at(2 * DAY));
        assert_eq!(set.signs(), "k2");
        // One that waits by schedule is moved forward.
        let late = Stage::Next { signs_from: at(9 * DAY) };
        set.apply(&[Step::Add(Algorithm::Rs256, late)]);
        let forward = Stage::Next { signs_from: at(4 * DAY) };
        assert_eq!(rotate(&set.keys, &RULES, at(3 * DAY)), [Step::Turn("k3".into(), forward)]);
        let first = Step::Add(Algorithm::Rs256, Stage::Active { since: at(0) });
        assert_eq!(rotate(&[], &RULES, at(0)), [first]);
    }

    #[test]
    fn another_algorithm_in_the_configuration_is_a_rotation() {
        let mut set = Set::default();
        set.tick(&RULES, at(0));
        let rules = Rotation { algorithm: Algorithm::Es256, ..RULES };
        set.tick(&rules, at(HOUR));
        assert_eq!((set.signs(), set.kids(at(HOUR))), ("k1", vec!["k1", "k2"]));
        set.tick(&rules, at(HOUR + DAY));
        assert_eq!(signer(&set.keys).unwrap().algorithm, Algorithm::Es256);
    }

    #[test]
    fn r1114_an_ended_key_is_published_no_more_and_another_signs_at_once() {
        let mut set = Set::default();
        set.tick(&RULES, at(0));
        set.apply(&end(&set.keys, "k1", &RULES, at(1)));
        assert_eq!((set.signs(), set.kids(at(1))), ("k2", vec!["k2"]));
        set.apply(&rotate(&set.keys, &RULES, at(2)));
        set.apply(&end(&set.keys, "k2", &RULES, at(3)));
        assert_eq!((set.signs(), set.kids(at(3))), ("k3", vec!["k3"]));
        assert_eq!(end(&set.keys, "k9", &RULES, at(4)), []);
    }

    proptest! {
        /// Two years of irregular looks: beside what a verifier that caches keys would see.
        #[test]
        fn no_verification_ever_fails(
            gaps in prop::collection::vec(1..20 * DAY, 1..80),
            rotations in prop::collection::vec(any::<bool>(), 80),
        ) {
            let mut set = Set::default();
            let mut now = START;
            let mut seen: Vec<(Box<str>, UnixTime)> = Vec::new();
            let mut signed: Vec<(Box<str>, UnixTime)> = Vec::new();
            for (gap, asked) in gaps.iter().zip(&rotations) {
                set.tick(&RULES, now);
                if *asked && set.keys.len() < KEYS_MAX - 1 {
                    set.apply(&rotate(&set.keys, &RULES, now));
                }
                let active = set.keys.iter().filter(|key| matches!(key.stage, Stage::Active { .. }));
                prop_assert_eq!(active.count(), 1);
                prop_assert!(set.keys.len() <= KEYS_MAX);
                for key in published(&set.keys, now) {
                    if !seen.iter().any(|(kid, _)| *kid == key.kid) {
                        seen.push((key.kid.clone(), now));
                    }
                }
                // Known for a day before it signs, but for the first.
                let signs = set.signs();
                let since = seen.iter().find(|(kid, _)| **kid == *signs).unwrap().1;
                prop_assert!(signs == "k1" || since.0 + DAY <= now.0);
                signed.push((signs.into(), now.plus(RULES.longest_token)));
                // Whatever has not ended can be verified.
                let kids = set.kids(now);
                for (kid, end) in &signed {
                    prop_assert!(*end <= now || kids.contains(&&**kid), "{} at {}", kid, now);
                }
                now = UnixTime(now.0 + gap);
            }
        }
    }
}
