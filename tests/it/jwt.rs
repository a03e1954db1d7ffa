//! Contract, "Keys of a JWT": tokens signed by PyJWT and openssl, and tokens that must be refused.

use serde_json::{Value, json};

use crate::support::{
    Recorder, Sandbox, Sidecar, bearer, claims, compact, has_openssl, head, now, openssl, signer,
    signing_input, standard,
};

const ROUTES: &str = "routes: [{ path: /**, access: { scopes: [read] } }]\n";

#[track_caller]
fn accepted(sidecar: &Sidecar, token: &str) {
    let response = sidecar.get("/", &[("Authorization", &bearer(token))]);
    if response.status != 200 {
        panic!("{}: {:#}", response.status, sidecar.why(&response));
    }
}

/// Refused with 401 and `invalid_token`, for the reason.
#[track_caller]
fn refused(sidecar: &Sidecar, token: &str, reason: &str) {
    let response = sidecar.get("/", &[("Authorization", &bearer(token))]);
    assert_eq!(response.status, 401, "{reason}: {token}");
    let challenge = response.field("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    let why = sidecar.why(&response);
    assert_eq!(why["reason"], reason, "{why:#}");
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (name, value) in changes {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
            value => claims[*name] = value.clone(),
        }
    }
    claims
}

fn started() -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    (sandbox.start(&format!("{config}{ROUTES}")), upstream)
}

