//! Key sets that are fetched: first keys, rotation, floods of unknown keys, and failures of a
//! key server.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{
    KEY, KeyServer, Recorder, Reply, Response, Sandbox, Sidecar, TlsKeyServer, api_key_file,
    bearer, claims, compact, eventually, now, signer, signing_input,
};

const ROUTES: &str = "routes: [{ path: /**, access: { scopes: [read] } }]\n";

/// A configuration whose issuer has these `keys`.
fn config(upstream: &Recorder, issuer: &str, keys: &str) -> String {
    format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         state_dir: state\n\
         issuers:\n\
         \x20 - issuer: {issuer}\n\
         \x20   name: corp\n\
         \x20   audiences: [orders-api]\n\
         \x20   algorithms: [RS256, ES256]\n\
         \x20   keys: {keys}\n\
         defaults: {{ upstream: app }}\n{ROUTES}",
        upstream.url()
    )
}

const ISSUER: &str = "https://login.example.com";

/// A sidecar whose issuer has its keys at this key server.
fn started(server: &KeyServer) -> Sidecar {
    started_with(&format!("{{ url: \"{}\" }}", server.url()))
}

fn started_with(keys: &str) -> Sidecar {
    Sandbox::new().start(&config(&Recorder::start(), ISSUER, keys))
}

fn rsa() -> String {
    signer().jwks(&[("rsa", "RS256")])
}

fn p256() -> String {
    signer().jwks(&[("p256", "ES256")])
}

fn rsa_token() -> String {
    signer().sign("rsa", "RS256", &claims())
}

fn p256_token() -> String {
    signer().sign("p256", "ES256", &claims())
}

fn present(sidecar: &Sidecar, token: &str) -> Response {
    sidecar.get("/", &[("Authorization", &bearer(token))])
}

#[track_caller]
fn accepted(sidecar: &Sidecar, token: &str) {
    let response = present(sidecar, token);
    if response.status != 200 {
        panic!("{}: {:#}", response.status, sidecar.why(&response));
    }
}

#[track_caller]
fn refused(sidecar: &Sidecar, token: &str, status: u16, reason: &str) {
    let response = present(sidecar, token);
    assert_eq!(response.status, status, "{reason}");
    assert_eq!(sidecar.why(&response)["reason"], reason);
}

/// `POST /issuers/corp/refresh`.
#[track_caller]
fn refresh(sidecar: &Sidecar) -> Response {
    change(sidecar, "/issuers/corp/refresh")
}

#[track_caller]
fn change(sidecar: &Sidecar, target: &str) -> Response {
    sidecar.admin("POST", target, &[("X-Gatepost-Admin", "1"), ("Content-Length", "0")])
}

#[track_caller]
fn refreshed(sidecar: &Sidecar, result: &str) {
    let answer = refresh(sidecar);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["result"], result);
}

#[track_caller]
fn refreshes(sidecar: &Sidecar, result: &str) -> f64 {
    let labels = format!("{{issuer=\"corp\",result=\"{result}\"}}");
    sidecar.metric(&format!("gatepost_jwks_refreshes_total{labels}"))
}

#[track_caller]
fn issuer_status(sidecar: &Sidecar) -> Value {
    sidecar.admin("GET", "/status", &[]).json()["issuers"][0].clone()
}

#[test]
fn contract_remote_key_sets_are_there_when_readyz_says_yes() {
    let server = KeyServer::with(&rsa());
    let sidecar = started(&server);
    accepted(&sidecar, &rsa_token());
    assert_eq!(server.fetches(), 1);
    let status = issuer_status(&sidecar);
    assert_eq!(status["fetched"]["from"], server.url());
    assert_eq!(status["fetched"]["last_result"], "changed");
    assert_eq!(status["fetched"]["last_error"], Value::Null);
    assert_eq!(status["listed"], json!([{ "kid": "rsa", "algorithm": "RS256" }]));
    assert!(status["age_seconds"].as_u64().is_some_and(|age| age < 20), "{status:#}");
    assert!(status["fetched"]["next_refresh"].is_string(), "{status:#}");
    let metrics = sidecar.metrics();
    assert!(metrics.contains("gatepost_jwks_age_seconds{issuer=\"corp\"}"), "{metrics}");
    assert_eq!(refreshes(&sidecar, "changed"), 1.0);
    assert_eq!(refreshes(&sidecar, "failure"), 0.0);
}

#[test]
fn contract_remote_key_sets_rotation_needs_nobody() {
    let server = KeyServer::with(&rsa());
    let sidecar = started(&server);
    accepted(&sidecar, &rsa_token());
    server.serve(&p256());
    refused(&sidecar, &p256_token(), 401, "token_key_unknown");
    eventually("the new key", || (present(&sidecar, &p256_token()).status == 200).then_some(()));
    refused(&sidecar, &rsa_token(), 401, "token_key_unknown");
    assert_eq!(server.fetches(), 2);
    // Counted after the keys are in force.
    eventually("the refresh to count", || (refreshes(&sidecar, "changed") == 2.0).then_some(()));
}

