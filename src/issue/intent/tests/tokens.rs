//! Codes and refresh tokens, in random sequences and by racers.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::id;
use crate::base::clock::UnixTime;
use crate::base::sha256::sha256;
use crate::decide::live::RoleRules;
use crate::decide::scope::ScopeSet;
use crate::issue::consent;
use crate::issue::intent::Refusal;
use crate::issue::intent::applications::{Turn, TurnApplication};
use crate::issue::intent::client::{Client, Lifetimes, Rules, Scopes};
use crate::issue::intent::client_credentials::ClientCredentials;
use crate::issue::intent::code::{Given, GrantCode, RedeemCode};
use crate::issue::intent::memory::Memory;
use crate::issue::intent::people::{AddPerson, DisablePerson, EnablePerson, SetRoles};
use crate::issue::intent::refresh::Refresh;
use crate::issue::intent::revoke::EndGrants;
use crate::issue::intent::revoke::RevokeRefresh;
use crate::issue::intent::tokens::{Issued, NewRefresh, Refreshed};
use crate::issue::rows::{
    Application, Code, Grant, Profile, RefreshToken, Sealed, Secret, SecretDigest, Words,
};

pub(super) const START: u64 = 10_000;
const GRACE: u64 = 60;
pub(super) const URI: &str = "https://shop.example.com/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(super) fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

pub(super) fn rules() -> Rules {
    let lifetimes = Lifetimes {
        access: 100,
        compat_access: 200,
        refresh: 1_000,
        compat_refresh: 2_000,
        idle: 300,
        grace: GRACE,
    };
    let roles = RoleRules::new([("admin".into(), Box::from([Box::from("operator")]))]);
    let known = scopes("admin read write");
    Rules { lifetimes, scopes: Arc::new(Scopes { known, roles, ..Scopes::default() }) }
}

pub(super) fn refresh(number: usize) -> NewRefresh {
    let text = format!("gp_rt_{number}");
    let (digest, sealed) = (SecretDigest::of_secret(&text), Sealed(text.into()));
    NewRefresh { digest, sealed }
}

pub(super) fn client(name: &str) -> Client {
    let secret = (name != "public").then(|| SecretDigest::of_secret(name));
    Client { id: id(name), secret }
}

pub(super) fn application(name: &str) -> Application {
    let is_public = name == "public";
    Application {
        id: id(name),
        owner: None,
        name: name.into(),
        site: None,
        confidential: !is_public,
        profile: if is_public { Profile::Strict } else { Profile::Compat },
        redirect_uris: [URI].into_iter().collect(),
        grants: [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
        ]
        .into_iter()
        .collect(),
        scopes: None,
        first_party: false,
        introspect: false,
        access_lifetime: None,
        plugin: None,
        approved: None,
        generation: id(&format!("gen_{name}")),
        created: UnixTime(0),
        disabled: None,
        ended: None,
    }
}

const CLIENTS: [&str; 3] = ["public", "server", "other"];

/// Three applications and a person.
pub(super) fn world() -> Memory {
    let mut memory = Memory::default();
    for name in CLIENTS {
        memory.insert(&application(name));
        memory.insert(&Secret {
            id: id(&format!("secret_{name}")),
            application: id(name),
            digest: SecretDigest::of_secret(name),
            sealed: None,
            created: UnixTime(0),
            ends: None,
        });
    }
    let ada = AddPerson {
        id: id("usr_ada"),
        login: "ada".into(),
        name: None,
        email: None,
        roles: ["operator"].into_iter().collect(),
    };
    memory.run(&ada, UnixTime(START)).unwrap();
    memory
}

