//! The whole decision about any request: no request passes a protected route without a credential that
//! the fixture issued, and what was verified before changes no verdict. Input, one a line: `METHOD
//! path`; `@host`, `@peer`, `@answer` (of the introspection endpoint); `@token SIGNER|HEADER|PAYLOAD`;
//! and `name: value`, in which `{0}` is the first token and `{own}` a key of the fixture.
#![no_main]

#[path = "gate/fixture.rs"]
mod fixture;

use std::sync::{Arc, LazyLock};

use fixture::{BURSTS, FIXTURE, Good, NOW, OPAQUE, said_scopes};
use gatepost::base::clock::{Monotonic, Now, UnixTime};
use gatepost::config::snapshot::Snapshot;
use gatepost::decide::gate::{Charging, Decision, Introspected, Permit, RequestHead, Verdict};
use gatepost::decide::policy::{Access, Preflight, Requirement, normalize_host};
use gatepost::decide::principal::Principal;
use gatepost::decide::request::address::Peer;
use gatepost::decide::request::credential::{CredentialKind, is_jwt_shaped};
use gatepost::decide::request::path::CanonicalPath;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Remembers nothing, and is only ever asked without charging.
static FORGETFUL: LazyLock<Snapshot> = LazyLock::new(|| FIXTURE.start(0).0);
static RELOADED: LazyLock<Snapshot> = LazyLock::new(|| FIXTURE.reload(None));
/// A day later every usual token has expired.
const LATER: u64 = 86_400;

fuzz_target!(|data: &[u8]| {
    let Some(request) = Request::read(data) else { return };
    let (warm, retained) = FIXTURE.start(1 << 16);
    let fresh = request.decide(&FORGETFUL, 0);
    // Twice, so that the second finds what the first has kept.
    assert_eq!(fresh, request.decide(&warm, 0), "a first time");
    assert_eq!(fresh, request.decide(&warm, 0), "what was verified before");
    let reloaded = FIXTURE.reload(Some((&warm, &retained)));
    assert_eq!(request.decide(&RELOADED, 0), request.decide(&reloaded, 0), "after a reload");
    assert_eq!(request.decide(&FORGETFUL, LATER), request.decide(&warm, LATER), "a day later");
    request.spends(&fresh);
});

struct Request {
    method: Method,
    path: String,
    host: Option<Vec<u8>>,
    peer: Peer,
    headers: HeaderMap,
    answer: Option<Vec<u8>>,
}

impl Request {
    fn read(data: &[u8]) -> Option<Self> {
        let mut lines = data.split(|byte| *byte == b'\n');
        let line = std::str::from_utf8(lines.next()?).ok()?;
        let (method, path) = line.split_once(' ')?;
        let mut request = Self {
            method: method.parse().ok()?,
            path: path.to_owned(),
            host: None,
            peer: Peer::Ip([203, 0, 113, 1].into()),
            headers: HeaderMap::new(),
            answer: None,
        };
        let mut tokens = Vec::new();
        for line in lines.take(32) {
            match line.strip_prefix(b"@") {
                Some(order) => request.order(order, &mut tokens),
                None => request.field(line, &tokens),
            }
        }
        Some(request)
    }

    fn order(&mut self, line: &[u8], tokens: &mut Vec<String>) {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (word, rest) = (&line[..end], line.get(end + 1..).unwrap_or_default());
        let text = std::str::from_utf8(rest).ok();
        match word {
            b"host" => self.host = Some(rest.to_vec()),
            b"peer" => self.peer = text.and_then(|t| t.parse().ok()).map_or(Peer::Unix, Peer::Ip),
            b"answer" => self.answer = Some(rest.to_vec()),
            b"token" => {
                let mut parts = text.unwrap_or("").splitn(3, '|');
                let mut part = || parts.next().unwrap_or("");
                let (signer, header, payload) = (part(), part(), part());
                tokens.push(FIXTURE.token(signer, header, payload));
            }
            _ => {}
        }
    }

