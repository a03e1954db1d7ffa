//! Introspection of opaque tokens over a real socket: coalesced queries, failures of the endpoint.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{
    KEY, Recorded, Recorder, Reply, Response, Sandbox, Sidecar, bearer, claims, eventually, now,
    signer, standard,
};

const OWN_KEY: (&str, &str) = ("X-API-Key", KEY);
const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA";

/// What the endpoint says to each question.
fn endpoint(answer: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Recorder {
    Recorder::answering(answer)
}

fn json(body: &str) -> Reply {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
    Reply::Bytes(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
}

fn active() -> String {
    format!(
        r#"{{"active":true,"sub":"eve","aud":"orders-api","scope":"read","client_id":"shop","jti":"o-1","exp":{}}}"#,
        now() + 300
    )
}

/// A sidecar whose second issuer is asked at `endpoint`; `more` are settings of its section.
fn asking(endpoint: &str, more: &str) -> (Recorder, Sidecar) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let config = with_opaque(&sandbox, &config, endpoint, more);
    let sidecar = sandbox
        .start(&format!("{config}routes: [{{ path: /**, access: {{ scopes: [read] }} }}]\n"));
    (upstream, sidecar)
}

/// A configuration with a second issuer, which is asked at `endpoint`.
fn with_opaque(sandbox: &Sandbox, config: &str, endpoint: &str, more: &str) -> String {
    sandbox.write("introspection.secret", "s3cret &%\n");
    let issuer = format!(
        "\x20 - issuer: https://opaque.example.com\n\
         \x20   name: opaque\n\
         \x20   audiences: [orders-api]\n\
         \x20   introspection: {{ url: \"{endpoint}/introspect\", client_id: \"gate post\", \
         client_secret_file: introspection.secret{more} }}\n"
    );
    config.replace("api_keys:", &format!("{issuer}api_keys:"))
}

fn present(sidecar: &Sidecar, token: &str) -> Response {
    sidecar.get("/x", &[("Authorization", &bearer(token))])
}

#[track_caller]
fn refused(sidecar: &Sidecar, token: &str, status: u16, reason: &str) {
    let response = present(sidecar, token);
    assert_eq!(sidecar.why(&response)["reason"], reason);
    assert_eq!(response.status, status, "{reason}");
    assert_eq!(response.field("retry-after").is_some(), status == 503, "{reason}");
}

#[test]
fn contract_introspection_an_opaque_token_is_who_its_issuer_says() {
    let asked = endpoint(|_| json(&active()));
    let (upstream, sidecar) = asking(asked.url(), "");
    for _ in 0..3 {
        assert_eq!(present(&sidecar, TOKEN).status, 200);
    }
    let questions = asked.requests();
    assert_eq!(questions.len(), 1, "and is known then");
    assert_eq!(questions[0].request_line(), "POST /introspect HTTP/1.1");
    // "gate+post:s3cret+%26%25", by hand (RFC 6749 section 2.3.1).
    let basic = "Basic Z2F0ZStwb3N0OnMzY3JldCslMjYlMjU=";
    assert_eq!(questions[0].field("authorization"), Some(basic));
    let form = String::from_utf8(questions[0].body.clone()).unwrap();
    assert_eq!(form, format!("token={TOKEN}&token_type_hint=access_token"));
    let seen = upstream.requests();
    assert_eq!(seen[0].field("x-auth-subject"), Some("eve"));
    assert_eq!(seen[0].field("x-auth-issuer"), Some("https://opaque.example.com"));
    assert_eq!(seen[0].field("x-auth-scopes"), Some("read"));
    assert_eq!(seen[0].field("x-auth-client-id"), Some("shop"));
    assert_eq!(seen[0].field("x-auth-credential-id"), Some("o-1"));
    assert_eq!(seen[0].field("authorization"), None);
    let answered = "gatepost_introspections_total{issuer=\"opaque\",result=\"answered\"}";
    assert!((sidecar.metric(answered) - 1.0).abs() < 0.1, "{}", sidecar.metrics());
    // JWTs and keys are none of its business.
    assert_eq!(present(&sidecar, &signer().sign("rsa", "RS256", &claims())).status, 200);
    assert_eq!(sidecar.get("/x", &[OWN_KEY]).status, 200);
    assert_eq!(asked.requests().len(), 1);
    assert!(!sidecar.stderr().contains(TOKEN) && !sidecar.stdout().contains(TOKEN));
}

#[test]
fn contract_introspection_a_client_may_say_who_it_is_in_the_form() {
    let asked = endpoint(|_| json(&active()));
    let (_upstream, sidecar) = asking(asked.url(), ", auth: post");
    assert_eq!(present(&sidecar, TOKEN).status, 200);
    let question = &asked.requests()[0];
    assert_eq!(question.field("authorization"), None);
    let form = String::from_utf8(question.body.clone()).unwrap();
    assert!(form.ends_with("&client_id=gate+post&client_secret=s3cret+%26%25"), "{form}");
}

#[test]
fn contract_introspection_an_answer_without_sub_is_refused_unless_it_may_be_the_client() {
    let without_sub = || json(&active().replace(r#""sub":"eve","#, ""));
    let asked = endpoint(move |_| without_sub());
    let (_upstream, sidecar) = asking(asked.url(), "");
    refused(&sidecar, TOKEN, 401, "token_claim_bad");
    let (upstream, sidecar) = asking(asked.url(), ", subject_from: client_id");
    assert_eq!(present(&sidecar, TOKEN).status, 200);
    assert_eq!(upstream.last().field("x-auth-subject"), Some("shop"));
    assert_eq!(upstream.last().field("x-auth-client-id"), Some("shop"));
}

#[test]
fn r803_a_no_is_a_no_and_is_remembered_for_a_moment() {
    let asked = endpoint(|_| json(r#"{"active":false}"#));
    let (upstream, sidecar) = asking(asked.url(), "");
    for _ in 0..20 {
        refused(&sidecar, TOKEN, 401, "token_inactive");
    }
    assert!(asked.requests().len() <= 2, "5 s at most");
    assert!(upstream.requests().is_empty());
}

#[test]
fn r801_requests_with_one_token_share_one_question() {
    let (answer, answers) = mpsc::channel::<Vec<u8>>();
    let answers = Mutex::new(Some(answers));
    let asked = endpoint(move |_| match answers.lock().unwrap().take() {
        Some(answers) => Reply::Pieces(answers),
        None => Reply::Close,
    });
    let (_upstream, sidecar) = asking(asked.url(), ", timeout: 30s");
    let sidecar = Arc::new(sidecar);
    let callers: Vec<_> = (0..30)
        .map(|_| {
            let sidecar = Arc::clone(&sidecar);
            thread::spawn(move || present(&sidecar, TOKEN).status)
        })
        .collect();
    eventually("somebody to ask", || (!asked.requests().is_empty()).then_some(()));
    let open = || sidecar.metric("gatepost_connections") > 29.5;
    eventually("everybody to wait", || open().then_some(()));
    let body = active();
    let length = body.len();
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    answer.send(text.into_bytes()).unwrap();
    for caller in callers {
        assert_eq!(caller.join().unwrap(), 200);
    }
    assert_eq!(asked.requests().len(), 1);
}

#[test]
fn r1005_a_flood_of_made_up_tokens_leaves_good_callers_their_turn() {
    let known = "a-token-that-was-good-before";
    let asked = endpoint(|question| {
        let form = String::from_utf8_lossy(&question.body).into_owned();
        if form.contains("made-up") { Reply::Hang } else { json(&active()) }
    });
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let config = with_opaque(&sandbox, &config, asked.url(), ", timeout: 30s, cache: 0s");
    let config = format!("trusted_proxies: [unix]\n{config}");
    let sidecar = sandbox
        .start(&format!("{config}routes: [{{ path: /**, access: {{ scopes: [read] }} }}]\n"));
    let from = |address: &str, token: &str| {
        let fields = [("Authorization", &*bearer(token)), ("X-Forwarded-For", address)];
        sidecar.get("/x", &fields)
    };
    assert_eq!(from("203.0.113.9", known).status, 200);
    // More than an issuer is asked at a time, each on a connection of its own, and all from one address.
    let mut flood = Vec::new();
    for number in 0..80 {
        let mut caller = sidecar.connect();
        let token = bearer(&format!("made-up-{number}"));
        let fields =
            [("Host", "a"), ("Authorization", &*token), ("X-Forwarded-For", "203.0.113.1")];
        caller.send(crate::support::head("GET", "/x", &fields));
        flood.push(caller);
    }
    let busy = "gatepost_introspections_total{issuer=\"opaque\",result=\"busy\"}";
    eventually("the flood to meet its bound", || (sidecar.metric(busy) > 55.5).then_some(()));
    eventually("its share to be asked about", || (asked.requests().len() == 1 + 24).then_some(()));
    assert_eq!(from("203.0.113.2", "somebody-elses-token").status, 200);
    // A token that was good before has its turn wherever it comes from.
    assert_eq!(from("203.0.113.1", known).status, 200);
    assert_eq!(from("203.0.113.1", "another-token").status, 503);
}

/// A failure of the endpoint, by its answer.
type BadDay = (&'static str, fn() -> Reply);

#[test]
fn no_bad_day_of_an_endpoint_lets_anybody_in() {
    let page = || Reply::text("<html>maintenance</html>");
    let error = || Reply::Bytes(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec());
    let refuses_us = || Reply::Bytes(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_vec());
    let redirect = || {
        Reply::Bytes(
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        )
    };
    let long = || json(&format!(r#"{{"active":true,"pad":"{}"}}"#, "x".repeat(10 << 20)));
    let days: [BadDay; 9] = [
        ("hangs", || Reply::Hang),
        ("closes", || Reply::Close),
        ("an HTML page", page),
        ("500", error),
        ("does not know us", refuses_us),
        ("a redirect", redirect),
        ("10 MB", long),
        ("twice active", || {
            json(r#"{"active":false,"active":true,"sub":"eve","aud":"orders-api"}"#)
        }),
        ("half an answer", || json(r#"{"active":true,"sub":"#)),
    ];
    for (name, reply) in days {
        let asked = endpoint(move |_| reply());
        let (upstream, sidecar) = asking(asked.url(), ", timeout: 300ms");
        let response = present(&sidecar, TOKEN);
        assert_eq!(response.status, 503, "{name}");
        assert_eq!(sidecar.why(&response)["reason"], "introspection_failed", "{name}");
        assert!(response.field("retry-after").is_some(), "{name}");
        assert!(upstream.requests().is_empty(), "{name}");
        assert_eq!(sidecar.get("/x", &[OWN_KEY]).status, 200, "{name}: everybody else goes on");
    }
    // Nothing listens there.
    let (_upstream, sidecar) = asking("http://127.0.0.1:1", "");
    refused(&sidecar, TOKEN, 503, "introspection_failed");
    let failed = "gatepost_introspections_total{issuer=\"opaque\",result=\"failed\"}";
    assert!((sidecar.metric(failed) - 1.0).abs() < 0.1, "{}", sidecar.metrics());
}

#[test]
fn contract_introspection_a_last_answer_counts_for_stale_for_and_no_longer_than_exp() {
    let questions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&questions);
    let asked = endpoint(move |_| match count.fetch_add(1, Ordering::AcqRel) {
        0 => json(&active()),
        _ => Reply::Close,
    });
    let stale = ", cache: 0s, on_failure: { stale_for: 1h }";
    let (_upstream, sidecar) = asking(asked.url(), stale);
    for _ in 0..3 {
        assert_eq!(present(&sidecar, TOKEN).status, 200);
    }
    assert!(questions.load(Ordering::Acquire) >= 3, "it is asked each time");
    refused(&sidecar, "another-token", 503, "introspection_failed");
}

#[test]
fn contract_configuration_introspection_mistakes_are_told_with_their_place() {
    let (sandbox, config) = standard("http://127.0.0.1:1");
    sandbox.write("introspection.secret", "s3cret");
    let check = |sandbox: &Sandbox, config: &str, said: &str| {
        let head = "listeners: [{ address: 127.0.0.1:0 }]\n";
        sandbox.write("gatepost.yaml", &format!("{head}{config}"));
        let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
        assert_eq!(run.exit, 78, "{run:?}");
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(all.contains(said), "{said}: {all}");
    };
    let issuer = |name: &str, url: &str| {
        format!(
            "\x20 - {{ issuer: \"https://{name}.example.com\", audiences: [a], introspection: \
             {{ url: \"{url}\", client_id: a, client_secret_file: introspection.secret }} }}\n"
        )
    };
    let routes = "routes: [{ path: /**, access: { scopes: [read] } }]\n";
    let with = |issuers: &str, config: &str| {
        format!("{}{routes}", config.replace("api_keys:", &format!("{issuers}api_keys:")))
    };
    let https = "https://a.example.com/introspect";
    let azp = issuer("one", https).replace("client_id: a,", "client_id: a, subject_from: azp,");
    check(&sandbox, &with(&azp, &config), "subject_from: \"azp\" is not accepted here");
    let two = format!("{}{}", issuer("one", https), issuer("two", https));
    check(&sandbox, &with(&two, &config), "name one of them in `issuers`");
    let plain = issuer("one", "http://a.example.com/introspect");
    check(&sandbox, &with(&plain, &config), "insecure_http");
    let bearers =
        config.replace("header: X-API-Key,", "from: [{ header: Authorization, scheme: Bearer }],");
    check(&sandbox, &with(&issuer("one", https), &bearers), "give keys a header or a scheme");
    let keyless = "\x20 - { issuer: \"https://one.example.com\", audiences: [a] }\n";
    check(&sandbox, &with(keyless, &config), "keys");
}

#[test]
fn r801_a_secret_of_gatepost_is_disclosed_to_no_issuer() {
    let asked = endpoint(|_| json(&active()));
    let (_upstream, sidecar) = asking(asked.url(), "");
    // Well formed: made by the program itself.
    let made = sidecar.sandbox.run(&["key", "create", "--file", "made.yaml", "--name", "made"]);
    let key = made.stdout.split_whitespace().find(|word| word.starts_with("gp_key_")).unwrap();
    refused(&sidecar, key, 401, "key_misplaced");
    refused(&sidecar, &format!("{}x", &key[..key.len() - 1]), 401, "key_malformed");
    for other in ["gp_", "gp_key_", "gp_pat_short", "gp_new_kind_0123456789", "gp_.a.b"] {
        let response = present(&sidecar, other);
        assert_eq!(response.status, 401, "{other}");
    }
    assert!(asked.requests().is_empty(), "{:?}", asked.requests());
    assert_eq!(present(&sidecar, "gpx-not-ours-0123456789").status, 200);
    assert_eq!(asked.requests().len(), 1);
}