/// A sidecar whose one issuer has these keys in `keys` (file name and content).
fn with_keys(algorithms: &str, keys: &str, file: &str, content: &str) -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    sandbox.write(file, content);
    let config = format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         issuers: [{{ issuer: \"https://login.example.com\", audiences: [orders-api], \
         algorithms: [{algorithms}], keys: {keys} }}]\n\
         defaults: {{ upstream: app }}\n{ROUTES}",
        upstream.url()
    );
    (sandbox.start(&config), upstream)
}

/// A sidecar whose one issuer has these further keys, and these further settings at the top.
fn shaped(issuer: &str, top: &str) -> (Sidecar, Recorder) {
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    sandbox.write("jwks.json", &signer().jwks(&[("rsa", "RS256")]));
    let config = format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         issuers: [{{ issuer: \"https://login.example.com\", audiences: [orders-api], \
         algorithms: [RS256], keys: {{ file: jwks.json }}, {issuer} }}]\n\
         defaults: {{ upstream: app }}\n{top}",
        upstream.url()
    );
    (sandbox.start(&config), upstream)
}

fn rsa(claims: &Value) -> String {
    signer().sign("rsa", "RS256", claims)
}

#[test]
fn contract_claims_names_with_dots_are_reached_everywhere() {
    let (sidecar, upstream) = shaped(
        "scope_claims: ['https://example.com/app.scopes'], \
         claims: { 'https://example.com/app.team.name': X-Auth-Team }",
        "limits: { team: { rate: 1/h, burst: 1, by: 'claim:https://example.com/app.team.name' } }\n\
         routes: [{ path: /**, limits: [team], access: { scopes: [read], \
         claims: { 'https://example.com/app.team.name': [red, blue] } } }]\n",
    );
    let token = |sub: &str, team: &str| {
        let app = json!({ "scopes": ["read", "not a scope", 7], "team": { "name": team } });
        rsa(&with(&[("sub", json!(sub)), ("scope", Value::Null), ("https://example.com/app", app)]))
    };
    let get = |token: &str| sidecar.get("/", &[("Authorization", &bearer(token))]).status;
    assert_eq!(get(&token("ada", "red")), 200);
    assert_eq!(upstream.last().field("x-auth-team"), Some("red"));
    assert_eq!(upstream.last().field("x-auth-scopes"), Some("read"));
    assert_eq!(get(&token("bob", "red")), 429, "the team shares its limit");
    assert_eq!(get(&token("bob", "blue")), 200);
    assert_eq!(get(&token("eve", "green")), 403);
}

#[test]
fn contract_subject_and_client_claims_of_other_providers() {
    let (sidecar, upstream) = shaped(
        "name: corp, subject_claim: preferred_username, client_claims: [cid, appid]",
        "limits: { app: { rate: 1/h, burst: 2, by: client } }\n\
         routes: [{ path: /**, limits: [app], access: { scopes: [read] } }]\n",
    );
    let token = |client: &str| {
        rsa(&with(&[
            ("sub", Value::Null),
            ("preferred_username", json!("ada")),
            ("client_id", Value::Null),
            ("jti", json!(format!("for {client}"))),
            ("cid", json!(client)),
        ]))
    };
    accepted(&sidecar, &token("web"));
    assert_eq!(upstream.last().field("x-auth-subject"), Some("ada"));
    assert_eq!(upstream.last().field("x-auth-client-id"), Some("web"));
    accepted(&sidecar, &token("web"));
    let spent = sidecar.get("/", &[("Authorization", &bearer(&token("web")))]);
    assert_eq!(spent.status, 429, "limits by client");
    accepted(&sidecar, &token("app"));
    let entry = json!({ "issuer": "corp", "client": "app" }).to_string();
    let length = entry.len().to_string();
    let fields = [
        ("X-Gatepost-Admin", "1"),
        ("Content-Type", "application/json"),
        ("Content-Length", &*length),
    ];
    let mut admin = sidecar.connect_admin();
    admin.send(head("POST", "/revocations", &fields)).send(&entry);
    let revoked = admin.response();
    assert!((200..300).contains(&revoked.status), "{}", revoked.text());
    refused(&sidecar, &token("app"), "token_revoked");
    let response = sidecar.get("/", &[("Authorization", &bearer(&rsa(&claims())))]);
    let why = sidecar.why(&response).to_string();
    assert!(why.contains("`preferred_username` is missing"), "{why}");
}

#[test]
fn r314_the_longest_token_is_the_issuers() {
    let (sidecar, _upstream) = shaped("token_bytes: 16KiB", ROUTES);
    let token = |bytes: usize| rsa(&with(&[("groups", json!("g".repeat(bytes)))]));
    accepted(&sidecar, &token(9_000));
    refused(&sidecar, &token(16_000), "token_too_long");
    let (usual, _upstream) = shaped("leeway: 30s", ROUTES);
    refused(&usual, &token(9_000), "token_too_long");
    for bytes in ["1023", "65KiB", "off"] {
        let sandbox = Sandbox::new();
        let issuer =
            format!("{{ issuer: a, audiences: [a], algorithms: RS256, token_bytes: {bytes} }}");
        sandbox.write("gatepost.yaml", &format!("issuers: [{issuer}]\n"));
        let check = sandbox.run(&["check", "--config", "gatepost.yaml"]);
        assert!(check.stderr.contains("1KiB to 64KiB"), "{bytes}: {check:?}");
    }
}

#[test]
fn r302_a_publicly_known_secret_is_a_mistake_and_a_weak_one_gets_a_warning() {
    let check = |file: &str, content: &str, keys: &str| {
        let sandbox = Sandbox::new();
        let path = sandbox.write(file, content);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let config = format!(
            "listeners: [{{ address: 127.0.0.1:8080 }}]\n\
             upstreams: {{ app: {{ url: \"http://127.0.0.1:1\" }} }}\n\
             issuers: [{{ issuer: a, audiences: [a], algorithms: HS256, keys: {keys} }}]\n\
             defaults: {{ upstream: app }}\n{ROUTES}"
        );
        sandbox.write("gatepost.yaml", &config);
        sandbox.run(&["check", "--config", "gatepost.yaml"])
    };
    // RFC 7515 A.1 and jwt.io.
    let rfc =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let jwk = json!({ "kty": "oct", "k": rfc }).to_string();
    for (file, content, keys) in [
        ("hs.key", rfc, "{ secret_file: hs.key }"),
        ("hs.key", "a-string-secret-at-least-256-bits-long\n", "{ secret_file: hs.key }"),
        ("oct.json", &*jwk, "{ file: oct.json }"),
    ] {
        let run = check(file, content, keys);
        assert_eq!(run.exit, 78, "{run:?}");
        assert!(run.stderr.contains("publicly known"), "{run:?}");
    }
    let weak = check("hs.key", "a very long secret of the orders api", "{ secret_file: hs.key }");
    assert_eq!(weak.exit, 0, "{weak:?}");
    assert!(weak.stderr.contains("warning: ") && weak.stderr.contains("low entropy"), "{weak:?}");
    let random = openssl(&["rand", "-base64", "48"], b"");
    let strong = check("hs.key", &String::from_utf8(random).unwrap(), "{ secret_file: hs.key }");
    assert_eq!((strong.exit, &*strong.stderr), (0, ""));
}

#[test]
fn r313_id_tokens_insecure_accept_takes_a_nonce_and_says_so() {
    let (sidecar, _upstream) = shaped("id_tokens: insecure_accept", ROUTES);
    accepted(&sidecar, &rsa(&with(&[("nonce", json!("n"))])));
    refused(&sidecar, &rsa(&with(&[("token_use", json!("id"))])), "token_id_token");
    assert_eq!(sidecar.metric("gatepost_insecure_settings"), 1.0);
    sidecar.has_logged("issuers[0].id_tokens");
    let (usual, _upstream) = shaped("id_tokens: refuse", ROUTES);
    refused(&usual, &rsa(&with(&[("nonce", json!("n"))])), "token_id_token");
}

#[test]
fn contract_keys_of_a_jwt_every_algorithm_signed_by_pyjwt() {
    for (key, algorithms) in [
        ("rsa", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        ("p256", &["ES256"]),
        ("p384", &["ES384"]),
        ("p521", &["ES512"]),
        ("ed25519", &["EdDSA"]),
    ] {
        for algorithm in algorithms {
            let jwks = signer().jwks(&[(key, algorithm)]);
            let (sidecar, _upstream) = with_keys(algorithm, "{ file: j.json }", "j.json", &jwks);
            accepted(&sidecar, &signer().sign(key, algorithm, &claims()));
        }
    }
}

#[test]
fn contract_keys_of_a_jwt_hmac_from_a_secret_file_less_one_newline() {
    for algorithm in ["HS256", "HS384", "HS512"] {
        let secret = format!("{}\n", signer().secret());
        let (sidecar, _upstream) = with_keys(algorithm, "{ secret_file: s }", "s", &secret);
        let token = signer().sign_with("secret", algorithm, &json!({}), &claims());
        accepted(&sidecar, &token);
        let other = signer().hmac_with(
            "another secret of enough bytes, or so it seems",
            &json!({"alg": algorithm, "typ": "JWT"}),
            &claims(),
        );
        refused(&sidecar, &other, "token_signature_bad");
    }
}

#[test]
fn contract_keys_of_a_jwt_pem_serves_any_kid_and_none() {
    let pem = signer().pem("p256");
    let (sidecar, _upstream) = with_keys("ES256", "{ file: key.pem }", "key.pem", &pem);
    accepted(&sidecar, &signer().sign("p256", "ES256", &claims()));
    accepted(&sidecar, &signer().sign_with("p256", "ES256", &json!({}), &claims()));
    let token = signer().sign("other-p256", "ES256", &claims());
    refused(&sidecar, &token, "token_signature_bad");
}

#[test]
fn contract_keys_of_a_jwt_ed25519_by_its_newer_name() {
    let jwks = signer().jwks(&[("ed25519", "Ed25519")]);
    let (sidecar, _upstream) = with_keys("Ed25519", "{ file: j.json }", "j.json", &jwks);
    let payload = claims().to_string();
    let header = r#"{"alg":"Ed25519","kid":"ed25519"}"#;
    accepted(&sidecar, &signer().sign_text("ed25519", header, &payload));
}

#[test]
fn contract_keys_of_a_jwt_tokens_signed_by_openssl() {
    if !has_openssl() {
        return eprintln!("openssl is not installed: PyJWT alone signs the tokens");
    }
    let (sidecar, _upstream) = started();
    let key = |name: &str| {
        let path = sidecar.sandbox.write(&format!("{name}.pem"), &signer().private_pem(name));
        path.to_string_lossy().into_owned()
    };
    let input = signing_input(&json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}), &claims());
    let signature = openssl(&["dgst", "-sha256", "-sign", &key("rsa")], input.as_bytes());
    accepted(&sidecar, &compact(&input, &signature));

    let input = signing_input(&json!({"alg": "EdDSA", "kid": "ed25519"}), &claims());
    let message = sidecar.sandbox.write("message", &input);
    let (key, message) = (key("ed25519"), message.to_string_lossy().into_owned());
    let sign = ["pkeyutl", "-sign", "-rawin", "-inkey", &key, "-in", &message];
    accepted(&sidecar, &compact(&input, &openssl(&sign, b"")));
}

#[test]
fn r301_to_r309_what_is_not_a_token_of_ours_is_refused() {
    let (sidecar, upstream) = started();
    let good = signer().sign("ed25519", "EdDSA", &claims());
    let parts: Vec<_> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let none = signing_input(&json!({"alg": "none"}), &claims());
    let ed = |header: &str| signer().sign_text("ed25519", header, &claims().to_string());
    for (token, reason) in [
        (format!("{none}."), "token_malformed"),
        (format!("{header}.{payload}"), "token_malformed"),
        (format!("{header}.{payload}."), "token_malformed"),
        (format!("{good}.x"), "token_malformed"),
        (format!("{good}.x.y"), "token_malformed"),
        (format!("{header}.{payload}.{signature}="), "token_malformed"),
        (format!("{header}.{payload}.{}", &signature[1..]), "token_malformed"),
        (format!("{header}.{payload}.{}", "A".repeat(86)), "token_signature_bad"),
        (ed(r#"{"alg":"EdDSA","kid":"ed25519","crit":[]}"#), "token_header_refused"),
        (ed(r#"{"alg":"EdDSA","kid":"ed25519","zip":"DEF"}"#), "token_header_refused"),
        (ed(r#"{"alg":"EdDSA","kid":"nobody"}"#), "token_key_unknown"),
        (ed(r#"{"alg":"RS256","kid":"ed25519"}"#), "token_algorithm_wrong"),
        (ed(r#"{"alg":"EdDSA","kid":"ed25519","kid":"rsa"}"#), "token_malformed"),
    ] {
        refused(&sidecar, &token, reason);
    }
    assert_eq!(upstream.requests().len(), 0, "nothing refused is forwarded");
}

#[test]
fn r302_no_encoding_of_a_public_key_is_a_secret() {
    let (sidecar, upstream) = started();
    for key in ["rsa", "p256", "ed25519"] {
        let pem = signer().pem(key);
        let secrets = [
            pem.trim_end().to_owned(),
            format!(" {pem}"),
            pem,
            signer().jwk(key, None).to_string(),
        ];
        for secret in secrets {
            for algorithm in ["HS256", "hs256", "HS512"] {
                let header = json!({"alg": algorithm, "kid": key, "typ": "JWT"});
                let token = signer().hmac_with(&secret, &header, &claims());
                let response = sidecar.get("/", &[("Authorization", &bearer(&token))]);
                assert_eq!(response.status, 401, "{key} {algorithm}");
            }
        }
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn r311_r312_claims_that_do_not_hold() {
    let (sidecar, upstream) = started();
    for (changes, reason) in [
        (&[("exp", json!(now() - 3600))][..], "token_expired"),
        (&[("exp", Value::Null)], "token_claim_bad"),
        (&[("exp", json!("soon"))], "token_claim_bad"),
        (&[("exp", json!(-1))], "token_claim_bad"),
        (&[("nbf", json!(now() + 3600))], "token_not_yet_valid"),
        (&[("aud", json!("other-api"))], "token_audience_wrong"),
        (&[("aud", json!([]))], "token_audience_wrong"),
        (&[("aud", Value::Null)], "token_audience_wrong"),
        (&[("iss", json!("https://login.example.com/"))], "token_issuer_unknown"),
        (&[("sub", Value::Null)], "token_claim_bad"),
        (&[("sub", json!(""))], "token_claim_bad"),
        (&[("sub", json!("a\nb"))], "token_claim_bad"),
        (&[("sub", json!("a".repeat(257)))], "token_claim_bad"),
        (&[("nonce", json!("n"))], "token_id_token"),
        (&[("token_use", json!("id"))], "token_id_token"),
    ] {
        // By key and text: PyJWT will not sign claims of the wrong type.
        let header = r#"{"alg":"EdDSA","kid":"ed25519"}"#;
        let token = signer().sign_text("ed25519", header, &with(changes).to_string());
        refused(&sidecar, &token, reason);
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn r310_a_name_twice_is_refused() {
    let (sidecar, _upstream) = started();
    let payload = claims().to_string();
    let twice = payload.replacen('{', r#"{"sub":"root","#, 1);
    let header = r#"{"alg":"EdDSA","kid":"ed25519"}"#;
    refused(&sidecar, &signer().sign_text("ed25519", header, &twice), "token_malformed");
    let escaped = payload.replacen('{', r#"{"\u0073ub":"root","#, 1);
    refused(&sidecar, &signer().sign_text("ed25519", header, &escaped), "token_malformed");
}

#[test]
fn r313_only_listed_types_are_access_tokens() {
    let (sidecar, _upstream) = started();
    for (kind, good) in
        [("at+jwt", true), ("application/AT+JWT", true), ("jwt", true), ("logout+jwt", false)]
    {
        let header = json!({"alg": "EdDSA", "kid": "ed25519", "typ": kind}).to_string();
        let token = signer().sign_text("ed25519", &header, &claims().to_string());
        if good {
            accepted(&sidecar, &token);
        } else {
            refused(&sidecar, &token, "token_header_refused");
        }
    }
}

#[test]
fn contract_configuration_max_lifetime_and_scope_cap() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let capped = "    keys: { file: jwks.json }\n    max_lifetime: 10m\n    scopes: [write]\n";
    let config = config.replace("    keys: { file: jwks.json }\n", capped);
    let sidecar = sandbox.start(&format!("{config}{ROUTES}"));
    refused(&sidecar, &signer().sign("rsa", "RS256", &claims()), "token_lifetime_too_long");
    let short = with(&[("exp", json!(now() + 300))]);
    let token = signer().sign("rsa", "RS256", &short);
    let response = sidecar.get("/", &[("Authorization", &bearer(&token))]);
    assert_eq!(response.status, 403, "this issuer may not grant read");
    assert_eq!(sidecar.why(&response)["reason"], "scope_missing");
}