    fn field(&mut self, line: &[u8], tokens: &[String]) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { return };
        let mut value = value.to_vec();
        if let Ok(text) = std::str::from_utf8(&value) {
            let mut text = text.to_owned();
            for (at, token) in tokens.iter().enumerate() {
                text = text.replace(&format!("{{{at}}}"), token);
            }
            for name in ["own", "foreign", "peppered", "late", "off"] {
                text = text.replace(&format!("{{{name}}}"), FIXTURE.key(name).unwrap_or(""));
            }
            value = text.into_bytes();
        }
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            self.headers.append(name, value);
        }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: self.host.as_deref(),
            path: self.path.as_bytes(),
            headers: &self.headers,
            peer: self.peer,
            certificate: None,
        }
    }

    /// The verdict in words, after it was found to be a justified one. Charges nothing, but for
    /// what follows an answer about an opaque token.
    fn decide(&self, snapshot: &Snapshot, later: u64) -> String {
        let now = at(later);
        let gate = &snapshot.gate;
        let Decision { verdict, evidence } = gate.admit(&self.head(), now, Charging::Peek);
        let Verdict::Need(need) = verdict else {
            let decision = Decision { verdict, evidence };
            self.justified(snapshot, &decision, later);
            return say(&decision.verdict);
        };
        assert_eq!(&**need.issuer(), OPAQUE);
        let token = need.token().expose();
        assert!(!is_jwt_shaped(token), "a JWT speaks for itself");
        assert_eq!(self.bearer(), Some(&**token));
        // What follows an answer is charged: not in a gate that other inputs are decided by.
        let own = self.own(snapshot);
        let gate = &own.as_ref().unwrap_or(snapshot).gate;
        let answer = self.answer.as_deref().map_or(Introspected::Failed, Introspected::Answer);
        let decision = gate.resume(&self.head(), now, need, evidence, answer);
        self.justified(snapshot, &decision, later);
        say(&decision.verdict)
    }

    fn own(&self, snapshot: &Snapshot) -> Option<Snapshot> {
        if std::ptr::eq(snapshot, &*FORGETFUL) {
            Some(FIXTURE.start(0).0)
        } else {
            std::ptr::eq(snapshot, &*RELOADED).then(|| FIXTURE.reload(None))
        }
    }

    fn justified(&self, snapshot: &Snapshot, decision: &Decision, later: u64) {
        match &decision.verdict {
            Verdict::Permit(permit) => {
                self.same_route(snapshot, permit);
                self.permitted(permit, later);
            }
            Verdict::Observe(permit, _) => {
                assert!(permit.route().insecure_observe && permit.principal().is_none());
                self.same_route(snapshot, permit);
            }
            Verdict::Preflight(_) => {
                assert_eq!(self.method, Method::OPTIONS);
                assert!(self.headers.contains_key("origin"), "an answer to no browser");
            }
            Verdict::Reject(rejection) => {
                assert!(!rejection.reason().as_str().is_empty());
            }
            Verdict::Need(need) => panic!("asked twice: {need:?}"),
        }
    }

    /// What is forwarded falls under the route that was decided on.
    fn same_route(&self, snapshot: &Snapshot, permit: &Permit) {
        let path = permit.rewritten_path().unwrap_or(&self.path);
        let path = CanonicalPath::parse(path.as_bytes()).expect("a path to forward");
        assert_eq!(Some(path.as_str()), permit.rewritten_path().or(Some(&self.path)));
        let host = self.host.as_deref().map(|host| normalize_host(host).expect("a host"));
        let methods = [Some(self.method.clone()), self.asked_method()];
        let found = methods.into_iter().flatten().any(|method| {
            let found = snapshot.gate.routes.find(host.as_deref(), &method, &path);
            found.is_ok_and(|route| Arc::ptr_eq(route, permit.route()))
        });
        assert!(found, "{} is another route's", path.as_str());
    }

    fn asked_method(&self) -> Option<Method> {
        self.headers.get("access-control-request-method")?.to_str().ok()?.trim().parse().ok()
    }

    fn permitted(&self, permit: &Permit, later: u64) {
        let route = permit.route();
        let is_preflight = self.method == Method::OPTIONS && self.asked_method().is_some();
        if is_preflight && route.preflight == Preflight::Pass && permit.principal().is_none() {
            return;
        }
        let presents =
            ["authorization", "x-api-key"].iter().any(|name| self.headers.contains_key(*name));
        match (&route.access, permit.principal()) {
            (Access::Anonymous, None) => {}
            (Access::Optional(_), None) => assert!(!presents, "a bad credential is not none"),
            (Access::Optional(demand) | Access::Authenticated(demand), Some(who)) => {
                self.vouched(demand, who, later);
            }
            (access, who) => panic!("{who:?} under {access:?}"),
        }
    }

    fn single(&self, name: &str) -> Option<&str> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(values.len() <= 1, "{name} twice");
        Some(values.first()?.to_str().expect("a credential is text").trim_ascii())
    }

    fn scheme(&self, wanted: &str) -> Option<&str> {
        let (scheme, rest) = self.single("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim_ascii())
    }

    fn bearer(&self) -> Option<&str> {
        self.scheme("bearer")
    }

    /// Every presented credential is valid, and the caller is its subject and may do what the route
    /// demands.
    fn vouched(&self, demand: &Requirement, who: &Principal, later: u64) {
        let keys = [self.single("x-api-key"), self.scheme("apikey")];
        let keys: Vec<&str> = keys.into_iter().flatten().collect();
        assert!(keys.len() <= 1, "two keys");
        assert!(
            self.single("authorization").is_none()
                || self.bearer().is_some()
                || self.scheme("apikey").is_some()
        );
        let key = keys.first().map(|key| FIXTURE.good_key(key).expect("a key of the fixture"));
        let token = self.bearer().map(|token| {
            let good = if is_jwt_shaped(token) {
                FIXTURE.good_token(token, NOW + later)
            } else {
                self.answered(NOW + later)
            };
            good.expect("a token of the fixture")
        });
        for (good, kind) in [(&token, CredentialKind::Jwt), (&key, CredentialKind::ApiKey)] {
            assert!(good.is_none() || demand.credentials.contains(&kind), "{kind:?} is not taken");
        }
        let good = token.or(key).expect("a credential");
        assert_eq!((who.subject(), who.issuer()), (&*good.subject, &*good.issuer));
        let has = |scope: &str| good.scopes.iter().any(|own| own == scope);
        assert!(who.scopes().iter().all(has), "{} was not granted", who.scopes());
        assert!(demand.scopes.iter().all(has));
        assert!(demand.any_scope.is_empty() || demand.any_scope.iter().any(has));
        let is_taken = |all: &Vec<Box<str>>| all.iter().any(|issuer| **issuer == *good.issuer);
        assert!(demand.issuers.as_ref().is_none_or(is_taken));
        for (claim, values) in &demand.claims {
            let is_one = |value: &Value| values.iter().any(|one| value == &**one);
            let claim = &good.claims[&**claim];
            assert!(is_one(claim) || claim.as_array().is_some_and(|all| all.iter().any(is_one)));
        }
    }

    /// What the introspection endpoint said, read leniently.
    fn answered(&self, now: u64) -> Option<Good> {
        let answer: Value = serde_json::from_slice(self.answer.as_deref()?).ok()?;
        let is_ours = |aud: &Value| {
            aud == "api" || aud.as_array().is_some_and(|all| all.contains(&"api".into()))
        };
        let is_good = answer["active"] == true
            && answer.get("iss").is_none_or(|iss| iss == OPAQUE)
            && is_ours(&answer["aud"])
            && answer
                .get("exp")
                .is_none_or(|exp| exp.as_f64().is_some_and(|exp| exp + 30.0 > now as f64));
        is_good.then(|| Good {
            subject: answer["sub"].as_str().unwrap_or("").to_owned(),
            issuer: OPAQUE.to_owned(),
            scopes: said_scopes(&answer, OPAQUE),
            claims: answer,
        })
    }

    /// The same request over and over: it is let in as often as its limits say.
    fn spends(&self, fresh: &str) {
        let (snapshot, _) = FIXTURE.start(0);
        let mut admitted = 0;
        for _ in 0..5 {
            let decision = snapshot.gate.admit(&self.head(), at(0), Charging::Charge);
            let verdict = match decision.verdict {
                Verdict::Need(_) => return,
                verdict => verdict,
            };
            let (Verdict::Permit(permit) | Verdict::Observe(permit, _)) = &verdict else {
                let said = say(&verdict);
                let spent = ["rate_limited", "failed_credentials_spent"]
                    .iter()
                    .any(|word| said.contains(word));
                assert!(spent || said == fresh, "{said} and not {fresh}");
                continue;
            };
            assert!(matches!(verdict, Verdict::Observe(..)) || say(&verdict) == fresh);
            admitted += 1;
            for (name, burst) in BURSTS {
                let limits = permit.route().limits.iter();
                let is_limited = limits.filter(|policy| *policy.name == *name).count() == 1;
                assert!(!is_limited || admitted <= burst, "{admitted} under {name}");
            }
        }
    }
}

fn at(later: u64) -> Now {
    let monotonic = Monotonic((1 << 40) + later * 1_000_000_000);
    Now { unix: UnixTime(NOW + later), monotonic }
}

fn say(verdict: &Verdict) -> String {
    let route = |permit: &Permit| format!("{} {:?}", permit.route().name, permit.rewritten_path());
    match verdict {
        Verdict::Permit(permit) => {
            let who =
                permit.principal().map(|who| (who.subject().to_owned(), who.scopes().to_string()));
            format!("permit {} {who:?}", route(permit))
        }
        Verdict::Observe(permit, rejection) => {
            format!("observe {} {}", route(permit), rejection.reason().as_str())
        }
        Verdict::Reject(rejection) => format!("{} {rejection}", rejection.reason().as_str()),
        Verdict::Preflight(fields) => format!("preflight {fields:?}"),
        Verdict::Need(need) => format!("need {}", need.issuer()),
    }
}
