//! The members of one key file or JWK set, compared with each other.
//!
//! Owns which members are equal, which contradict each other, and which no token could choose. A
//! key in force that the set still contains stays in force: a key server that adds a member never
//! withdraws another one by it. Never reads a file.

use crate::decide::jwt::KeySet;
use crate::decide::jwt::algorithm::KeyKind;
use crate::decide::jwt::key::VerifyingKey;

/// One key of a file, or what is wrong with it. A fetched set and a local file judge it alike.
pub(super) struct Member {
    pub(super) line: Option<u64>,
    pub(super) place: String,
    pub(super) key: Result<VerifyingKey, String>,
}

/// Judges what no member shows alone. Equal members become one (some key servers list a key
/// twice); members that contradict each other are refused, and nothing else is.
pub(super) fn compare(members: &mut Vec<Member>, in_force: &KeySet) {
    refuse(members, secret_beside_public);
    merge_equal(members);
    refuse(members, |key, others| contradicting(key, others, in_force));
    refuse(members, |key, others| never_chosen(key, others, in_force));
}

/// Refuses every member for which `judge`, given the key and all others that are usable so far,
/// has a reason.
fn refuse(
    members: &mut [Member],
    judge: impl Fn(&VerifyingKey, &[&VerifyingKey]) -> Option<String>,
) {
    let usable: Vec<_> = (0..members.len()).filter(|&index| members[index].key.is_ok()).collect();
    let key = |index: usize| members[index].key.as_ref().ok();
    let reasons: Vec<_> = usable
        .iter()
        .filter_map(|&index| {
            let others = usable.iter().filter(|&&other| other != index);
            let others: Vec<_> = others.filter_map(|&other| key(other)).collect();
            Some((index, judge(key(index)?, &others)?))
        })
        .collect();
    for (index, reason) in reasons {
        members[index].key = Err(reason);
    }
}

fn secret_beside_public(key: &VerifyingKey, others: &[&VerifyingKey]) -> Option<String> {
    let is_secret = |key: &VerifyingKey| key.algorithm().key_kind() == KeyKind::Secret;
    let is_mixed = is_secret(key) && others.iter().any(|other| !is_secret(other));
    is_mixed
        .then(|| "is a secret in a set with public keys: put it into a file of its own".to_owned())
}

/// The first of equal members stays, with what all of them state.
fn merge_equal(members: &mut Vec<Member>) {
    let mut kept: Vec<Member> = Vec::with_capacity(members.len());
    for member in members.drain(..) {
        let Ok(key) = &member.key else {
            kept.push(member);
            continue;
        };
        let mut earlier = kept.iter_mut().filter_map(|one| one.key.as_mut().ok());
        match earlier.find(|one| one.is_same(key)) {
            Some(one) => one.take_statements_of(key),
            None => kept.push(member),
        }
    }
    *members = kept;
}

/// `kid` and algorithm together tell keys apart (RFC 7517 section 4.5). Different keys that share
/// both are refused, but for one that is in force.
fn contradicting(
    key: &VerifyingKey,
    others: &[&VerifyingKey],
    in_force: &KeySet,
) -> Option<String> {
    let kid = key.kid()?;
    let contradicts = |other: &&VerifyingKey| {
        other.kid() == Some(kid) && other.algorithm().is_same_signature(key.algorithm())
    };
    if in_force.contains(key) || !others.iter().any(contradicts) {
        return None;
    }
    Some(format!(
        "kid {kid:.64?} is there twice with different {} keys: only one that is already in force \
         is used",
        key.algorithm()
    ))
}

/// A key without `kid` is chosen as the only one of its algorithm, or by a thumbprint it states.
fn never_chosen(key: &VerifyingKey, others: &[&VerifyingKey], in_force: &KeySet) -> Option<String> {
    let is_rival = |other: &&VerifyingKey| other.algorithm().is_same_signature(key.algorithm());
    let is_chosen = key.kid().is_some() || key.has_thumbprint() || in_force.contains(key);
    if is_chosen || !others.iter().any(is_rival) {
        return None;
    }
    Some(format!(
        "has no kid and is not the only {} key, so no token could choose it: give each of them a \
         kid",
        key.algorithm()
    ))
}
