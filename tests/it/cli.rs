//! Contract, "Commands": exit codes, help, and mistakes with their places.

use serde_json::json;

use crate::support::{Sandbox, files_below, root, signer, standard};

const HEAD: &str = "listeners: [{ address: \"127.0.0.1:0\" }]\n";
const ROUTES: &str = "routes: [{ path: /**, access: anonymous }]\n";

#[test]
fn contract_commands_check_accepts_what_run_accepts() {
    let (sandbox, config) = standard("http://127.0.0.1:1");
    sandbox.write("gatepost.yaml", &format!("{HEAD}{config}{ROUTES}"));
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!((run.exit, run.stderr.as_str()), (0, ""), "{run:?}");
    assert!(run.stdout.contains("ok") && run.stdout.contains("1 route"), "{run:?}");
}

#[test]
fn contract_commands_check_names_every_mistake_by_place() {
    let (sandbox, config) = standard("http://127.0.0.1:1");
    let mistaken = "\
routes:
  - { path: /a, acces: anonymous }
  - { path: /b }
  - { path: /c, access: anonymous, limits: [nobody] }
  - { path: c, access: anonymous }
limits: { x: { rate: fast, burst: 1, by: principal } }
";
    let yaml = format!("{HEAD}{config}{mistaken}");
    sandbox.write("gatepost.yaml", &yaml);
    sandbox.write("keys.yaml", "keys:\n  - { id: a, digest: nonsense }\n");
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!((run.exit, run.stdout.as_str()), (78, ""), "{run:?}");
    let line = 1 + yaml.lines().position(|line| line == "routes:").unwrap();
    for (offset, path) in [
        (1, "routes[0]"),
        (2, "routes[1]"),
        (3, "routes[2].limits[0]"),
        (4, "routes[3].path"),
        (5, "limits.x.rate"),
    ] {
        let place = format!("gatepost.yaml:{}:", line + offset);
        let found = run.stderr.lines().any(|one| one.contains(&place) && one.contains(path));
        assert!(found, "{place} {path}: {}", run.stderr);
    }
    let again = sandbox.run(&["run", "--config", "gatepost.yaml"]);
    assert_eq!(again.exit, 78, "run refuses what check refuses: {again:?}");
    assert!(again.stderr.contains("routes[3].path"), "{again:?}");
}

#[test]
fn contract_commands_check_of_files_that_are_not_there_or_broken() {
    let (sandbox, config) = standard("http://127.0.0.1:1");
    sandbox.write("gatepost.yaml", &format!("{HEAD}{config}{ROUTES}"));
    sandbox.write("keys.yaml", "keys:\n  - { id: a, digest: nonsense }\n");
    std::fs::remove_file(sandbox.path("jwks.json")).unwrap();
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 78, "{run:?}");
    assert!(run.stderr.contains("keys.yaml:2:"), "{run:?}");
    assert!(run.stderr.contains("jwks.json"), "{run:?}");
    std::fs::remove_file(sandbox.path("keys.yaml")).unwrap();
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert!(run.stderr.contains("keys.yaml --name NAME` makes it"), "{run:?}");
    let run = sandbox.run(&["check", "--config", "nowhere.yaml"]);
    assert_eq!(run.exit, 78, "{run:?}");
    assert!(run.stderr.contains("nowhere.yaml"), "{run:?}");
    for empty in ["", "# nothing\n", "---\n"] {
        sandbox.write("empty.yaml", empty);
        assert_eq!(sandbox.run(&["check", "--config", "empty.yaml"]).exit, 78, "{empty:?}");
    }
}

#[test]
fn contract_configuration_what_is_not_built_is_refused() {
    let (sandbox, config) = standard("http://127.0.0.1:1");
    let good = format!("{HEAD}{config}{ROUTES}");
    for (from, to) in [
        ("127.0.0.1:0\" }", "127.0.0.1:0\", protocols: [h2] }"),
        ("http://127.0.0.1:1", "h2c://127.0.0.1:1"),
    ] {
        let yaml = good.replace(from, to);
        assert_ne!(yaml, good, "{from}");
        sandbox.write("gatepost.yaml", &yaml);
        let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
        assert_eq!(run.exit, 78, "{to}: {run:?}");
        assert!(run.stderr.contains("available"), "{to}: {run:?}");
    }
}

