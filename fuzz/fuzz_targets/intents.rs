//! Intents in any sequence: what has ended stays so, a code gives one family, a family has one
//! unused refresh token, no scope is gained, and a client that proves nothing writes nothing.
//! Input, one a line: `code APP`, `redeem CODE APP FLAW`, `refresh TOKEN APP SCOPE`, `device APP`,
//! `decide DEVICE ALLOW`, `poll DEVICE APP`, `revoke TOKEN APP`, `person TURN`, `app APP TURN`,
//! `wait SECONDS`; every word but the first is a number.
#![no_main]

use std::sync::Arc;

use gatepost::base::clock::UnixTime;
use gatepost::decide::scope::ScopeSet;
use gatepost::issue::consent;
use gatepost::issue::intent::applications::{Turn, TurnApplication};
use gatepost::issue::intent::client::{Client, Lifetimes, Rules, Scopes};
use gatepost::issue::intent::code::{Given, GrantCode, RedeemCode};
use gatepost::issue::intent::device::{DecideDevice, RedeemDevice, StartDevice};
use gatepost::issue::intent::memory::Memory;
use gatepost::issue::intent::people::{AddPerson, DisablePerson, EnablePerson};
use gatepost::issue::intent::refresh::Refresh;
use gatepost::issue::intent::revoke::RevokeRefresh;
use gatepost::issue::intent::tokens::{Issued, NewRefresh};
use gatepost::issue::intent::{Intent, Refusal};
use gatepost::issue::rows::{
    Application, Code, Device, Grant, Id, Profile, RefreshToken, Sealed, Secret, SecretDigest,
    Words,
};
use libfuzzer_sys::fuzz_target;

const APPS: [&str; 3] = ["public", "server", "other"];
const STEPS_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut world = World::new();
    for line in text.lines().take(STEPS_MAX) {
        let mut words = line.split(' ');
        let act = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let number = |place: usize| numbers.get(place).copied().unwrap_or_default();
        world.step(act, [number(0), number(1), number(2)]);
        world.check();
    }
});

struct World {
    memory: Memory,
    now: u64,
    next: usize,
    ended: Vec<Id>,
    /// Families that each code and each device code gave.
    families: std::collections::HashMap<String, usize>,
}

fn id(text: &str) -> Id {
    Id::from(text)
}

fn digest(text: &str) -> SecretDigest {
    SecretDigest::of_secret(text)
}

fn scopes(bits: u64) -> ScopeSet {
    let all = ["admin", "read", "write", "unknown"];
    let chosen = all.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    let chosen: Vec<_> = chosen.map(|(_, scope)| *scope).collect();
    ScopeSet::parse(&chosen.join(" ")).expect("scope tokens")
}

fn rules() -> Rules {
    let lifetimes = Lifetimes {
        access: 100,
        compat_access: 200,
        refresh: 1_000,
        compat_refresh: 2_000,
        idle: 300,
        grace: 60,
    };
    let known = scopes(0b111);
    Rules { lifetimes, scopes: Arc::new(Scopes { known, ..Scopes::default() }) }
}

fn refresh(number: usize) -> NewRefresh {
    let text = format!("rt{number}");
    NewRefresh { digest: digest(&text), sealed: Sealed(text.into()) }
}

fn app(number: u64) -> &'static str {
    APPS[number as usize % APPS.len()]
}

fn client(number: u64) -> Client {
    let name = app(number);
    // One more number for each: without the secret.
    let proves = number < APPS.len() as u64;
    let secret = (name != "public" && proves).then(|| digest(name));
    Client { id: id(name), secret }
}

fn application(name: &str) -> Application {
    let grants = [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
    ];
    Application {
        id: id(name),
        owner: None,
        name: name.into(),
        site: None,
        confidential: name != "public",
        profile: Profile::Compat,
        redirect_uris: Words::default(),
        grants: grants.into_iter().collect(),
        scopes: (name == "other").then(|| scopes(0b10)),
        first_party: false,
        introspect: false,
        access_lifetime: None,
        plugin: None,
        approved: None,
        generation: id("gen"),
        created: UnixTime(0),
        disabled: None,
        ended: None,
    }
}