#[test]
fn r1115_an_unknown_client_costs_the_same_queries_as_a_wrong_secret_and_writes_nothing() {
    use crate::issue::intent::client::Authenticate;
    use crate::issue::intent::{Intent, Need, Rows};
    use crate::issue::rows::Table;

    fn tried(intent: &impl Intent) -> Vec<(Table, &'static str)> {
        let (memory, mut rows, mut asked) = (world(), Rows::default(), Vec::new());
        loop {
            match intent.decide(&rows, UnixTime(START)) {
                Ok(decision) => {
                    assert_eq!(decision.outcome.err(), Some(Refusal::InvalidClient));
                    assert!(decision.writes.is_empty() && decision.acts.is_empty());
                    return asked;
                }
                Err(Need::Rows(query)) => {
                    asked.push((query.table, query.column));
                    let found = memory.find(&query);
                    rows.insert(query, found);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    let wrong = SecretDigest::of_secret("wrong");
    let by = |name: &str| Client { id: id(name), secret: Some(wrong) };
    let expected = [(Table::Applications, "id"), (Table::Secrets, "application")];
    // A public client has no secret, one that is gone no row.
    for name in ["server", "public", "unknown"] {
        assert_eq!(tried(&Authenticate { client: by(name) }), expected, "{name}");
        let intent = ClientCredentials { client: by(name), scope: None, rules: rules() };
        assert_eq!(tried(&intent), expected, "{name}");
    }
}

fn code_digest(number: usize) -> SecretDigest {
    SecretDigest::of_secret(&format!("code_{number}"))
}

fn give_code(memory: &mut Memory, number: usize, to: &str, now: u64) {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let code = Code {
        digest: code_digest(number),
        application: id(to),
        person: id("usr_ada"),
        redirect_uri: Some(URI.into()),
        challenge: (to == "public").then(|| challenge.into()),
        scopes: scopes("admin read"),
        auth_time: UnixTime(now),
        expires: UnixTime(now + 60),
        grant_id: None,
        ended: None,
    };
    let given = Given::Now(consent::shown(&application(to)));
    memory.run(&GrantCode { code, given, lifetime: 60 }, UnixTime(now)).unwrap();
}

fn redeem(number: usize, by: &str, next: usize) -> RedeemCode {
    RedeemCode {
        client: client(by),
        code: code_digest(number),
        redirect_uri: Some(URI.into()),
        verifier: (by == "public").then(|| VERIFIER.into()),
        grant: id(&format!("g{next}")),
        refresh: refresh(next),
        rules: rules(),
    }
}

fn use_token(number: usize, by: &str, next: usize) -> Refresh {
    Refresh {
        client: client(by),
        token: refresh(number).digest,
        successor: refresh(next),
        scope: None,
        rules: rules(),
    }
}

/// Which refresh token an answer carries, by its number.
fn carried(issued: &Issued, presented: usize, new: usize) -> usize {
    match issued.refresh.as_ref().expect("these applications refresh") {
        Refreshed::New => new,
        Refreshed::Same => presented,
        Refreshed::Again(sealed) => sealed.0.strip_prefix("gp_rt_").unwrap().parse().unwrap(),
    }
}

/// A code of the reference.
#[derive(Clone, Debug)]
struct NaiveCode {
    to: usize,
    end: u64,
    /// `None` is unused, then the family that it gave, or no family after a wrong attempt.
    used: Option<Option<usize>>,
}

/// A family of the reference: its tokens in their order, and when each was used.
#[derive(Clone, Debug)]
struct NaiveFamily {
    to: usize,
    tokens: Vec<usize>,
    used: Vec<u64>,
    ended: bool,
    end: u64,
    idle: u64,
}

#[derive(Debug, Default)]
struct Naive {
    codes: Vec<NaiveCode>,
    families: Vec<NaiveFamily>,
    disabled: bool,
}

impl Naive {
    fn lifetimes(to: usize) -> (u64, u64) {
        if CLIENTS[to] == "public" { (100, 1_000) } else { (200, 2_000) }
    }

    /// The number of the refresh token, if there is an answer.
    fn redeem(
        &mut self,
        code: usize,
        by: usize,
        good: bool,
        next: usize,
        now: u64,
    ) -> Option<usize> {
        let (access, lasts) = Self::lifetimes(by);
        let disabled = self.disabled;
        let code = self.codes.get_mut(code).filter(|code| code.to == by && now < code.end)?;
        match (good, code.used) {
            (false, None) => {
                code.used = Some(None);
                None
            }
            (false, Some(_)) | (true, Some(None)) => None,
            (true, Some(Some(family))) => {
                self.families[family].ended = true;
                None
            }
            (true, None) if disabled => {
                code.used = Some(None);
                None
            }
            (true, None) => {
                code.used = Some(Some(self.families.len()));
                let (end, idle) = (now + lasts, now + access + 300);
                let (tokens, used) = (vec![next], Vec::new());
                self.families.push(NaiveFamily { to: by, tokens, used, ended: false, end, idle });
                Some(next)
            }
        }
    }

    fn refresh(&mut self, token: usize, by: usize, next: usize, now: u64) -> Option<usize> {
        let disabled = self.disabled;
        let has = |family: &&mut NaiveFamily| family.tokens.contains(&token) && family.to == by;
        let family = self.families.iter_mut().find(has)?;
        if family.ended || now >= family.end || disabled {
            return None;
        }
        let place = family.tokens.iter().position(|one| *one == token)?;
        let (last, access) = (family.tokens.len() - 1, Self::lifetimes(by).0);
        // Each token has its own idle end; only that of the newest moves.
        if place == last && now >= family.idle {
            return None;
        }
        match last - place {
            0 if CLIENTS[by] != "public" => {}
            0 => {
                family.tokens.push(next);
                family.used.push(now);
            }
            1 if now < family.used[place] + GRACE => {}
            _ => {
                family.ended = true;
                return None;
            }
        }
        family.idle = family.idle.max(now + access + 300);
        family.tokens.last().copied()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Code(usize),
    Redeem { code: usize, by: usize, good: bool },
    Refresh { token: usize, by: usize },
    Revoke { token: usize, by: usize },
    Disable,
    Enable,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let by = || prop::sample::select(vec![0, 0, 0, 1, 1, 2_usize]);
    prop_oneof![
        3 => by().prop_map(Step::Code),
        6 => (0..4_usize, by(), prop::bool::weighted(0.8))
            .prop_map(|(code, by, good)| Step::Redeem { code, by, good }),
        9 => (0..8_usize, by()).prop_map(|(token, by)| Step::Refresh { token, by }),
        1 => (0..8_usize, by()).prop_map(|(token, by)| Step::Revoke { token, by }),
        1 => Just(Step::Disable),
        2 => Just(Step::Enable),
        3 => prop::sample::select(vec![1_u64, 20, 59, 60, 61, 250, 600]).prop_map(Step::Wait),
    ]
}

/// Both worlds, and the numbers of the tokens that were given.
struct Walk {
    memory: Memory,
    naive: Naive,
    given: Vec<usize>,
    now: u64,
}

impl Walk {
    fn step(&mut self, step: Step, next: usize) -> Result<(), TestCaseError> {
        let (now, at) = (self.now, UnixTime(self.now));
        // The latest things first, so that a sequence meets them again.
        let back = |len: usize, from: usize| len.checked_sub(1 + from).unwrap_or(usize::MAX);
        match step {
            Step::Wait(seconds) => self.now += seconds,
            Step::Code(to) => {
                if self.naive.disabled {
                    return Ok(());
                }
                let number = self.naive.codes.len();
                give_code(&mut self.memory, number, CLIENTS[to], now);
                self.naive.codes.push(NaiveCode { to, end: now + 60, used: None });
            }
            Step::Redeem { code, by, good } => {
                let code = back(self.naive.codes.len(), code);
                let mut intent = redeem(code, CLIENTS[by], next);
                if !good {
                    intent.redirect_uri = Some("https://evil.example.com/".into());
                }
                let outcome = self.memory.run(&intent, at);
                let outcome = outcome.ok().map(|issued| carried(&issued, usize::MAX, next));
                let expected = self.naive.redeem(code, by, good, next, now);
                prop_assert_eq!(outcome, expected);
                self.given.extend(outcome);
            }
            Step::Refresh { token, by } => {
                let token = self.given.get(back(self.given.len(), token)).copied();
                let token = token.unwrap_or(usize::MAX);
                let outcome = self.memory.run(&use_token(token, CLIENTS[by], next), at);
                let outcome = outcome.ok().map(|issued| carried(&issued, token, next));
                let expected = self.naive.refresh(token, by, next, now);
                prop_assert_eq!(outcome, expected);
                self.given.extend(outcome.filter(|given| *given == next));
            }
            Step::Revoke { token, by } => {
                let token = self.given.get(back(self.given.len(), token)).copied();
                let token = token.unwrap_or(usize::MAX);
                let revoke =
                    RevokeRefresh { client: client(CLIENTS[by]), token: refresh(token).digest };
                let _ = self.memory.run(&revoke, at);
                let families = self.naive.families.iter_mut();
                let hit = families.filter(|one| one.tokens.contains(&token) && one.to == by);
                hit.for_each(|family| family.ended = true);
            }
            Step::Disable => {
                self.memory.run(&DisablePerson { person: "ada".into() }, at).unwrap();
                self.naive.disabled = true;
                self.naive.families.iter_mut().for_each(|family| family.ended = true);
                self.naive.codes.iter_mut().for_each(|code| code.used = code.used.or(Some(None)));
            }
            Step::Enable => {
                self.memory.run(&EnablePerson { person: "ada".into() }, at).unwrap();
                self.naive.disabled = false;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn r1103_r1104_codes_and_refresh_tokens_agree_with_a_naive_reference(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let (memory, naive) = (world(), Naive::default());
        let mut walk = Walk { memory, naive, given: Vec::new(), now: START };
        for (number, step) in steps.into_iter().enumerate() {
            walk.step(step, 1_000 + number)?;
            let grants = walk.memory.all::<Grant>();
            let ended: Vec<_> = grants.iter().map(|grant| grant.ended.is_some()).collect();
            let naive: Vec<_> = walk.naive.families.iter().map(|family| family.ended).collect();
            prop_assert_eq!(ended, naive);
        }
    }
}

#[test]
fn r1103_of_racers_for_a_code_one_wins_and_the_first_loser_revokes_it() {
    let mut memory = world();
    for number in 0..50 {
        give_code(&mut memory, number, CLIENTS[number % 2], START);
        let racers = (0..16).map(|racer| {
            let next = 16 * number + racer;
            memory.run(&redeem(number, CLIENTS[number % 2], next), UnixTime(START)).is_ok()
        });
        assert_eq!(racers.filter(|won| *won).count(), 1, "code {number}");
    }
    let grants = memory.all::<Grant>();
    assert_eq!(grants.len(), 50);
    assert!(grants.iter().all(|grant| grant.ended.is_some()));
    let replays = memory.acts.iter().filter(|act| act.act == "code.replay").count();
    assert_eq!(replays, 50, "audited once");
}

#[test]
fn r1104_racers_within_grace_get_one_successor_and_later_use_ends_the_family() {
    let mut memory = world();
    give_code(&mut memory, 0, "public", START);
    memory.run(&redeem(0, "public", 1), UnixTime(START)).unwrap();
    for racer in 0..16 {
        let issued =
            memory.run(&use_token(1, "public", 100 + racer), UnixTime(START + 59)).unwrap();
        assert_eq!(carried(&issued, 1, 100 + racer), 100, "racer {racer}");
    }
    assert_eq!(memory.all::<RefreshToken>().len(), 2, "one live descendant");
    // The successor is used: its predecessor is a replay, within grace too.
    let mut used = use_token(100, "public", 200);
    used.scope = Some(scopes("read"));
    let issued = memory.run(&used, UnixTime(START + 60)).unwrap();
    assert_eq!(issued.access.scopes, scopes("read"));
    let refused = memory.run(&use_token(1, "public", 300), UnixTime(START + 61)).unwrap_err();
    let revoked = "refresh token used again: the grant is revoked";
    assert_eq!(refused, Refusal::InvalidGrant(revoked));
    let refused = memory.run(&use_token(200, "public", 301), UnixTime(START + 61)).unwrap_err();
    assert_eq!(refused, Refusal::InvalidGrant("refresh token revoked"));
    assert_eq!(memory.acts.last().unwrap().act, "refresh.replay");
}

#[test]
fn r1104_the_predecessor_is_a_replay_when_grace_is_over() {
    let mut memory = world();
    give_code(&mut memory, 0, "public", START);
    memory.run(&redeem(0, "public", 1), UnixTime(START)).unwrap();
    memory.run(&use_token(1, "public", 2), UnixTime(START)).unwrap();
    assert!(memory.run(&use_token(1, "public", 3), UnixTime(START + GRACE)).is_err());
    assert!(memory.all::<Grant>()[0].ended.is_some());
}

#[test]
fn r1106_a_client_is_what_it_proves_to_be() {
    let mut memory = world();
    let ask = |memory: &mut Memory, client: Client| {
        let (rules, scope) = (rules(), None);
        memory.run(&ClientCredentials { client, scope, rules }, UnixTime(START)).map(drop)
    };
    assert_eq!(ask(&mut memory, client("server")), Ok(()));
    assert_eq!(ask(&mut memory, client("public")), Err(Refusal::UnauthorizedClient));
    let secret = |text: &str| Some(SecretDigest::of_secret(text));
    for wrong in [
        Client { id: id("server"), secret: None },
        Client { id: id("server"), secret: secret("other") },
        Client { id: id("unknown"), secret: secret("server") },
        Client { id: id("unknown"), secret: None },
        Client { id: id("public"), secret: secret("public") },
    ] {
        assert_eq!(ask(&mut memory, wrong.clone()), Err(Refusal::InvalidClient), "{wrong:?}");
    }
    let acts = memory.acts.len();
    assert_eq!(memory.acts[acts - 1].act, "token.issue", "nothing is written for a refusal");
    memory.insert(&Application { disabled: Some(UnixTime(1)), ..application("server") });
    assert_eq!(ask(&mut memory, client("server")), Err(Refusal::InvalidClient));
    memory.insert(&Application { grants: Words::default(), ..application("server") });
    assert_eq!(ask(&mut memory, client("server")), Err(Refusal::UnauthorizedClient));
}

#[test]
fn contract_client_credentials_give_an_access_token_alone() {
    let mut memory = world();
    let issue = |memory: &mut Memory, scope: Option<&str>, rules: Rules| {
        let scope = scope.map(scopes);
        let intent = ClientCredentials { client: client("server"), scope, rules };
        memory.run(&intent, UnixTime(START))
    };
    let issued = issue(&mut memory, Some("read offline_access"), rules()).unwrap();
    assert_eq!(issued.refresh, None);
    let access = issued.access;
    assert_eq!((&*access.subject, access.grant.as_str()), ("app:server", "gen_server"));
    assert_eq!((access.scopes, access.lifetime, access.auth_time), (scopes("read"), 200, None));
    let refused = issue(&mut memory, Some("read nonsense"), rules()).unwrap_err();
    assert_eq!(refused, Refusal::Scope("nonsense".into()));
    for absent in [None, Some("")] {
        let all = issue(&mut memory, absent, rules()).unwrap().access.scopes;
        assert_eq!(all, scopes("read write"), "admin needs a role");
    }
    let defaults = |default: &str| {
        let scopes_of = Scopes { default: Some(scopes(default)), ..(*rules().scopes).clone() };
        Rules { scopes: Arc::new(scopes_of), ..rules() }
    };
    memory.insert(&Application {
        scopes: Some(scopes("read write")),
        access_lifetime: Some(7),
        ..application("server")
    });
    let few = issue(&mut memory, None, defaults("admin read")).unwrap().access;
    assert_eq!((few.scopes, few.lifetime), (scopes("read"), 7));
    let beyond = issue(&mut memory, Some("admin"), rules()).unwrap_err();
    assert_eq!(beyond, Refusal::Scope("admin".into()));
    // A default that the application may not have any of gives no token without scopes.
    let useless = issue(&mut memory, None, defaults("admin")).unwrap_err();
    assert_eq!(useless, Refusal::Default(scopes("read write")));
    assert_eq!(issue(&mut memory, Some("write"), defaults("admin")).unwrap().refresh, None);
    memory.insert(&Application { scopes: Some(scopes("")), ..application("server") });
    let none = issue(&mut memory, None, defaults("admin")).unwrap().access.scopes;
    assert!(none.is_empty(), "it may have none, and asks for none");
}

#[test]
fn r1107_scopes_shrink_and_roles_are_looked_at_again() {
    let mut memory = world();
    give_code(&mut memory, 0, "server", START);
    let issued = memory.run(&redeem(0, "server", 1), UnixTime(START)).unwrap();
    assert_eq!(issued.access.scopes, scopes("admin read"));
    let ask = |memory: &mut Memory, scope: Option<&str>| {
        let scope = scope.map(scopes);
        let intent = Refresh { scope, ..use_token(1, "server", 2) };
        memory.run(&intent, UnixTime(START + 1)).map(|issued| issued.access.scopes.to_string())
    };
    assert_eq!(ask(&mut memory, Some("read")), Ok("read".into()));
    assert_eq!(ask(&mut memory, None), Ok("admin read".into()), "the original ones");
    assert_eq!(ask(&mut memory, Some("read offline_access")), Ok("read".into()));
    assert_eq!(ask(&mut memory, Some("offline_access")), Ok("admin read".into()));
    assert_eq!(ask(&mut memory, Some("write")), Err(Refusal::Scope("write".into())));
    let roles = SetRoles { person: "ada".into(), roles: Words::default() };
    memory.run(&roles, UnixTime(START)).unwrap();
    assert_eq!(ask(&mut memory, None), Ok("read".into()));
    memory.insert(&Application { scopes: Some(scopes("write")), ..application("server") });
    assert_eq!(ask(&mut memory, None), Ok(String::new()));
}

#[test]
fn r1101_r1102_redirect_uri_and_verifier_must_be_those_of_the_request() {
    let try_with = |to: &str, change: fn(&mut Code), wrong: fn(&mut RedeemCode)| {
        let mut memory = world();
        give_code(&mut memory, 0, to, START);
        let mut code = memory.all::<Code>().pop().unwrap();
        change(&mut code);
        memory.insert(&code);
        let mut intent = redeem(0, to, 1);
        wrong(&mut intent);
        memory.run(&intent, UnixTime(START)).map(drop).map_err(|refusal| {
            assert!(memory.all::<Code>()[0].ended.is_some(), "a wrong attempt ends the code");
            refusal.to_string()
        })
    };
    let same: fn(&mut Code) = |_| {};
    let omitted: fn(&mut Code) = |code| code.redirect_uri = None;
    let plain: fn(&mut Code) = |code| code.challenge = Some(VERIFIER.into());
    assert_eq!(try_with("server", same, |_| {}), Ok(()));
    assert_eq!(try_with("server", omitted, |_| {}), Ok(()));
    assert_eq!(try_with("server", omitted, |intent| intent.redirect_uri = None), Ok(()));
    let differs = "redirect_uri differs from that of the authorization request";
    for (change, wrong) in [
        (same, (|intent| intent.redirect_uri = None) as fn(&mut RedeemCode)),
        (same, |intent| intent.redirect_uri = Some(format!("{URI}/").into())),
        (omitted, |intent| intent.redirect_uri = Some("https://evil.example.com".into())),
    ] {
        assert_eq!(try_with("server", change, wrong), Err(differs.to_owned()));
    }
    let verifier = "code_verifier does not match the code_challenge";
    assert_eq!(try_with("public", same, |intent| intent.verifier = None), Err(verifier.into()));
    let wrong = |intent: &mut RedeemCode| intent.verifier = Some("x".repeat(43).as_str().into());
    assert_eq!(try_with("public", same, wrong), Err(verifier.into()));
    assert_eq!(try_with("public", plain, |_| {}), Err(verifier.into()), "plain is refused");
    let downgrade = |intent: &mut RedeemCode| intent.verifier = Some(VERIFIER.into());
    let expected = "code_verifier without a code_challenge";
    assert_eq!(try_with("server", same, downgrade), Err(expected.into()));
    // A strict application gets no code without a challenge.
    let mut memory = world();
    give_code(&mut memory, 0, "public", START);
    let code = Code { challenge: None, ..memory.all::<Code>().pop().unwrap() };
    let refused = memory
        .run(&GrantCode { code, given: Given::FirstParty, lifetime: 60 }, UnixTime(START))
        .unwrap_err();
    assert_eq!(refused, Refusal::UnauthorizedClient);
}

#[test]
fn r1104_a_code_of_a_withdrawn_consent_gives_nothing() {
    let mut memory = world();
    give_code(&mut memory, 0, "public", START);
    let end = EndGrants { person: id("usr_ada"), application: id("public") };
    memory.run(&end, UnixTime(START)).unwrap();
    // A new consent brings no code of the old one back.
    give_code(&mut memory, 1, "public", START);
    let refused = memory.run(&redeem(0, "public", 1), UnixTime(START + 1)).unwrap_err();
    assert_eq!(refused, Refusal::InvalidGrant("code used or withdrawn before"));
    assert!(memory.all::<Grant>().is_empty());
    assert!(memory.run(&redeem(1, "public", 2), UnixTime(START + 1)).is_ok());
}

#[test]
fn r1104_a_code_ends_with_the_access_of_its_person_and_of_its_application() {
    let at = UnixTime(START);
    let mut memory = world();
    give_code(&mut memory, 0, "public", START);
    memory.run(&DisablePerson { person: "ada".into() }, at).unwrap();
    memory.run(&EnablePerson { person: "ada".into() }, at).unwrap();
    assert!(memory.run(&redeem(0, "public", 1), at).is_err(), "disabled in between");
    give_code(&mut memory, 1, "public", START);
    let turn = Turn::EndTokens(id("g_next"));
    memory.run(&TurnApplication { application: id("public"), turn }, at).unwrap();
    assert!(memory.run(&redeem(1, "public", 2), at).is_err(), "its tokens were ended");
    assert!(memory.all::<Grant>().is_empty());
}

#[test]
fn contract_codes_end_by_the_time_of_the_store() {
    let mut memory = world();
    give_code(&mut memory, 0, "public", START);
    // A clock that stepped back gave it an end before its beginning.
    let code = Code {
        digest: code_digest(1),
        expires: UnixTime(0),
        ..memory.all::<Code>().pop().unwrap()
    };
    let grant = GrantCode { code, given: Given::FirstParty, lifetime: 60 };
    let grant = GrantCode { given: Given::Now(consent::shown(&application("public"))), ..grant };
    memory.run(&grant, UnixTime(START)).unwrap();
    assert!(memory.run(&redeem(1, "public", 1), UnixTime(START + 59)).is_ok());
}

#[test]
fn a_person_who_is_held_by_id_is_not_another_whose_login_reads_like_it() {
    let mut memory = world();
    let eve = AddPerson {
        id: id("usr_eve"),
        login: "eve".into(),
        name: None,
        email: None,
        roles: Words::default(),
    };
    let mut eve = memory.run(&eve, UnixTime(START)).unwrap();
    eve.login = Some("usr_ada".into());
    memory.insert(&eve);
    give_code(&mut memory, 1, "server", START);
    let issued = memory.run(&redeem(1, "server", 1), UnixTime(START)).unwrap();
    assert_eq!(&*issued.access.subject, "usr_ada");
}