#[test]
fn r305_ten_thousand_unknown_kids_cause_one_fetch() {
    let server = KeyServer::with(&rsa());
    let sidecar = started(&server);
    let mut client = sidecar.connect();
    for number in 0..10_000 {
        let header = json!({ "alg": "RS256", "kid": format!("unknown-{number}") });
        let token = compact(&signing_input(&header, &claims()), &[1; 256]);
        let answer = client.exchange("GET", "/", &[("Authorization", &bearer(&token))]);
        assert_eq!(answer.status, 401);
        if answer.field("connection").is_some_and(|one| one.eq_ignore_ascii_case("close"))
            || number % 5_000 == 4_999
        {
            client = sidecar.connect();
        }
    }
    // The first of them asked; one that came more than 30 s later may have asked again.
    let fetches = server.fetches() - 1;
    assert!((1..=2).contains(&fetches), "{fetches}");
    accepted(&sidecar, &rsa_token());
}

#[test]
fn r305_no_request_waits_for_a_key_server() {
    let server = KeyServer::with(&rsa());
    let sidecar = started_with(&format!("{{ url: \"{}\", timeout: 30s }}", server.url()));
    server.answer(|_| Reply::Hang);
    refused(&sidecar, &p256_token(), 401, "token_key_unknown");
    eventually("the fetch to begin", || (server.fetches() == 2).then_some(()));
    // It hangs for longer than this test waits for an answer.
    refused(&sidecar, &p256_token(), 401, "token_key_unknown");
    accepted(&sidecar, &rsa_token());
}

#[test]
fn contract_remote_key_sets_an_entity_tag_saves_the_body_and_renews_the_age() {
    let server = KeyServer::with(&rsa());
    let jwks = rsa();
    server.answer(move |request| match request.field("if-none-match") {
        Some("\"v1\"") => Reply::Bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        _ => Reply::Bytes(
            format!(
                "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: {}\r\n\r\n{jwks}",
                jwks.len()
            )
            .into_bytes(),
        ),
    });
    let sidecar = started(&server);
    let generation = sidecar.metric("gatepost_config_generation");
    let before = issuer_status(&sidecar)["loaded"].clone();
    refreshed(&sidecar, "unchanged");
    assert_eq!(server.last().field("if-none-match"), Some("\"v1\""));
    assert_ne!(issuer_status(&sidecar)["loaded"], before);
    assert_eq!(sidecar.metric("gatepost_config_generation"), generation, "nothing was published");
    accepted(&sidecar, &rsa_token());
}

fn rotated_to(sidecar: &Sidecar, server: &KeyServer, keys: &[Value]) -> Value {
    server.serve(&json!({ "keys": keys }).to_string());
    assert_eq!(refresh(sidecar).status, 200);
    issuer_status(sidecar)
}

fn named(key: &str, algorithm: Option<&str>, kid: &str) -> Value {
    let mut jwk = signer().jwk(key, algorithm);
    jwk["kid"] = json!(kid);
    jwk
}

#[test]
fn contract_keys_of_a_jwt_a_set_that_lists_a_key_twice_takes_nothing_away() {
    let server = KeyServer::with(&rsa());
    let sidecar = started(&server);
    let (rsa, p256) = (signer().jwk("rsa", Some("RS256")), signer().jwk("p256", Some("ES256")));
    let plain = signer().jwk("rsa", None);
    let status = rotated_to(&sidecar, &server, &[rsa.clone(), plain, p256, rsa]);
    assert_eq!(status["listed"].as_array().map(Vec::len), Some(2), "{status:#}");
    accepted(&sidecar, &rsa_token());
    accepted(&sidecar, &p256_token());
}

#[test]
fn contract_keys_of_a_jwt_one_kid_for_two_algorithms_names_two_keys() {
    let server = KeyServer::with(&rsa());
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let config = config(&Recorder::start(), ISSUER, &keys);
    let sidecar = Sandbox::new().start(&config.replace("[RS256, ES256]", "[RS256, RS512, ES256]"));
    let rsa = |algorithm| signer().jwk("rsa", Some(algorithm));
    let set = [rsa("RS512"), named("p256", Some("ES256"), "rsa"), rsa("RS256")];
    rotated_to(&sidecar, &server, &set);
    let header = json!({ "kid": "rsa" });
    for (key, algorithm) in [("rsa", "RS256"), ("rsa", "RS512"), ("p256", "ES256")] {
        accepted(&sidecar, &signer().sign_with(key, algorithm, &header, &claims()));
    }
    let forged = signer().sign_with("other-rsa", "RS512", &header, &claims());
    refused(&sidecar, &forged, 401, "token_signature_bad");
}

#[test]
fn contract_keys_of_a_jwt_a_real_conflict_leaves_the_key_in_force() {
    let server = KeyServer::with(&rsa());
    let sidecar = started(&server);
    let other = named("other-rsa", Some("RS256"), "rsa");
    let status = rotated_to(&sidecar, &server, &[other.clone(), signer().jwk("rsa", None)]);
    let skipped = status["fetched"]["skipped"].to_string();
    assert!(skipped.contains("there twice"), "{status:#}");
    sidecar.has_logged("unused members in the key set");
    accepted(&sidecar, &rsa_token());
    let header = json!({ "kid": "rsa" });
    let token = signer().sign_with("other-rsa", "RS256", &header, &claims());
    refused(&sidecar, &token, 401, "token_signature_bad");
    // The set no longer contains it: the other one takes its place.
    rotated_to(&sidecar, &server, &[other]);
    accepted(&sidecar, &token);
    refused(&sidecar, &rsa_token(), 401, "token_signature_bad");
}