impl World {
    fn new() -> Self {
        let mut memory = Memory::default();
        for name in APPS {
            memory.insert(&application(name));
            memory.insert(&Secret {
                id: id(name),
                application: id(name),
                digest: digest(name),
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
            roles: Words::default(),
        };
        memory.run(&ada, UnixTime(0)).expect("a first person");
        let (ended, families) = (Vec::new(), Default::default());
        Self { memory, now: 1_000, next: 0, ended, families }
    }

    fn run<I: Intent>(&mut self, intent: &I) -> Result<I::Answer, Refusal> {
        let acts = self.memory.acts.len();
        let outcome = self.memory.run(intent, UnixTime(self.now));
        if outcome.as_ref().err() == Some(&Refusal::InvalidClient) {
            assert_eq!(self.memory.acts.len(), acts, "{} wrote for no client", I::NAME);
        }
        outcome
    }

    fn step(&mut self, act: &str, [one, two, three]: [u64; 3]) {
        self.next += 1;
        let next = self.next;
        let grant = id(&format!("g{next}"));
        match act {
            "wait" => self.now += one % 3_000,
            "code" => self.code(one),
            "redeem" => {
                let name = format!("code{one}");
                let intent = RedeemCode {
                    client: client(two),
                    code: digest(&name),
                    redirect_uri: (three & 1 == 1).then(|| "https://evil.example.com".into()),
                    verifier: (three & 2 == 2).then(|| "x".repeat(43).as_str().into()),
                    grant,
                    refresh: refresh(next),
                    rules: rules(),
                };
                let outcome = self.run(&intent);
                self.gave(name, outcome);
            }
            "refresh" => {
                let intent = Refresh {
                    client: client(two),
                    token: refresh(one as usize).digest,
                    successor: refresh(next),
                    scope: (three > 0).then(|| scopes(three)),
                    rules: rules(),
                };
                if let Ok(issued) = self.run(&intent) {
                    self.issued(&issued);
                }
            }
            "revoke" => {
                let token = refresh(one as usize).digest;
                let _ = self.run(&RevokeRefresh { client: client(two), token });
            }
            "person" if one % 2 == 0 => drop(self.run(&DisablePerson { person: "ada".into() })),
            "person" => drop(self.run(&EnablePerson { person: "ada".into() })),
            "app" => {
                let turns = [Turn::Disable, Turn::Enable, Turn::EndTokens(grant)];
                let turn = turns[two as usize % turns.len()].clone();
                let _ = self.run(&TurnApplication { application: id(app(one)), turn });
            }
            _ => self.device(act, [one, two, three], grant),
        }
    }

    fn code(&mut self, to: u64) {
        let name = format!("code{}", self.memory.all::<Code>().len());
        let code = Code {
            digest: digest(&name),
            application: id(app(to)),
            person: id("usr_ada"),
            redirect_uri: None,
            challenge: None,
            scopes: scopes(0b11),
            auth_time: UnixTime(self.now),
            expires: UnixTime(self.now + 60),
            grant_id: None,
            ended: None,
        };
        let given = Given::Now(consent::shown(&application(app(to))));
        let _ = self.run(&GrantCode { code, given, lifetime: 60 });
    }

    fn device(&mut self, act: &str, [one, two, _]: [u64; 3], grant: Id) {
        let name = format!("device{one}");
        match act {
            "device" => {
                let number = self.memory.all::<Device>().len();
                let _ = self.run(&StartDevice {
                    client: client(one),
                    code: digest(&format!("device{number}")),
                    user_code: digest(&format!("user{number}")),
                    scope: None,
                    lifetime: 600,
                    interval: 5,
                    address: None,
                    rules: rules(),
                });
            }
            "decide" => {
                let auth_time = UnixTime(self.now);
                let allow = (two > 0).then(|| scopes(two));
                let user_code = digest(&format!("user{one}"));
                let person = id("usr_ada");
                let _ = self.run(&DecideDevice { user_code, person, auth_time, allow });
            }
            "poll" => {
                let refresh = refresh(self.next);
                let (client, code, rules) = (client(two), digest(&name), rules());
                let outcome = self.run(&RedeemDevice { client, code, grant, refresh, rules });
                self.gave(name, outcome);
            }
            _ => {}
        }
    }

    /// A code or a device code has one success.
    fn gave(&mut self, name: String, outcome: Result<Issued, Refusal>) {
        let Ok(issued) = outcome else { return };
        self.issued(&issued);
        let count = self.families.entry(name).or_default();
        *count += 1;
        assert_eq!(*count, 1, "a second family");
    }

    fn issued(&self, issued: &Issued) {
        let access = &issued.access;
        let grants = self.memory.all::<Grant>();
        let grant = grants.iter().find(|grant| grant.id == access.grant).expect("a grant");
        let within = |all: &ScopeSet| access.scopes.iter().all(|scope| all.contains(scope));
        assert!(grant.ended.is_none() && within(&grant.scopes));
        assert!(grant.live_until.0 >= self.now + access.lifetime, "its end outlives the token");
        let allowed = application(grant.application.as_str()).scopes;
        assert!(allowed.is_none_or(|allowed| within(&allowed)));
    }

    fn check(&mut self) {
        let grants = self.memory.all::<Grant>();
        let over = |one: &Id| grants.iter().any(|grant| grant.id == *one && grant.ended.is_some());
        assert!(self.ended.iter().all(over), "an ended grant is back");
        let ended = grants.iter().filter(|grant| grant.ended.is_some());
        self.ended = ended.map(|grant| grant.id.clone()).collect();
        let tokens = self.memory.all::<RefreshToken>();
        for grant in &grants {
            let of = tokens.iter().filter(|token| token.grant_id == grant.id);
            let unused = of.filter(|token| token.used.is_none()).count();
            assert_eq!(unused, 1, "live descendants");
        }
    }
}
