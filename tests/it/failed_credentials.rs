//! Contract, "Failed credentials": the budget of an address, from the outside.

use serde_json::json;

use crate::support::{
    Client, KEY, Recorder, Sandbox, Sidecar, bearer, claims, compact, signer, signing_input,
    standard,
};

const ROUTES: &str = "\
failed_credentials: { rate: 1/h, burst: 3 }
routes:
  - { path: /open, access: anonymous }
  - { path: /**, name: all, access: { scopes: [read] } }
";

/// A sidecar behind a trusted proxy that forwards the client address, and a `gp_` key.
fn started(trusted: &str) -> (Sidecar, Recorder, String) {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let key = own_key(&sandbox);
    let sidecar = sandbox.start_tcp(&format!("{config}trusted_proxies: [{trusted}]\n{ROUTES}"));
    (sidecar, upstream, key)
}

/// A `gp_` key, in the key file beside the one of another maker.
fn own_key(sandbox: &Sandbox) -> String {
    let create = ["key", "create", "--name", "own", "--scope", "read", "--file", "keys.yaml"];
    let run = sandbox.run(&create);
    assert_eq!(run.exit, 0, "{run:?}");
    let mut words = run.stdout.split_whitespace().map(|word| word.trim_matches('"'));
    words.rfind(|word| word.starts_with("gp_key_")).expect("the key, once").to_owned()
}

/// One request of a client at `address`.
#[track_caller]
fn get(client: &mut Client, address: &str, fields: &[(&str, &str)]) -> u16 {
    let fields = [&[("X-Forwarded-For", address)], fields].concat();
    client.exchange("GET", "/x", &fields).status
}

fn good() -> String {
    bearer(&signer().sign("rsa", "RS256", &claims()))
}

/// One of each failure that counts.
fn guesses() -> Vec<String> {
    let good = good();
    let mut elsewhere = claims();
    elsewhere["iss"] = "https://evil.example".into();
    let header = json!({"kid": "rsa", "crit": ["x"], "x": 1});
    vec![
        format!("{}AAAA", &good[..good.len() - 4]),
        bearer(&signer().sign_with("other-rsa", "RS256", &json!({"kid": "rsa"}), &claims())),
        bearer(&signer().sign("rsa", "RS256", &elsewhere)),
        bearer(&signer().sign_with("rsa", "RS256", &header, &claims())),
        bearer(&signer().hmac_with(&signer().pem("rsa"), &json!({"kid": "rsa"}), &claims())),
        "Bearer e30.e30.AA".to_owned(),
    ]
}

#[test]
fn contract_failed_credentials_after_the_burst_an_address_gets_429_for_new_work() {
    let (sidecar, upstream, own) = started("127.0.0.0/8");
    let mut client = sidecar.connect();
    let (good, guesses) = (good(), guesses());
    let authorization = |value| [("Authorization", value)];
    for (number, guess) in guesses.iter().enumerate() {
        let address = format!("192.0.2.{number}");
        for _ in 0..3 {
            assert_eq!(get(&mut client, &address, &authorization(&**guess)), 401, "{guess}");
        }
        assert_eq!(get(&mut client, &address, &authorization(&**guess)), 429, "{guess}");
        assert_eq!(get(&mut client, &address, &authorization(&*good)), 429, "{guess}");
        assert_eq!(get(&mut client, &address, &[("X-API-Key", KEY)]), 429, "hashed and looked up");
        assert_eq!(get(&mut client, &address, &[("X-API-Key", &own)]), 200, "a gp_ key passes");
        // What needs no work is answered as ever.
        assert_eq!(get(&mut client, &address, &[]), 401);
        let forwarded = [("X-Forwarded-For", &*address)];
        assert_eq!(client.exchange("GET", "/open", &forwarded).status, 200);
    }
    // Other addresses are not affected.
    assert_eq!(get(&mut client, "198.51.100.1", &authorization(&*good)), 200);
    assert_eq!(upstream.last().field("x-auth-subject"), Some("ada"));
    let refused = 3.0 * guesses.len() as f64;
    assert_eq!(sidecar.metric("gatepost_failed_credentials_throttled_total"), refused);
    let series = "gatepost_rejections_total{reason=\"failed_credentials_spent\",route=\"all\"}";
    assert_eq!(sidecar.metric(series), refused);
}

#[test]
fn contract_failed_credentials_the_answer_says_when_to_come_back() {
    let (sidecar, _upstream, _own) = started("127.0.0.0/8");
    let forged = bearer("e30.e30.AA");
    let fields = [("Authorization", &*forged), ("X-Forwarded-For", "192.0.2.1")];
    for _ in 0..3 {
        assert_eq!(sidecar.get("/x", &fields).status, 401);
    }
    let response = sidecar.get("/x", &fields);
    assert_eq!((response.status, response.code()), (429, "rate_limited".to_owned()));
    let wait: u64 = response.field("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(response.field("www-authenticate"), None);
    let why = sidecar.why(&response);
    assert_eq!(why["reason"], "failed_credentials_spent", "{why}");
    assert_eq!(why["address"], "192.0.2.1", "{why}");
}

#[test]
fn r1005_guessed_keys_count_and_a_bad_checksum_does() {
    let (sidecar, _upstream, own) = started("127.0.0.0/8");
    let mut client = sidecar.connect();
    let last = if own.ends_with('x') { 'y' } else { 'x' };
    let typo = format!("{}{last}", &own[..own.len() - 1]);
    for (address, guess) in [("192.0.2.1", "a-key-of-nobody-at-all"), ("192.0.2.2", &*typo)] {
        for _ in 0..3 {
            assert_eq!(get(&mut client, address, &[("X-API-Key", guess)]), 401, "{guess}");
        }
        assert_eq!(get(&mut client, address, &[("Authorization", &good())]), 429, "{guess}");
        assert_eq!(get(&mut client, address, &[("X-API-Key", &own)]), 200, "{guess}");
    }
}

#[test]
fn contract_failed_credentials_missing_expired_and_refused_ones_never_count() {
    let (sidecar, _upstream, own) = started("127.0.0.0/8");
    let mut client = sidecar.connect();
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = claims();
        claims[name] = value;
        bearer(&signer().sign("rsa", "RS256", &claims))
    };
    let (expired, scopeless) = (changed("exp", 1.into()), changed("scope", "other".into()));
    let (early, elsewhere) =
        (changed("nbf", 4_000_000_000_u64.into()), changed("aud", "elsewhere".into()));
    for _ in 0..10 {
        assert_eq!(get(&mut client, "192.0.2.1", &[]), 401);
        for (token, status) in
            [(&expired, 401), (&scopeless, 403), (&early, 401), (&elsewhere, 401)]
        {
            assert_eq!(get(&mut client, "192.0.2.1", &[("Authorization", token)]), status);
        }
        let twice = [("X-API-Key", &*own), ("X-API-Key", &*own)];
        assert_eq!(get(&mut client, "192.0.2.1", &twice), 400);
    }
    assert_eq!(get(&mut client, "192.0.2.1", &[("Authorization", &good())]), 200);
}

#[test]
fn contract_failed_credentials_shapes_of_honest_tokens_never_count() {
    let upstream = Recorder::start();
    let sandbox = Sandbox::new();
    // Two keys of one algorithm: a token without kid could be of either.
    let keys = signer().jwks(&[("p256", "ES256"), ("other-p256", "ES256")]);
    sandbox.write("jwks.json", &keys);
    let config = format!(
        "upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         issuers: [{{ issuer: \"https://login.example.com\", audiences: [orders-api], \
         algorithms: [ES256, RS256], keys: {{ file: jwks.json }} }}]\n\
         defaults: {{ upstream: app }}\ntrusted_proxies: [127.0.0.0/8]\n{ROUTES}",
        upstream.url()
    );
    let sidecar = sandbox.start_tcp(&config);
    let mut client = sidecar.connect();
    let mut groups = claims();
    groups["groups"] = "g".repeat(9_000).into();
    let long = bearer(&signer().sign("p256", "ES256", &groups));
    let without_kid = bearer(&signer().sign_with("p256", "ES256", &json!({}), &claims()));
    let rotated = bearer(&signer().sign("rsa", "RS256", &claims()));
    let colleague = || bearer(&signer().sign("p256", "ES256", &claims()));
    for (honest, reason) in [
        (long, "token_too_long"),
        (without_kid, "token_key_unknown"),
        (rotated, "token_key_unknown"),
    ] {
        for _ in 0..160 {
            assert_eq!(get(&mut client, "192.0.2.1", &[("Authorization", &honest)]), 401);
        }
        assert_eq!(get(&mut client, "192.0.2.1", &[("Authorization", &colleague())]), 200);
        let fields = [("Authorization", &*honest), ("X-Forwarded-For", "192.0.2.1")];
        assert_eq!(sidecar.why(&sidecar.get("/x", &fields))["reason"], reason);
    }
}

#[test]
fn r1005_invented_keys_count_after_more_than_any_rotation_brings() {
    let (sidecar, _upstream, _own) = started("127.0.0.0/8");
    let mut client = sidecar.connect();
    let mut statuses = (0..300).map(|number| {
        let header = json!({ "alg": "RS256", "kid": format!("invented-{number}") });
        let token = bearer(&compact(&signing_input(&header, &claims()), &[1; 256]));
        get(&mut client, "192.0.2.1", &[("Authorization", &token)])
    });
    assert_eq!(statuses.position(|status| status == 429), Some(259), "256 new keys and the burst");
}

#[test]
fn contract_failed_credentials_near_peers_are_exempt_while_nobody_is_trusted() {
    let (sidecar, _upstream, _own) = started("");
    let mut client = sidecar.connect();
    let forged = bearer("e30.e30.AA");
    for number in 0..20 {
        // Without a trusted proxy the field is only the client's word.
        let lie = format!("192.0.2.{}", number % 2);
        assert_eq!(get(&mut client, &lie, &[("Authorization", &forged)]), 401);
    }
    assert_eq!(get(&mut client, "192.0.2.1", &[("Authorization", &good())]), 200);
    let says = |said: String| said.contains("trusted_proxies is empty").then_some(());
    crate::support::eventually("the start to say so", || says(sidecar.stderr()));
    assert_eq!(sidecar.metric("gatepost_failed_credentials_throttled_total"), 0.0);
}

#[test]
fn contract_failed_credentials_are_kept_over_a_reload() {
    let (sidecar, _upstream, _own) = started("127.0.0.0/8");
    let mut client = sidecar.connect();
    let forged = bearer("e30.e30.AA");
    for _ in 0..3 {
        assert_eq!(get(&mut client, "192.0.2.1", &[("Authorization", &forged)]), 401);
    }
    assert_eq!(sidecar.reload().status, 200);
    assert_eq!(get(&mut client, "192.0.2.1", &[("Authorization", &forged)]), 429);
}