#[test]
fn contract_configuration_secrets_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (sandbox, config) = standard("http://127.0.0.1:1");
    let pepper = sandbox.write("pepper.txt", "0123456789abcdef0123456789abcdef");
    std::fs::set_permissions(&pepper, PermissionsExt::from_mode(0o644)).unwrap();
    let config =
        config.replace("files: [keys.yaml]", "files: [keys.yaml], peppers: { p: pepper.txt }");
    sandbox.write("gatepost.yaml", &format!("{HEAD}{config}{ROUTES}"));
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 78, "{run:?}");
    assert!(run.stderr.contains("chmod"), "the remedy: {run:?}");
    // As a secret volume of Kubernetes lays it out; chmod would not help there.
    std::os::unix::fs::symlink(".", sandbox.path("..data")).unwrap();
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 78, "{run:?}");
    assert!(run.stderr.contains("defaultMode: 0440") && !run.stderr.contains("chmod"), "{run:?}");
    std::fs::set_permissions(&pepper, PermissionsExt::from_mode(0o440)).unwrap();
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert!(!run.stderr.contains("pepper.txt"), "{run:?}");
    std::fs::set_permissions(&pepper, PermissionsExt::from_mode(0o644)).unwrap();
    sandbox.write("gatepost.yaml", &format!("{HEAD}insecure_file_modes: true\n{config}{ROUTES}"));
    let run = sandbox.run(&["check", "--config", "gatepost.yaml"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(run.stderr.contains("insecure_file_modes"), "named at start: {run:?}");
}

#[test]
fn contract_commands_bad_usage_is_2_and_help_is_0() {
    let sandbox = Sandbox::new();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["run"],
        &["run", "--config", "x", "--upgrade"],
        &["check"],
        &["why"],
        &["user", "list"],
        &["app", "create"],
        &["token", "list"],
        &["plugin", "run", "x", "--", "y"],
        &["explain", "--config", "x", "--method", "G T", "--path", "/"],
        &["explain", "--config", "x", "--method", "GET", "--path", "/", "--header", "nonsense"],
    ] {
        let run = sandbox.run(arguments);
        assert_eq!(run.exit, 2, "{arguments:?}: {run:?}");
        assert!(run.stderr.starts_with("gatepost: ") || run.stderr.contains("Usage"), "{run:?}");
        assert_eq!(run.stdout, "", "{run:?}");
    }
    for command in [
        "demo",
        "run",
        "check",
        "explain",
        "why",
        "status",
        "reload",
        "key",
        "schema",
        "completions",
        "man",
    ] {
        let run = sandbox.run(&[command, "--help"]);
        assert_eq!(run.exit, 0, "{run:?}");
        assert!(run.stdout.contains("gatepost "), "{run:?}");
    }
    let run = sandbox.run(&["--version"]);
    assert_eq!((run.exit, run.stdout.trim()), (0, concat!("gatepost ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn contract_commands_generated_texts() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = sandbox.run(&["completions", shell]);
        assert_eq!(run.exit, 0, "{run:?}");
        assert!(run.stdout.contains("explain"), "{shell}");
    }
    let run = sandbox.run(&["man"]);
    assert!(run.exit == 0 && run.stdout.contains(".TH gatepost"), "{run:?}");
    let run = sandbox.run(&["man", "--out", "no-such-folder"]);
    assert!(run.exit == 2 && run.stderr.contains("--out"), "{run:?}");
    let run = sandbox.run(&["man", "--out", "."]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(
        files_below(&sandbox.path(""), "gatepost-key-create.1").len() == 1,
        "one page per command"
    );
    let run = sandbox.run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    for key in ["listeners", "routes", "issuers", "api_keys", "limits"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn contract_configuration_every_example_passes_check() {
    // With what an operator would put beside them.
    let (sandbox, _) = standard("http://127.0.0.1:1");
    sandbox.write("jwks.json", &signer().jwks(&[("rsa", "RS256")]));
    sandbox.write("pepper.txt", "0123456789abcdef0123456789abcdef");
    sandbox
        .write("partner.key", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    sandbox.write("admin.token", "0123456789abcdef0123456789abcdef\n");
    sandbox.write("token", "a.bearer.token\n");
    sandbox.write("introspection.secret", "0123456789abcdef\n");
    sandbox.write("shop.secret", "0123456789abcdef\n");
    sandbox.write("pepper-1.key", "0123456789abcdef0123456789abcdeg");
    sandbox.write("pepper-2.key", "0123456789abcdef0123456789abcdeh");
    sandbox.write("partners.jsonl", "");
    sandbox.write("revoked.yaml", "revoked: []\n");
    sandbox.write("ca.pem", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
    sandbox.certificates(&json!([{ "name": "api", "dns": ["api.example"] }]));
    for authority in ["ca.pem", "clients-ca.crt"] {
        std::fs::copy(sandbox.path("api.crt"), sandbox.path(authority)).unwrap();
    }
    let examples = files_below(&root().join("config"), ".yaml");
    assert!(!examples.is_empty(), "config/ has examples");
    for example in examples {
        let name = example.file_name().unwrap().to_string_lossy().into_owned();
        sandbox.write(&name, &std::fs::read_to_string(&example).unwrap());
        let run = sandbox.run(&["check", "--config", &name]);
        assert_eq!(run.exit, 0, "{name}: {run:?}");
    }
}

#[test]
fn contract_commands_a_stranger_reads_what_to_do() {
    let sandbox = Sandbox::new();
    // A command without its subcommand shows its help, without a prefix.
    for command in ["key", "revocations", "issuer"] {
        let run = sandbox.run(&[command]);
        assert_eq!((run.exit, &*run.stdout), (2, ""), "{run:?}");
        assert!(!run.stderr.starts_with("gatepost:"), "{run:?}");
        assert!(run.stderr.contains("Usage: gatepost") && run.stderr.contains("Commands:"));
    }
    for (arguments, exit, said) in [
        (&["key", "list", "--file", "none.yaml"][..], 78, "no such file; `gatepost key create`"),
        (&["revocations", "delete", "zz", "-c", "g.yaml"], 2, "expected 32 hexadecimal digits"),
        (
            &["key", "create", "--file", "k.yaml", "--name", "a", "--expires", "5x"],
            2,
            "write a duration such as 90d, RFC 3339",
        ),
    ] {
        let run = sandbox.run(arguments);
        assert_eq!(run.exit, exit, "{run:?}");
        assert!(run.stderr.contains(said), "{run:?}");
    }
    let made =
        sandbox.run(&["key", "create", "--file", "k.yaml", "--name", "a", "--expires", "9d"]);
    assert_eq!(made.exit, 0, "{made:?}");
    assert!(made.stderr.contains(" subject \"key:") && made.stderr.contains(", expires 2"));
}