#[test]
fn contract_keys_of_a_jwt_a_thumbprint_finds_the_key_that_states_it() {
    let jwk = |key, x5t| {
        let mut jwk = signer().jwk(key, Some("RS256"));
        jwk.as_object_mut().unwrap().remove("kid");
        jwk["x5t"] = json!(x5t);
        jwk
    };
    let server = KeyServer::with(&rsa());
    let sidecar = started(&server);
    rotated_to(&sidecar, &server, &[jwk("rsa", "AAAA"), jwk("other-rsa", "BBBB")]);
    let sign = |key, x5t| {
        // Without a kid, as the tokens of ADFS.
        signer().sign_with(key, "RS256", &json!({ "x5t": x5t }), &claims())
    };
    accepted(&sidecar, &sign("rsa", "AAAA"));
    accepted(&sidecar, &sign("other-rsa", "BBBB"));
    refused(&sidecar, &sign("rsa", "BBBB"), 401, "token_signature_bad");
    refused(&sidecar, &sign("rsa", "CCCC"), 401, "token_key_unknown");
}

#[test]
fn contract_keys_of_a_jwt_a_file_is_read_like_a_fetched_set() {
    let mut for_encryption = named("rsa", Some("RSA-OAEP"), "enc");
    for_encryption["use"] = json!("enc");
    let post_quantum = json!({ "kty": "AKP", "alg": "ML-DSA-65", "kid": "pq", "pub": "AAAA" });
    let unlisted = named("rsa", Some("PS256"), "unlisted");
    let published = |key, algorithm| {
        let signing = signer().jwk(key, Some(algorithm));
        let set = json!({ "keys": [for_encryption, post_quantum, unlisted, signing] });
        format!("\u{feff}{set}")
    };
    let sandbox = Sandbox::new();
    sandbox.write("jwks.json", &published("rsa", "RS256"));
    let config = config(&Recorder::start(), ISSUER, "{ file: jwks.json }");
    let listeners = "listeners: [{ address: 127.0.0.1:8080 }]\n";
    sandbox.write("checked.yaml", &format!("{listeners}{config}"));
    let check = sandbox.run(&["check", "--config", "checked.yaml"]);
    assert_eq!(check.exit, 0, "{check:?}");
    for word in ["warning: ", "jwks.json:1:1: keys[0]: use is", "keys[1]: alg \"ML-DSA", "keys[2]:"]
    {
        assert!(check.stderr.contains(word), "{word}: {check:?}");
    }
    let sidecar = sandbox.start(&config);
    accepted(&sidecar, &rsa_token());
    sidecar.has_logged("warning about a key file");
    // A job replaces the file by the set of the next day.
    sidecar.sandbox.replace("jwks.json", &published("p256", "ES256"));
    assert_eq!(sidecar.reload().status, 200);
    accepted(&sidecar, &p256_token());
    // Without a usable member it is a mistake, and the last good file stays.
    sidecar.sandbox.replace("jwks.json", &json!({ "keys": [for_encryption] }).to_string());
    assert_eq!(sidecar.reload().status, 422);
    accepted(&sidecar, &p256_token());
}

#[test]
fn contract_remote_key_sets_a_bearer_token_is_sent_and_read_again() {
    let server = KeyServer::with("");
    let jwks = rsa();
    server.answer(move |request| match request.field("authorization") {
        Some("Bearer first" | "Bearer second") => Reply::text(&jwks),
        _ => Reply::Bytes(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec()),
    });
    let sandbox = Sandbox::new();
    sandbox.write("token", "first\n");
    let keys = format!("{{ url: \"{}\", bearer_file: token }}", server.url());
    let sidecar = sandbox.start(&config(&Recorder::start(), ISSUER, &keys));
    accepted(&sidecar, &rsa_token());
    sidecar.sandbox.replace("token", "second");
    refreshed(&sidecar, "unchanged");
    assert_eq!(server.last().field("authorization"), Some("Bearer second"));
    sidecar.sandbox.replace("token", " ");
    assert_eq!(refresh(&sidecar).status, 502, "{}", refresh(&sidecar).text());
    assert!(!sidecar.stderr().contains("second"), "the token is in no log");
}

#[test]
fn r902_a_bearer_file_that_others_can_read_is_a_mistake() {
    let check = |mode: u32, top: &str| {
        let sandbox = Sandbox::new();
        let token = sandbox.write("token", "first\n");
        fs::set_permissions(token, fs::Permissions::from_mode(mode)).unwrap();
        let keys = "{ url: \"https://a.example/j\", bearer_file: token }";
        let rest = config(&Recorder::start(), ISSUER, keys);
        let listeners = "listeners: [{ address: 127.0.0.1:8080 }]";
        sandbox.write("c.yaml", &format!("{top}{listeners}\n{rest}"));
        sandbox.run(&["check", "--config", "c.yaml"])
    };
    for mode in [0o644, 0o666, 0o604] {
        let run = check(mode, "");
        assert_eq!(run.exit, 78, "{mode:o}: {run:?}");
        assert!(run.stderr.contains("token is a secret that others can read"), "{run:?}");
        assert_eq!(check(mode, "insecure_file_modes: true\n").exit, 0, "{mode:o}");
    }
    for mode in [0o600, 0o440] {
        assert_eq!(check(mode, "").exit, 0, "{mode:o}");
    }
}

