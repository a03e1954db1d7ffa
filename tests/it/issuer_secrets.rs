//! R-902 for the issuer: each secret that it issues or is configured with, in nothing that it writes.
//!
//! Every secret is issued, used where it belongs and presented where it does not; then each output
//! is searched for all of them. A digest or a sealed record in the store is no secret.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::support::{Recorder, Response, Sandbox, Sidecar, files_below, head};

const DECLARED: &str = "canary-secret-of-the-configuration-0001";
const CHECKING: &str = "canary-secret-of-the-configuration-0002";
/// In the form of a client secret, and unknown.
const GUESSED: &str = "gp_cs_canaryCANARYcanaryCANARYcanaryCANARYcanaryCANARY0";

fn start(upstream: &Recorder) -> Sidecar {
    let sandbox = Sandbox::new().with_log_level("debug");
    sandbox.write("sync.secret", &format!("{DECLARED}\n"));
    sandbox.write("check.secret", &format!("{CHECKING}\n"));
    sandbox.start(&format!(
        "state_dir: '@dir@/state'
issuer:
  url: https://api.example.com
  access_tokens: {{ algorithm: ES256 }}
  applications:
    - {{ id: sync, secret_files: [sync.secret], grants: [client_credentials], scopes: [read] }}
    - {{ id: check, secret_files: [check.secret], grants: [client_credentials], introspect: true }}
upstreams: {{ app: {{ url: \"{}\" }} }}
defaults: {{ upstream: app }}
routes:
  - {{ path: /api/**, access: {{ scopes: [read] }} }}
  - {{ path: /admin/**, access: {{ scopes: [write] }} }}
",
        upstream.url()
    ))
}

/// The secrets by name, and everything that was written.
struct Search<'a> {
    sidecar: &'a Sidecar,
    secrets: Vec<(String, String)>,
    outputs: Vec<(String, String)>,
}

impl Search<'_> {
    /// Runs a command, whose standard output may hold the secret that it makes.
    fn make(&mut self, arguments: &[&str]) -> Value {
        let tail = ["--config", "gatepost.yaml", "--output", "json"];
        let run = self.sidecar.sandbox.run(&[arguments, &tail].concat());
        assert_eq!(run.exit, 0, "{arguments:?}: {run:?}");
        self.outputs.push((format!("standard error of {arguments:?}"), run.stderr));
        let made: Value = serde_json::from_str(&run.stdout).unwrap();
        for member in ["key", "token", "client_secret"] {
            if let Some(secret) = made[member].as_str() {
                self.secrets.push((format!("{member} of {arguments:?}"), secret.to_owned()));
            }
        }
        made
    }

    /// Runs a command that shows, and makes nothing.
    fn show(&mut self, arguments: &[&str]) {
        let run = self.sidecar.sandbox.run(&[arguments, &["--config", "gatepost.yaml"]].concat());
        self.outputs.push((format!("{arguments:?}"), format!("{run:?}")));
    }

    /// A request to the public listener; its answer is searched, with the account of a refusal.
    fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)], form: &str) -> Response {
        let length = form.len().to_string();
        let own = [
            ("Host", "api.example.com"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", &length),
        ];
        let fields = [&own[..], fields].concat();
        let mut client = self.sidecar.connect();
        client.send(head(method, target, &fields)).send(form);
        let answer = client.response();
        if answer.status >= 400 {
            let why = self.sidecar.why(&answer).to_string();
            self.outputs.push((format!("why {target}"), why));
            self.outputs.push((format!("error of {target}"), answer.text()));
        }
        let shown = answer.fields.iter().map(|(name, value)| format!("{name}: {value}\n"));
        self.outputs.push((format!("fields of {target}"), shown.collect()));
        answer
    }

    fn token(&mut self, client: &str, secret: &str) {
        let form =
            format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
        let answer = self.ask("POST", "/oauth/token", &[], &form);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let signature = token.rsplit('.').next().unwrap().to_owned();
        self.secrets.push((format!("access token of {client}"), signature));
        self.present(&token);
    }

    /// Presents a secret wherever a careless client may put it. Not in a path, which is logged.
    fn present(&mut self, secret: &str) {
        let bearer = format!("Bearer {secret}");
        let basic = format!("Basic {}", STANDARD.encode(format!("sync:{secret}")));
        for target in ["/api/x", "/admin/x", "/nowhere", "/oauth/introspect"] {
            for field in [
                ("Authorization", &*bearer),
                ("Authorization", &basic),
                ("Authorization", secret),
                ("X-API-Key", secret),
                ("Cookie", &format!("session={secret}")),
            ] {
                self.ask("POST", target, &[field], "");
            }
        }
        let query = format!("/oauth/token?client_secret={secret}&token={secret}");
        self.ask("POST", &query, &[], "");
        for form in [
            format!("grant_type=client_credentials&client_id=sync&client_secret={secret}"),
            format!("grant_type={secret}&scope={secret}"),
            format!("grant_type=client_credentials&client_id={secret}&client_secret=x"),
            format!("grant_type=refresh_token&refresh_token={secret}&code={secret}"),
            format!("client_secret={secret}&client_secret={secret}"),
            format!("%{secret}"),
        ] {
            self.ask("POST", "/oauth/token", &[], &form);
        }
        let form = format!("token={secret}&client_id=check&client_secret={CHECKING}");
        self.ask("POST", "/oauth/introspect", &[], &form);
        let form = format!("token={secret}&client_id=sync&client_secret={DECLARED}");
        self.ask("POST", "/oauth/revoke", &[], &form);
        let header = format!("Authorization: Bearer {secret}");
        for live in [&[][..], &["--live"]] {
            let words = ["explain", "--method", "GET", "--path", "/api/x", "--header", &header];
            let run = self
                .sidecar
                .sandbox
                .run(&[&words[..], &["--config", "gatepost.yaml"], live].concat());
            self.outputs.push(("explain".to_owned(), format!("{run:?}")));
        }
    }

    /// The files of the configuration and of `state_dir` that are secrets.
    fn files(&mut self) {
        self.secrets.extend([DECLARED, CHECKING, GUESSED].map(|it| (it.to_owned(), it.to_owned())));
        let token = fs::read_to_string(self.sidecar.sandbox.path("state/admin.token")).unwrap();
        self.secrets.push(("admin token".to_owned(), token.trim_end().to_owned()));
        let pepper = fs::read(self.sidecar.sandbox.path("state/pepper-p1.key")).unwrap();
        let hex: String = pepper.iter().map(|byte| format!("{byte:02x}")).collect();
        // As bytes: each byte is the character of that number, as in the files below.
        let texts =
            [hex, STANDARD.encode(&pepper), URL_SAFE_NO_PAD.encode(&pepper), latin(&pepper)];
        self.secrets.extend(texts.map(|text| ("pepper".to_owned(), text)));
    }

    /// Everything that the process has written by itself.
    fn collect(&mut self) {
        let process = format!("/proc/{}", self.sidecar.id());
        for file in ["cmdline", "environ"] {
            let read = fs::read(format!("{process}/{file}")).unwrap();
            self.outputs.push((file.to_owned(), latin(&read)));
        }
        for path in files_below(&self.sidecar.sandbox.path("state"), "") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !["admin.token", "pepper-p1.key"].contains(&&*name) {
                self.outputs.push((name, latin(&fs::read(&path).unwrap())));
            }
        }
        for target in ["/audit?limit=1000", "/status", "/apps", "/tokens", "/keys", "/plugins"] {
            let answer = self.sidecar.admin("GET", target, &[]);
            assert_eq!(answer.status, 200, "{target}");
            self.outputs.push((target.to_owned(), answer.text()));
        }
        self.outputs.push(("metrics".to_owned(), self.sidecar.metrics()));
        self.outputs.push(("access log".to_owned(), self.sidecar.stdout()));
        self.outputs.push(("log".to_owned(), self.sidecar.stderr()));
    }

    /// The secrets that are in an output, with its name.
    fn leaks(&self) -> Vec<String> {
        let found = self.outputs.iter().flat_map(|(output, text)| {
            let is_in = move |secret: &&(String, String)| text.contains(&secret.1);
            self.secrets.iter().filter(is_in).map(move |(name, _)| format!("{name} in {output}"))
        });
        found.collect()
    }
}

/// Bytes as characters of the same numbers, so that bytes can be searched as text.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[test]
fn r902_no_secret_of_the_issuer_is_in_any_output() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut search = Search { sidecar: &sidecar, secrets: Vec::new(), outputs: Vec::new() };
    search.files();
    search.make(&["user", "add", "--login", "ada"]);
    search.make(&["token", "create", "--user", "ada", "--name", "t"]);
    let key = search.make(&["key", "create", "--owner", "ada", "--name", "k"]);
    search.make(&["key", "rotate", key["id"].as_str().unwrap(), "--grace", "1d"]);
    let create = ["app", "create", "--name", "x", "--strict", "--grant", "client_credentials"];
    let app = search.make(&create);
    let (id, secret) = (app["client_id"].as_str().unwrap(), app["client_secret"].as_str().unwrap());
    search.token(id, secret);
    search.make(&["app", "secret", "add", id]);
    search.token("sync", DECLARED);
    let script = "tr '\\0' ' ' < /proc/$$/cmdline";
    let run = ["plugin", "run", "mailer", "--config", "gatepost.yaml", "--", "sh", "-c", script];
    let run = sidecar.sandbox.run(&run);
    assert!(run.exit == 0 && run.stdout.starts_with("sh -c"), "{run:?}");
    search.outputs.push(("arguments of the plugin".to_owned(), format!("{run:?}")));
    let plugin = sidecar.sandbox.run(&["plugin", "env", "mailer", "--config", "gatepost.yaml"]);
    let secret = plugin.stdout.split("OAUTH_CLIENT_SECRET=").nth(1).unwrap().lines().next();
    search.secrets.push(("plugin secret".to_owned(), secret.unwrap().to_owned()));
    for (_, secret) in search.secrets.clone().iter().filter(|(name, _)| name != "pepper") {
        search.present(secret);
    }
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["check"],
        &["reload"],
        &["audit"],
        &["audit", "--output", "json"],
        &["user", "list"],
        &["app", "list"],
        &["app", "show", id],
        &["token", "list", "--user", "ada"],
        &["key", "list"],
        &["plugin", "list"],
        &["signing-key", "list"],
        &["store", "status"],
        &["store", "check"],
        &["safe-store", "status"],
    ] {
        search.show(words);
    }
    search.collect();
    let count =
        |word: &str| search.secrets.iter().filter(|(_, text)| text.starts_with(word)).count();
    assert_eq!((count("gp_key_"), count("gp_pat_"), count("gp_cs_")), (2, 1, 4));
    let texts: usize = search.outputs.iter().map(|(_, text)| text.len()).sum();
    assert!(
        search.outputs.len() > 500 && texts > 500_000,
        "{} in {texts} bytes",
        search.outputs.len()
    );
    assert_eq!(search.leaks(), Vec::<String>::new());
    // The search finds what is there.
    search.outputs.push(("a file".to_owned(), format!("x{}y", search.secrets[0].1)));
    assert_eq!(search.leaks().len(), 1);
}
