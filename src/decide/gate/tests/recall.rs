//! Tokens that were verified before: a gate that remembers says what one that does not would say.

use proptest::prelude::*;

use super::*;

const KEYS: [&[u8]; 2] = [b"first-key-0123456789abcdef012345", b"other-key-0123456789abcdef012345"];

/// Everything an operator may change while tokens are remembered.
#[derive(Clone, Debug)]
struct Setup {
    /// The presence of the first and of the second key in the set.
    has_key: [bool; 2],
    audience: &'static str,
    cap: &'static str,
    demands: &'static str,
    leeway: &'static str,
    /// Something that has nothing to do with tokens.
    realm: &'static str,
}

const SETUP: Setup = Setup {
    has_key: [true, true],
    audience: "api",
    cap: "[read, write]",
    demands: "read",
    leeway: "0s",
    realm: "one",
};

/// A gate that is reloaded, and a clock.
struct World {
    retained: Retained,
    last_good: LastGood,
    snapshot: Snapshot,
    unix: u64,
    monotonic: u64,
}

impl World {
    fn new(token_cache: u64) -> Self {
        let retained = Retained::new(1024, token_cache, [1, 2]);
        let mut last_good = LastGood::default();
        let snapshot = compile(&SETUP, &retained, &mut last_good);
        let mut world = Self { retained, last_good, snapshot, unix: NOW, monotonic: 1 << 40 };
        world.reload(&SETUP);
        world
    }

    fn reload(&mut self, setup: &Setup) {
        self.snapshot = compile(setup, &self.retained, &mut self.last_good);
        self.retained.issuers = Arc::clone(&self.snapshot.gate.issuers);
    }

    fn wait(&mut self, seconds: u64) {
        self.unix += seconds;
        self.monotonic += seconds * 1_000_000_000;
    }

    fn ask(&self, token: &str) -> Decision {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("authorization"),
            format!("Bearer {token}").parse().unwrap(),
        )]);
        let head = RequestHead {
            method: &Method::GET,
            host: Some(b"api.example"),
            path: b"/",
            headers: &headers,
            peer: Peer::Unix,
            certificate: None,
        };
        let now = Now { unix: UnixTime(self.unix), monotonic: Monotonic(self.monotonic) };
        self.snapshot.gate.admit(&head, now, Charging::Charge)
    }

    /// The verdict, and whether the token was cached.
    fn say(&self, token: &str) -> (String, bool) {
        let decision = self.ask(token);
        (say(&decision), decision.evidence.recalled == Some(true))
    }
}

