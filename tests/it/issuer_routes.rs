//! The issuer's routes: check and explain.

use crate::support::Sandbox;

#[test]
fn contract_issuer_check_names_its_routes() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "gatepost.yaml",
        "listeners: [{ address: '127.0.0.1:0' }]\nupstreams: { app: { url: 'http://127.0.0.1:1' } }\n\
         issuer: { url: 'https://api.example.com' }\n\
         routes: [{ path: /oauth/**, access: authenticated }, { path: /b, access: anonymous }]\n",
    );
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0, "{}", run.stderr);
    assert!(run.stdout.contains("0 issuers, 0 API keys, 0 limits, 2 routes"), "{}", run.stdout);
    let accepted =
        "issuer https://api.example.com: its credentials are accepted on these routes: /oauth/**\n";
    assert!(run.stdout.contains(accepted), "{}", run.stdout);
    let lost = "the issuer takes these paths from route /oauth/**: /oauth/authorize, /oauth/token,";
    assert!(run.stdout.contains(lost), "{}", run.stdout);
    let explain = |fields: &[&str]| {
        let arguments = ["explain", "-c", "gatepost.yaml", "--method", "GET", "--path", "/oauth/x"];
        sandbox.run(&[&arguments, fields].concat())
    };
    for field in ["Authorization: Bearer gp_pat_x", "X-API-Key: key"] {
        let explained = explain(&["--header", field]);
        assert!(explained.exit == 1 && explained.stderr.contains("use --live"), "{explained:?}");
    }
    let explained = explain(&[]);
    assert!(explained.exit == 1 && !explained.stderr.contains("use --live"), "{explained:?}");
    let explained = sandbox.run(&[
        "explain",
        "-c",
        "gatepost.yaml",
        "--method",
        "POST",
        "--host",
        "api.example.com",
        "--path",
        "/oauth/token",
    ]);
    assert!(
        explained.stdout.contains("issuer.token") && explained.exit == 0,
        "{}",
        explained.stdout
    );
}