#[test]
fn contract_remote_key_sets_kubernetes_stands_for_the_values_of_the_cluster() {
    let check = |keys: &str| {
        let sandbox = Sandbox::new();
        let listeners = "listeners: [{ address: 127.0.0.1:8080 }]\n";
        sandbox
            .write("c.yaml", &format!("{listeners}{}", config(&Recorder::start(), ISSUER, keys)));
        sandbox.run(&["check", "--config", "c.yaml"]).stderr
    };
    let outside = check("{ kubernetes: true }");
    for file in ["ca.crt", "token"] {
        let path = format!("cannot read /var/run/secrets/kubernetes.io/serviceaccount/{file}");
        assert!(outside.contains(&path), "{outside}");
    }
    assert!(check("{ kubernetes: true, file: a }").contains("replaces url"));
    assert!(check("{ discovery: true, bearer_file: token }").contains("not to a discovered one"));
    assert!(check("{ url: \"https://a.example/j\", bearer_file: token }").contains("cannot read"));
    assert!(check("{ file: a, bearer_file: token }").contains("fetched keys only"));
}

/// Failures of a key server, each with a word of the message to the operator.
fn bad_days(good: &str) -> Vec<(Reply, &'static str)> {
    let with = |head: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n");
        Reply::Bytes(format!("{head}{body}").into_bytes())
    };
    let (mut one, other) = (signer().jwk("p256", None), signer().jwk("other-p256", None));
    one["kid"] = other["kid"].clone();
    let twice = json!({ "keys": [one, other] });
    let many = json!({ "keys": vec![json!({}); 101] }).to_string();
    vec![
        (with("500 Internal Server Error", good), "unexpected status 500"),
        (with("404 Not Found", good), "unexpected status 404"),
        (with("204 No Content", ""), "unexpected status 204"),
        (with("206 Partial Content", good), "unexpected status 206"),
        (with("304 Not Modified", ""), "unexpected status 304"),
        (with("302 Found\r\nLocation: /elsewhere", good), "redirects are not followed"),
        (with("200 OK", "<html><body>maintenance</body></html>"), "is not JSON"),
        (with("200 OK", ""), "is not JSON"),
        (with("200 OK", "[]"), "is not a JSON object"),
        (with("200 OK", "{}"), "no array `keys`"),
        (with("200 OK", r#"{"keys":{}}"#), "no array `keys`"),
        (with("200 OK", r#"{"keys":[]}"#), "holds no usable key"),
        (with("200 OK", r#"{"keys":[1,null,{}]}"#), "holds no usable key"),
        (with("200 OK", &many), "at most 100"),
        (with("200 OK", &twice.to_string()), "there twice"),
        (with("200 OK", &good.replace("\"keys\"", "\"keys\":[],\"keys\"")), "a name twice"),
        (with("200 OK", &signer().jwks(&[("ed25519", "EdDSA")])), "holds no usable key"),
        (with("200 OK", &signer().jwk("rsa", Some("RS256")).to_string()), "no array `keys`"),
        (with("200 OK", &signer().pem("rsa")), "is not JSON"),
        (with("200 OK", &format!("{good}{}", " ".repeat(10 << 20))), "longer than 1048576 bytes"),
        (with(&format!("200 OK\r\nX: {}", "x".repeat(300 << 10)), good), ""),
        (
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"keys\":".to_vec()),
            "timed out after 500ms",
        ),
        (Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), ""),
        (Reply::Close, ""),
        (Reply::Hang, "timed out after 500ms"),
    ]
}

#[test]
fn r306_no_bad_day_of_a_key_server_takes_a_good_key_away() {
    let server = KeyServer::with(&rsa());
    let sidecar = started_with(&format!("{{ url: \"{}\", timeout: 500ms }}", server.url()));
    let mut failures = refreshes(&sidecar, "failure");
    for (reply, word) in bad_days(&rsa()) {
        let reply = std::sync::Mutex::new(Some(reply));
        server.answer(move |_| reply.lock().unwrap().take().unwrap_or(Reply::Close));
        let answer = refresh(&sidecar);
        assert_eq!(answer.status, 502, "{word}: {}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(word), "{word}: {error}");
        let status = issuer_status(&sidecar);
        assert_eq!(status["fetched"]["last_result"], "failure", "{word}");
        assert!(status["fetched"]["last_error"].is_string());
        assert_eq!(status["keys"], 1);
        let more = refreshes(&sidecar, "failure");
        assert!(more > failures, "{word}");
        failures = more;
        accepted(&sidecar, &rsa_token());
    }
    assert!(!server.targets().iter().any(|target| target == "/elsewhere"));
    server.serve(&p256());
    refreshed(&sidecar, "changed");
    accepted(&sidecar, &p256_token());
    assert_eq!(issuer_status(&sidecar)["fetched"]["last_error"], Value::Null);
}

#[test]
fn r306_unfit_members_are_skipped_with_one_line_and_the_rest_serves() {
    let mut private = signer().jwk("rsa", Some("RS256"));
    (private["kid"], private["d"]) = (json!("private"), json!("AQAB"));
    let mut for_encryption = signer().jwk("p256", Some("ES256"));
    (for_encryption["kid"], for_encryption["use"]) = (json!("enc"), json!("enc"));
    let mut wrong_curve = signer().jwk("p384", None);
    (wrong_curve["kid"], wrong_curve["alg"]) = (json!("curve"), json!("ES256"));
    let mut weak = signer().jwk("rsa", Some("RS256"));
    (weak["kid"], weak["n"]) = (json!("weak"), json!("u".repeat(172)));
    let secret = "a secret that everybody can fetch, of more than 64 bytes to be long enough";
    let set = json!({ "keys": [
        { "kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0LXRoYXQtZXZlcnlib2R5LWNhbi1mZXRjaC0wMTIz" },
        private, for_encryption, wrong_curve, weak, "nonsense",
        signer().jwk("other-rsa", Some("PS256")),
        signer().jwk("rsa", Some("RS256")),
    ]});
    let server = KeyServer::with(&set.to_string());
    let sidecar = started(&server);
    accepted(&sidecar, &rsa_token());
    let skipped = "gatepost_jwks_keys{issuer=\"corp\",state=\"skipped\"}";
    assert_eq!(sidecar.metric(skipped), 7.0);
    assert_eq!(sidecar.metric("gatepost_jwks_keys{issuer=\"corp\",state=\"used\"}"), 1.0);
    let log = sidecar.stderr();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("unused members in the key set")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(!lines[0].contains("c2VjcmV0"), "{}", lines[0]);
    assert!(!lines[0].contains("AQAB"), "{}", lines[0]);
    let header = json!({ "alg": "HS256", "kid": "oct", "typ": "JWT" });
    refused(&sidecar, &signer().hmac_with(secret, &header, &claims()), 401, "token_header_refused");
    let header = json!({ "kid": "enc" });
    let token = signer().sign_with("p256", "ES256", &header, &claims());
    refused(&sidecar, &token, 401, "token_key_unknown");
    let header = json!({ "kid": "private" });
    let token = signer().sign_with("rsa", "RS256", &header, &claims());
    refused(&sidecar, &token, 401, "token_key_unknown");
    assert_eq!(issuer_status(&sidecar)["fetched"]["skipped"].as_array().unwrap().len(), 7);
}

#[test]
fn contract_remote_key_sets_a_restart_during_an_outage_still_serves() {
    let server = KeyServer::with(&rsa());
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let upstream = Recorder::start();
    let config = config(&upstream, ISSUER, &keys);
    let sandbox = Sandbox::new();
    let sidecar = sandbox.clone().start(&config);
    accepted(&sidecar, &rsa_token());
    drop(sidecar);
    let mode = |name: &str| fs::metadata(sandbox.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("state/jwks"), 0o700);
    let file = kept_file(&sandbox);
    assert_eq!(mode(&file), 0o600);
    server.answer(|_| Reply::Close);
    let sidecar = sandbox.clone().start(&config);
    accepted(&sidecar, &rsa_token());
    eventually("the failed refresh", || (refreshes(&sidecar, "failure") > 0.0).then_some(()));
    accepted(&sidecar, &rsa_token());
    drop(sidecar);
    // What is kept is believed no longer than what is not.
    edit_kept(&sandbox, |kept| kept["fetched_unix_ms"] = json!((now() - 2 * 86_400) * 1000));
    let sidecar = sandbox.clone().start_unready(&config);
    refused(&sidecar, &rsa_token(), 503, "token_keys_unavailable");
    drop(sidecar);
    // Nor is it believed for another issuer, or when it is not a good set.
    edit_kept(&sandbox, |kept| kept["fetched_unix_ms"] = json!(now() * 1000));
    let good = fs::read_to_string(sandbox.path(&file)).unwrap();
    for (name, value) in [
        ("issuer", json!("https://other.example.com")),
        ("location", json!("https://other.example.com/jwks.json")),
        ("body", json!(r#"{"keys":[{"kty":"oct","kid":"rsa","k":"AAAA"}]}"#)),
        ("body", json!("")),
    ] {
        sandbox.write(&file, &good);
        edit_kept(&sandbox, |kept| kept[name] = value.clone());
        let sidecar = sandbox.clone().start_unready(&config);
        refused(&sidecar, &rsa_token(), 503, "token_keys_unavailable");
    }
    sandbox.write(&file, &good);
    accepted(&sandbox.start(&config), &rsa_token());
}

/// The one file of a key set.
fn kept_file(sandbox: &Sandbox) -> String {
    let files = fs::read_dir(sandbox.path("state/jwks")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    format!("state/jwks/{}", names[0].to_str().unwrap())
}

fn edit_kept(sandbox: &Sandbox, edit: impl FnOnce(&mut Value)) {
    let file = kept_file(sandbox);
    let text = fs::read_to_string(sandbox.path(&file)).unwrap();
    let mut kept = serde_json::from_str(&text).unwrap();
    edit(&mut kept);
    sandbox.write(&file, &kept.to_string());
}

#[test]
fn contract_remote_key_sets_keys_that_grow_too_old_are_given_up() {
    let server = KeyServer::with(&rsa());
    let keys = format!("{{ url: \"{}\", refresh: 60s, stale_for: 60s }}", server.url());
    let config = config(&Recorder::start(), ISSUER, &keys);
    let sandbox = Sandbox::new();
    accepted(&sandbox.clone().start(&config), &rsa_token());
    server.answer(|_| Reply::Close);
    edit_kept(&sandbox, |kept| kept["fetched_unix_ms"] = json!((now() - 55) * 1000));
    let sidecar = sandbox.start(&config);
    accepted(&sidecar, &rsa_token());
    eventually("the keys to expire", || {
        (present(&sidecar, &rsa_token()).status == 503).then_some(())
    });
    assert!(!sidecar.metrics().contains("gatepost_jwks_age_seconds{"));
    assert_eq!(sidecar.admin("GET", "/readyz", &[]).status, 200, "readyz ignores key servers");
    server.serve(&rsa());
    assert_eq!(refresh(&sidecar).status, 200);
    accepted(&sidecar, &rsa_token());
}

#[test]
fn contract_answers_keys_never_had_are_503_and_readyz_waits() {
    let server = KeyServer::with("");
    server.answer(|_| Reply::Close);
    let sandbox = Sandbox::new();
    sandbox.write("keys.yaml", &api_key_file());
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let config = config(&Recorder::start(), ISSUER, &keys);
    let sidecar = sandbox.start_unready(&format!("{config}api_keys: {{ files: [keys.yaml] }}\n"));
    let response = present(&sidecar, &rsa_token());
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()));
    assert_eq!(response.json()["code"], "keys_unavailable");
    assert_eq!(response.field("www-authenticate"), None, "the credential may well be good");
    assert_eq!(sidecar.why(&response)["reason"], "token_keys_unavailable");
    assert_eq!(sidecar.admin("GET", "/readyz", &[]).status, 503);
    assert_eq!(sidecar.admin("GET", "/livez", &[]).status, 200);
    assert_eq!(sidecar.get("/", &[("X-API-Key", KEY)]).status, 200, "others are served");
    assert!(!sidecar.metrics().contains("gatepost_jwks_age_seconds{"));
    assert_eq!(issuer_status(&sidecar)["loaded"], Value::Null);
    server.serve(&rsa());
    eventually("first keys", || (present(&sidecar, &rsa_token()).status == 200).then_some(()));
    eventually("readiness", || (sidecar.admin("GET", "/readyz", &[]).status == 200).then_some(()));
}

/// A server that has both metadata and keys, as a test wants them.
fn discovering(path: &'static str, metadata: impl Fn(&str) -> Value) -> KeyServer {
    let server = KeyServer::with("");
    let metadata = metadata(server.origin()).to_string();
    let jwks = rsa();
    server.answer(move |request| match request.request_line().split(' ').nth(1) {
        Some(target) if target == path => Reply::text(&metadata),
        Some("/keys") => Reply::text(&jwks),
        _ => Reply::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
    });
    server
}

fn metadata(origin: &str) -> Value {
    json!({ "issuer": format!("{origin}/realm"), "jwks_uri": format!("{origin}/keys") })
}

fn realm_token(server: &KeyServer) -> String {
    let mut claims = claims();
    claims["iss"] = json!(format!("{}/realm", server.origin()));
    signer().sign("rsa", "RS256", &claims)
}

fn discovery_config(server: &KeyServer) -> String {
    let issuer = format!("\"{}/realm\"", server.origin());
    config(&Recorder::start(), &issuer, "{ discovery: true }")
}

#[test]
fn contract_remote_key_sets_discovery_by_oidc_and_rfc_8414() {
    let oidc = "/realm/.well-known/openid-configuration";
    let oauth = "/.well-known/oauth-authorization-server/realm";
    for (path, asked) in [(oidc, vec![oidc, "/keys"]), (oauth, vec![oidc, oauth, "/keys"])] {
        let server = discovering(path, metadata);
        let sidecar = Sandbox::new().start(&discovery_config(&server));
        accepted(&sidecar, &realm_token(&server));
        assert_eq!(server.targets(), asked);
        assert_eq!(issuer_status(&sidecar)["fetched"]["from"], "discovery");
    }
}

#[test]
fn r304_metadata_of_another_issuer_is_not_believed() {
    type Change = fn(&str) -> (&'static str, Value);
    let changes: [(Change, &str); 4] = [
        (|origin| ("issuer", json!(format!("{origin}/realm/"))), "another issuer"),
        (|origin| ("issuer", json!(format!("{origin}/Realm"))), "another issuer"),
        (|_| ("issuer", Value::Null), "is not JSON with one issuer"),
        (|_| ("jwks_uri", json!("http://keys.example.com/keys")), "jwks_uri"),
    ];
    for (change, word) in changes {
        let server = discovering("/realm/.well-known/openid-configuration", |origin| {
            let mut metadata = metadata(origin);
            let (name, value) = change(origin);
            metadata[name] = value;
            metadata
        });
        let sidecar = Sandbox::new().start_unready(&discovery_config(&server));
        let answer = refresh(&sidecar);
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains(word), "{}", answer.text());
        refused(&sidecar, &realm_token(&server), 503, "token_keys_unavailable");
        assert!(!server.targets().iter().any(|target| target == "/keys"));
    }
}

#[test]
fn r304_tls_is_verified_with_the_authorities_of_ca_file() {
    let mut server = TlsKeyServer::with(&rsa());
    let sandbox = Sandbox::new();
    sandbox.write("ca.pem", &server.authority);
    let keys = format!("{{ url: \"{}\", ca_file: ca.pem }}", server.url());
    let config = config(&Recorder::start(), ISSUER, &keys);
    let sidecar = sandbox.start(&config);
    accepted(&sidecar, &rsa_token());
    server.set("body", &p256());
    for certificate in ["expired", "wrong-name", "self-signed"] {
        server.set("certificate", certificate);
        let answer = refresh(&sidecar);
        assert_eq!(answer.status, 502, "{certificate}");
        assert!(answer.text().contains("certificate"), "{certificate}: {}", answer.text());
        accepted(&sidecar, &rsa_token());
    }
    server.set("certificate", "good");
    refreshed(&sidecar, "changed");
    accepted(&sidecar, &p256_token());
    // The system does not know this authority.
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let stranger = Sandbox::new().start_unready(&self::config(&Recorder::start(), ISSUER, &keys));
    assert_eq!(refresh(&stranger).status, 502);
    refused(&stranger, &p256_token(), 503, "token_keys_unavailable");
    // The port is closed now.
    drop(server);
    assert_eq!(refresh(&sidecar).status, 502);
    accepted(&sidecar, &p256_token());
}

#[test]
fn contract_remote_key_sets_the_proxy_of_the_environment_is_used() {
    let server = TlsKeyServer::with(&rsa());
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://user:secret@{}", proxy.local_addr().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((client, _)) = proxy.accept() {
            tell.send(connect_through(client)).unwrap();
        }
    });
    let keys = format!("{{ url: \"{}\", ca_file: ca.pem }}", server.url());
    let config = config(&Recorder::start(), ISSUER, &keys);
    let sandbox = Sandbox::new();
    sandbox.write("ca.pem", &server.authority);
    let sidecar = sandbox.clone().with_variable("HTTPS_PROXY", &address).start(&config);
    accepted(&sidecar, &rsa_token());
    let head = told.recv().unwrap();
    assert!(head.starts_with("CONNECT 127.0.0.1:"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ="), "{head}");
    drop(sidecar);
    let sandbox = sandbox.with_variable("HTTPS_PROXY", &address);
    let sidecar = sandbox.with_variable("NO_PROXY", "127.0.0.1").start(&config);
    refreshed(&sidecar, "unchanged");
    assert!(told.try_recv().is_err(), "NO_PROXY");
}

/// Serves one CONNECT request; returns its head.
fn connect_through(mut client: TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut server = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::thread::spawn(move || std::io::copy(&mut server, &mut client));
    head
}

#[test]
fn contract_admin_listener_refreshes_keys_for_those_who_may() {
    let server = KeyServer::with(&rsa());
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let sandbox = Sandbox::new();
    sandbox.write("local.json", &p256());
    let local = "issuers:\n\x20 - { issuer: local, name: local, audiences: [a], \
                 algorithms: [ES256], keys: { file: local.json } }\n";
    let config = config(&Recorder::start(), ISSUER, &keys).replace("issuers:\n", local);
    let sidecar = sandbox.start(&config);
    let answer = refresh(&sidecar);
    assert_eq!(answer.json(), json!({ "result": "unchanged", "keys": 1 }));
    assert_eq!(change(&sidecar, "/issuers/nobody/refresh").status, 404);
    assert_eq!(change(&sidecar, "/issuers/local/refresh").status, 409);
    let length = ("Content-Length", "0");
    let fetches = server.fetches();
    assert_eq!(sidecar.admin("POST", "/issuers/corp/refresh", &[length]).status, 403);
    assert_eq!(sidecar.admin("GET", "/issuers/corp/refresh", &[]).status, 405);
    assert_eq!(server.fetches(), fetches);
}

#[test]
fn contract_commands_issuer_refresh_fetches_now_and_says_what_came_of_it() {
    let server = KeyServer::with(&rsa());
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let sandbox = Sandbox::new();
    sandbox.write("local.json", &p256());
    let local = "issuers:\n\x20 - { issuer: local, name: local, audiences: [a], \
                 algorithms: [ES256], keys: { file: local.json } }\n";
    let config = config(&Recorder::start(), ISSUER, &keys).replace("issuers:\n", local);
    let mut sidecar = sandbox.start(&config);
    let run = |sidecar: &Sidecar, name: &str, more: &[&str]| {
        let command = ["issuer", "refresh", name, "--config", "gatepost.yaml"];
        sidecar.sandbox.run(&[&command[..], more].concat())
    };
    let done = run(&sidecar, "corp", &[]);
    assert_eq!((done.exit, &*done.stdout), (0, "corp: unchanged, 1 keys in force\n"), "{done:?}");
    server.serve(&p256());
    let done = run(&sidecar, "corp", &["--json"]);
    assert_eq!(done.exit, 0, "{done:?}");
    let answer: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(answer, json!({ "result": "changed", "keys": 1 }));
    accepted(&sidecar, &p256_token());
    server.answer(|_| Reply::text("<html>maintenance</html>"));
    let failed = run(&sidecar, "corp", &[]);
    assert_eq!((failed.exit, &*failed.stdout), (1, ""), "{failed:?}");
    assert!(failed.stderr.contains("key refresh failed; the keys in force stay: "), "{failed:?}");
    accepted(&sidecar, &p256_token());
    for (name, said) in [
        ("local", "the keys of this issuer are read from a file"),
        ("nobody", "no issuer of this name is configured"),
        ("../reload", "no issuer of this name"),
        ("", ""),
    ] {
        let no = run(&sidecar, name, &[]);
        assert_eq!(no.exit, 1, "{no:?}");
        assert!(no.stderr.contains(said), "{no:?}");
    }
    let help = sidecar.sandbox.run(&["issuer", "refresh", "--help"]);
    assert!(help.stdout.contains("gatepost issuer refresh corp --config"), "{help:?}");
    sidecar.signal("TERM");
    sidecar.wait();
    let nobody = run(&sidecar, "corp", &[]);
    assert_eq!(nobody.exit, 1, "{nobody:?}");
    assert!(nobody.stderr.contains("not running"), "{nobody:?}");
}

#[test]
fn contract_reload_what_is_kept_of_an_issuer_goes_with_it() {
    let server = KeyServer::with(&rsa());
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let upstream = Recorder::start();
    let before = config(&upstream, ISSUER, &keys);
    let sandbox = Sandbox::new();
    sandbox.write("local.json", &p256());
    let sidecar = sandbox.start(&before);
    accepted(&sidecar, &rsa_token());
    let folder = sidecar.sandbox.path("state/jwks");
    let kept = || fs::read_dir(&folder).unwrap().count();
    assert_eq!(kept(), 1);
    fs::write(folder.join("notes.json"), "{}").unwrap();
    // A configuration with a mistake takes nothing away, and neither do other settings.
    let without = before.replace(&keys, "{ file: local.json }");
    sidecar.configure(&without.replace("access:", "acces:"));
    assert_eq!(sidecar.reload().status, 422);
    sidecar.configure(&before.replace("jwks.json\" }", "jwks.json\", timeout: 1s }"));
    assert_eq!(sidecar.reload().status, 200);
    accepted(&sidecar, &rsa_token());
    assert_eq!(kept(), 2);
    sidecar.configure(&without);
    assert_eq!(sidecar.reload().status, 200);
    eventually("the kept set to go", || (kept() == 1).then_some(()));
    assert!(folder.join("notes.json").exists(), "not ours");
    accepted(&sidecar, &p256_token());
}

#[test]
fn contract_reload_keeps_fetched_keys_and_follows_what_is_configured() {
    let server = KeyServer::with(&signer().jwks(&[("rsa", "RS256"), ("p256", "ES256")]));
    let keys = format!("{{ url: \"{}\" }}", server.url());
    let upstream = Recorder::start();
    let before = config(&upstream, ISSUER, &keys);
    let sidecar = Sandbox::new().start(&before);
    accepted(&sidecar, &rsa_token());
    // Other settings: the keys stay, though the server cannot be asked.
    server.answer(|_| Reply::Close);
    let timeout = before.replace("jwks.json\" }", "jwks.json\", timeout: 1s }");
    let fewer = timeout.replace("[RS256, ES256]", "[ES256]");
    for (config, rsa_reason) in
        [(&timeout, None), (&fewer, Some("token_header_refused")), (&before, None)]
    {
        sidecar.configure(config);
        assert_eq!(sidecar.reload().status, 200);
        accepted(&sidecar, &p256_token());
        match rsa_reason {
            None => accepted(&sidecar, &rsa_token()),
            Some(reason) => refused(&sidecar, &rsa_token(), 401, reason),
        }
    }
    // Another place is another source.
    let other = KeyServer::with(&p256());
    sidecar.configure(&before.replace(server.origin(), other.origin()));
    assert_eq!(sidecar.reload().status, 200);
    eventually("the keys of the other place", || {
        (present(&sidecar, &p256_token()).status == 200).then_some(())
    });
    refused(&sidecar, &rsa_token(), 401, "token_key_unknown");
    let fetches = server.fetches();
    refreshed(&sidecar, "unchanged");
    assert_eq!(server.fetches(), fetches, "nobody asks the old place");
    // No longer fetched at all.
    sidecar.sandbox.write("local.json", &rsa());
    let place = format!("url: \"{}\"", server.url());
    sidecar.configure(&before.replace(&place, "file: local.json"));
    assert_eq!(sidecar.reload().status, 200);
    accepted(&sidecar, &rsa_token());
    eventually("the series to be gone", || {
        (!sidecar.metrics().contains("gatepost_jwks_")).then_some(())
    });
    assert_eq!(refresh(&sidecar).status, 409);
}

#[test]
fn contract_check_touches_no_network_and_refuses_keys_from_anybody() {
    let server = KeyServer::with(&rsa());
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    let check = |keys: &str| {
        let listeners = "listeners: [{ address: 127.0.0.1:0 }]\n";
        sandbox.write("gatepost.yaml", &format!("{listeners}{}", config(&upstream, ISSUER, keys)));
        sandbox.run(&["check", "--config", "gatepost.yaml"])
    };
    let good = check(&format!("{{ url: \"{}\" }}", server.url()));
    assert_eq!(good.exit, 0, "{}", good.stderr);
    let explained = sandbox.run(&[
        "explain",
        "--config",
        "gatepost.yaml",
        "--method",
        "GET",
        "--path",
        "/",
        "--header",
        &format!("Authorization: {}", bearer(&rsa_token())),
    ]);
    assert_eq!(explained.exit, 1, "{}", explained.stderr);
    assert!(explained.stdout.contains("token_keys_unavailable"), "{}", explained.stdout);
    assert_eq!(server.fetches(), 0);
    for (keys, word) in [
        ("{ url: \"http://keys.example.com/jwks.json\" }", "insecure_http"),
        ("{ url: \"https://keys.example.com/jwks.json\", ca_file: none.pem }", "none.pem"),
        ("{ url: \"https://keys.example.com/jwks.json\", discovery: true }", "exactly one of them"),
    ] {
        let bad = check(keys);
        assert_eq!(bad.exit, 78, "{keys}");
        assert!(bad.stderr.contains(word), "{keys}: {}", bad.stderr);
    }
}