fn compile(setup: &Setup, retained: &Retained, last_good: &mut LastGood) -> Snapshot {
    let Setup { has_key, audience, cap, demands, leeway, realm } = setup;
    let keys: Vec<_> = KEYS
        .iter()
        .enumerate()
        .filter(|(at, _)| has_key[*at])
        .map(|(at, key)| json!({"kty": "oct", "kid": kid(at), "k": URL_SAFE_NO_PAD.encode(key)}))
        .chain([json!({"kty": "oct", "kid": "spare", "k": URL_SAFE_NO_PAD.encode(SECRET)})])
        .collect();
    let text = format!(
        "
listeners: [{{ address: 127.0.0.1:8080 }}]
upstreams: {{ app: {{ url: http://127.0.0.1:3000 }} }}
realm: {realm}
issuers:
  - {{ issuer: https://login.example.com, audiences: [{audience}], algorithms: [HS256],
      keys: {{ file: jwks.json }}, scopes: {cap}, leeway: {leeway} }}
routes: [{{ path: /**, upstream: app, access: {{ scopes: [{demands}] }} }}]
"
    );
    let files = Files(HashMap::from([(
        PathBuf::from("/etc/jwks.json"),
        json!({ "keys": keys }).to_string().into_bytes(),
    )]));
    let config = Config::parse(Path::new("/etc/g.yaml"), &text, &|_| None)
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let (materials, mistakes) = files::load(&config.dynamic, last_good, &files);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    Snapshot::compile(Arc::new(config.dynamic), Arc::new(materials.unwrap()), retained, 1)
}

fn kid(at: usize) -> &'static str {
    ["first", "other"][at]
}

/// A token of one of the keys.
fn issue(at: usize, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "kid": kid(at)}).to_string();
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEYS[at]), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn good() -> String {
    issue(0, &claims())
}

const SIZE: u64 = 1 << 20;

#[test]
fn r802_a_known_token_is_asked_again_for_all_that_may_have_changed() {
    let mut world = World::new(SIZE);
    let token = good();
    assert_eq!(world.say(&token), ("ada".into(), false));
    assert_eq!(world.say(&token), ("ada".into(), true));
    world.wait(299);
    assert_eq!(world.say(&token), ("ada".into(), true));
    world.wait(1);
    assert_eq!(world.say(&token), ("token_expired".into(), true));
    let early = with_claim("nbf", world.unix + 100);
    assert_eq!(world.say(&early), ("token_not_yet_valid".into(), false));
}

fn with_claim(name: &str, value: impl Into<Value>) -> String {
    let mut claims = claims();
    claims["exp"] = (NOW + 10_000).into();
    claims[name] = value.into();
    issue(0, &claims)
}

#[test]
fn r805_a_key_that_is_removed_takes_its_tokens_along_at_once() {
    let mut world = World::new(SIZE);
    let (first, other) = (good(), issue(1, &claims()));
    for token in [&first, &other, &first, &other] {
        assert_eq!(world.say(token).0, "ada");
    }
    world.reload(&Setup { has_key: [false, true], ..SETUP });
    assert_eq!(world.say(&first), ("token_key_unknown".into(), false));
    assert_eq!(world.say(&other), ("ada".into(), false));
    world.reload(&SETUP);
    assert_eq!(world.say(&first), ("ada".into(), false));
}

#[test]
fn r807_a_rule_that_is_tightened_holds_for_known_tokens() {
    for (tightened, reason) in [
        (Setup { audience: "another", ..SETUP }, "token_audience_wrong"),
        (Setup { cap: "[write]", ..SETUP }, "scope_missing"),
        (Setup { demands: "write", ..SETUP }, "scope_missing"),
    ] {
        let mut world = World::new(SIZE);
        let token = good();
        assert_eq!(world.say(&token), ("ada".into(), false));
        assert_eq!(world.say(&token), ("ada".into(), true));
        world.reload(&tightened);
        assert_eq!(world.say(&token).0, reason, "{tightened:?}");
        world.reload(&SETUP);
        assert_eq!(world.say(&token).0, "ada", "{tightened:?}");
    }
}

#[test]
fn r807_a_reload_that_has_nothing_to_do_with_tokens_forgets_none() {
    let mut world = World::new(SIZE);
    let token = good();
    assert_eq!(world.say(&token), ("ada".into(), false));
    world.reload(&Setup { realm: "another", demands: "write", ..SETUP });
    assert_eq!(world.say(&token), ("scope_missing".into(), true));
}

#[test]
fn r803_a_bad_signature_is_remembered_for_5_s_under_the_same_issuers() {
    let mut world = World::new(SIZE);
    let (head, signature) = good().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let forged = format!("{head}.{}", "A".repeat(signature));
    let remembers = |world: &World| {
        let gate = &world.snapshot.gate;
        gate.tokens
            .find_bad(&forged, None, gate.issuers.epoch(), Monotonic(world.monotonic))
            .is_some()
    };
    assert!(!remembers(&world));
    for _ in 0..3 {
        assert_eq!(world.say(&forged), ("token_signature_bad".into(), false));
    }
    assert!(remembers(&world));
    world.reload(&Setup { realm: "another", ..SETUP });
    assert!(remembers(&world));
    world.reload(&Setup { has_key: [true, false], ..SETUP });
    assert!(!remembers(&world));
    assert_eq!(world.say(&forged), ("token_signature_bad".into(), false));
    world.wait(4);
    assert!(remembers(&world));
    world.wait(1);
    assert!(!remembers(&world));
}

#[test]
fn r808_tokens_that_differ_in_one_byte_are_different_tokens() {
    let world = World::new(SIZE);
    let token = good();
    assert_eq!(world.say(&token), ("ada".into(), false));
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        assert_ne!(world.say(&other), ("ada".into(), true), "byte {at}");
    }
    assert_eq!(world.say(&token), ("ada".into(), true));
}

/// One thing that happens to both gates.
#[derive(Clone, Debug)]
enum Event {
    Present(usize),
    Wait(u64),
    Reload(Setup),
}

fn event() -> impl Strategy<Value = Event> {
    let setup = (
        any::<[bool; 2]>(),
        prop_oneof![Just("api"), Just("api, more"), Just("another")],
        prop_oneof![Just("[read, write]"), Just("[read]"), Just("[]")],
        prop_oneof![Just("read"), Just("write")],
        prop_oneof![Just("0s"), Just("60s")],
        prop_oneof![Just("one"), Just("two")],
    );
    let setup = setup.prop_map(|(has_key, audience, cap, demands, leeway, realm)| {
        Event::Reload(Setup { has_key, audience, cap, demands, leeway, realm })
    });
    prop_oneof![
        6 => (0..TOKENS).prop_map(Event::Present),
        1 => prop_oneof![Just(1), Just(30), Just(100)].prop_map(Event::Wait),
        1 => setup,
    ]
}

const TOKENS: usize = 12;

/// Good ones, short-lived ones, ones for later, of both keys, and forged ones.
fn token_of(at: usize) -> String {
    let mut claims = claims();
    claims["sub"] = format!("s-{at}").into();
    claims["scope"] = ["read", "write", "read write"][at % 3].into();
    claims["exp"] = (NOW + [50, 120, 5_000][(at / 2) % 3]).into();
    if at.is_multiple_of(5) {
        claims["nbf"] = (NOW + 70).into();
    }
    if at % 4 == 3 {
        claims["aud"] = json!(["more", "another"]);
    }
    let token = issue(at % 2, &claims);
    match at {
        10.. => format!("{}AAAA", &token[..token.len() - 4]),
        _ => token,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Over any sequence of presenting, waiting, rotating and tightening.
    #[test]
    fn r802_a_gate_that_remembers_decides_as_one_that_does_not(
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let tokens: Vec<_> = (0..TOKENS).map(token_of).collect();
        let (mut with, mut without) = (World::new(SIZE), World::new(0));
        for event in events {
            match &event {
                Event::Present(at) => {
                    let token = &tokens[*at];
                    prop_assert_eq!(with.say(token).0, without.say(token).0, "{:?}", event);
                }
                Event::Wait(seconds) => {
                    with.wait(*seconds);
                    without.wait(*seconds);
                }
                Event::Reload(setup) => {
                    with.reload(setup);
                    without.reload(setup);
                }
            }
        }
    }
}
