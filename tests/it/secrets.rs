//! no credential in anything we write, however it was presented.

use serde_json::json;

use crate::support::{
    KEY, Recorder, Sandbox, bearer, claims, head, signer, signing_input, standard,
};

#[test]
fn r902_canaries_are_in_no_output() {
    let upstream = Recorder::start();
    let (sandbox, config) = standard(upstream.url());
    let pepper = "canary-pepper-0123456789abcdef";
    let secret = "canary-hmac-secret-0123456789abcdef";
    sandbox.write("pepper.txt", pepper);
    sandbox.write("hmac.key", secret);
    sandbox.write("admin.token", "canary-admin-token-0123456789abcdef\n");
    let config = config
        .replace("files: [keys.yaml]", "files: [keys.yaml], peppers: { p: pepper.txt }")
        .replace("issuers:\n", "issuers:\n  - { issuer: \"https://hmac.example\", audiences: [orders-api], algorithms: [HS256], keys: { secret_file: hmac.key } }\n");
    let routes = "\
limits: { few: { rate: 1/h, burst: 1, by: credential } }
routes:
  - { path: /few, access: { scopes: [read] }, limits: [few] }
  - { path: /admin, access: { scopes: [admin] } }
  - { path: /down, access: anonymous, upstream: down }
  - { path: /keep, access: { scopes: [read] }, forward_credential: true }
  - { path: /**, access: { scopes: [read] } }
";
    let config = config
        .replace("upstreams: { app", "upstreams: { down: { url: \"unix:@dir@/nobody\" }, app");
    let sidecar = sandbox.start(&format!("{config}{routes}"));
    let good = signer().sign("ed25519", "EdDSA", &claims());
    let mut expired = claims();
    expired["exp"] = 1.into();
    let expired = signer().sign("rsa", "RS256", &expired);
    let unknown = format!(
        "{}.{}",
        signing_input(&json!({"alg": "EdDSA", "kid": "canary-kid"}), &claims()),
        "c".repeat(86)
    );
    let tokens = [good, expired, unknown, "canary-token".to_owned(), "a.b.canary-part".to_owned()];
    let keys = [
        KEY.to_owned(),
        "canary-unknown-key-0123456789".to_owned(),
        format!("gp_key_canary{}", "0".repeat(43)),
    ];
    let mut responses = Vec::new();
    for path in
        ["/", "/few", "/few", "/admin", "/down", "/keep", "/nowhere?token=canary-query", "/%2e%2e"]
    {
        for token in &tokens {
            responses.push(
                sidecar
                    .get(path, &[("Authorization", &bearer(token)), ("Cookie", "s=canary-cookie")]),
            );
            responses.push(sidecar.get(path, &[("Authorization", &format!("Basic {token}"))]));
            responses.push(sidecar.get(path, &[("Authorization", token)]));
        }
        for key in &keys {
            responses.push(sidecar.get(path, &[("X-API-Key", key)]));
            responses.push(sidecar.get(path, &[("X-API-Key", key), ("X-API-Key", key)]));
        }
    }
    // What cannot be parsed, and what ends in the middle.
    for garbage in [
        "GET /?canary-query HTTP/1.1\r\nAuthorization: Bearer canary-broken\nX\r\n\r\n",
        "canary-line\r\n\r\n",
    ] {
        sidecar.connect().send(garbage).finish().is_closed();
    }
    sidecar
        .connect()
        .send(&head("GET", "/?canary-query", &[("Authorization", "Bearer canary-cut")])[..60]);

    let mut outputs = Vec::new();
    for response in &responses {
        outputs.push(response.text());
        outputs.extend(response.fields.iter().map(|(name, value)| format!("{name}: {value}")));
        if response.status >= 400 {
            outputs.push(sidecar.why(response).to_string());
        }
    }
    sidecar.log_line(responses.last().unwrap());
    let config = ["--config", "gatepost.yaml"];
    for command in [&["status"][..], &["status", "--json"], &["check"], &["reload"]] {
        let run = sidecar.sandbox.run(&[command, &config].concat());
        outputs.push(format!("{run:?}"));
    }
    for credential in tokens
        .iter()
        .map(|token| format!("Authorization: Bearer {token}"))
        .chain(keys.iter().map(|key| format!("X-API-Key: {key}")))
    {
        for live in [&[][..], &["--live"]] {
            let explain = ["explain", "--method", "GET", "--path", "/", "--header", &credential];
            outputs.push(format!(
                "{:?}",
                sidecar.sandbox.run(&[&explain[..], &config, live].concat())
            ));
        }
    }
    outputs.extend([sidecar.metrics(), sidecar.stdout(), sidecar.stderr()]);

    let signatures =
        tokens.iter().map(|token| token.rsplit('.').next().unwrap_or(token).to_owned());
    let payloads = tokens
        .iter()
        .filter_map(|token| token.split('.').nth(1))
        .filter(|part| part.len() > 8)
        .map(str::to_owned);
    let mut canaries: Vec<String> =
        signatures.chain(payloads).chain(keys.iter().cloned()).collect();
    canaries.extend([pepper.to_owned(), secret.to_owned()]);
    canaries.extend(
        ["canary-query", "canary-cookie", "canary-broken", "canary-cut", "canary-admin"]
            .map(str::to_owned),
    );
    for output in &outputs {
        for canary in &canaries {
            assert!(!output.contains(canary.as_str()), "{canary} is in: {output}");
        }
    }
}

#[test]
fn r902_a_mistake_does_not_quote_a_secret() {
    let (sandbox, config) = standard("http://127.0.0.1:1");
    let sandbox: Sandbox = sandbox;
    sandbox.write(
        "keys.yaml",
        "keys:\n  - { id: a, digest: canary-digest }\n  - canary-key-pasted-here\n",
    );
    sandbox.write(
        "jwks.json",
        "{\"keys\": [{\"kty\": \"oct\", \"k\": \"canary-secret-in-a-jwks\"}, canary",
    );
    sandbox.write("pepper.txt", "canary");
    let config =
        config.replace("files: [keys.yaml]", "files: [keys.yaml], peppers: { p: pepper.txt }");
    let head = "listeners: [{ address: \"unix:@dir@/p.sock\" }]\n";
    let routes = "routes: [{ path: /, access: anonymous }]\n";
    sandbox.write("gatepost.yaml", &format!("{head}{config}{routes}"));
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 78, "{run:?}");
    for secret in ["canary-secret-in-a-jwks", "canary-key-pasted-here"] {
        assert!(!run.stderr.contains(secret), "{run:?}");
    }
}
