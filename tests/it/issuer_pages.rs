//! Pages on a host of their own (`issuer.pages`), and links that no request chooses the host of.

use crate::support::{Browser, Recorder, Response, Sandbox, Sidecar, encode, head};

const SECRET: &str = "a-secret-of-the-configuration-0001";
const PASSWORD: &str = "correct horse battery";
const CALLBACK: &str = "https://shop.example.com/callback";
const PAGES: &str = "https://auth.example.com";
const CONSENT: &str = "/auth/account/consent";

fn start(upstream: &Recorder, pages: &str) -> Sidecar {
    let sandbox = Sandbox::new();
    sandbox.write("shop.secret", &format!("{SECRET}\n"));
    let sidecar = sandbox.start(&format!(
        "state_dir: '@dir@/state'
issuer:
  url: https://api.example.com
  {pages}
  applications:
    - {{ id: shop, profile: compat, secret_files: [shop.secret], redirect_uris: [{CALLBACK}], grants: [authorization_code, refresh_token] }}
upstreams: {{ app: {{ url: '{}' }} }}
defaults: {{ upstream: app }}
routes: [{{ path: /**, access: anonymous }}]
",
        upstream.url()
    ));
    let add = ["user", "add", "--login", "ada", "--password-stdin", "--config", "gatepost.yaml"];
    let run = sidecar.sandbox.run_with(&add, &format!("{PASSWORD}\n"));
    assert_eq!(run.exit, 0, "{run:?}");
    sidecar
}

fn authorize() -> String {
    let uri = encode(CALLBACK);
    format!("/auth/oauth/authorize?client_id=shop&redirect_uri={uri}&response_type=code&state=s")
}

#[track_caller]
fn location(answer: &Response) -> String {
    answer.field("location").unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

fn post(sidecar: &Sidecar, host: &str, path: &str, form: &str) -> Response {
    let length = form.len().to_string();
    let fields = [
        ("Host", host),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", &length),
    ];
    let mut client = sidecar.connect();
    client.send(head("POST", path, &fields)).send(form);
    client.response()
}

#[test]
fn contract_issuer_pages_have_a_host_of_their_own() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream, &format!("pages: {PAGES}"));
    let api = |path: &str| sidecar.get(path, &[("Host", "api.example.com")]);
    // On the host of the endpoints every page is a redirect, whatever was sent.
    for path in [&*authorize(), "/auth/oauth/device?user_code=x", "/auth/account/tokens"] {
        let answer = api(path);
        assert_eq!((answer.status, location(&answer)), (303, format!("{PAGES}{path}")));
        assert!(answer.field("set-cookie").is_none() || !answer.text().contains("csrf"));
    }
    let form = "client_id=shop&response_type=code&scope=read";
    let answer = post(&sidecar, "api.example.com", "/oauth/authorize", form);
    assert!(location(&answer).starts_with(&format!("{PAGES}/oauth/authorize?")));
    let entered = format!("login=ada&password={}", encode(PASSWORD));
    let answer = post(&sidecar, "api.example.com", "/auth/account/sign-in", &entered);
    assert_eq!(location(&answer), format!("{PAGES}/auth/account/sign-in"));
    // There the flow goes on to its end.
    let mut ada = Browser::new(&sidecar);
    ada.host = "auth.example.com";
    let consent = ada.sign_in(&authorize(), "ada", PASSWORD);
    let granted = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    let code = location(&granted).split("code=").nth(1).unwrap().to_owned();
    let code = code.split('&').next().unwrap();
    let uri = encode(CALLBACK);
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={uri}&client_id=shop&client_secret={SECRET}"
    );
    // The host of the pages has no token endpoint: the application may have that path there.
    let elsewhere = post(&sidecar, "auth.example.com", "/auth/oauth/token", &form);
    assert_eq!((elsewhere.status, elsewhere.text().as_str()), (200, "ok"));
    let tokens = post(&sidecar, "api.example.com", "/auth/oauth/token", &form);
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    // The cookie of the pages is of no use on the other host.
    ada.host = "api.example.com";
    assert!(location(&ada.get("/auth/account/tokens")).starts_with(PAGES));
    // Links name the host of the pages.
    let asked = api("/.well-known/oauth-authorization-server").json();
    let endpoint = asked["authorization_endpoint"].as_str().unwrap().to_owned();
    assert!(endpoint.starts_with("https://api.example.com/"), "{endpoint}");
    let run = sidecar.sandbox.run(&["user", "reset", "ada", "--config", "gatepost.yaml"]);
    assert!(run.stdout.starts_with(&format!("{PAGES}/auth/account/reset/")), "{run:?}");
}

#[test]
fn r1111_no_request_chooses_the_host_of_a_reset_link_or_a_redirect() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream, "");
    let token = std::fs::read_to_string(sidecar.sandbox.path("state/admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let reset = |host: &str| {
        let fields = [
            ("Host", host),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "http"),
            ("Forwarded", "host=evil.example;proto=http"),
            ("X-Gatepost-Admin", "1"),
            ("Authorization", &*bearer),
            ("Content-Type", "application/json"),
            ("Content-Length", "2"),
        ];
        let mut client = sidecar.connect_admin();
        client.send(head("POST", "/users/ada/reset", &fields)).send("{}");
        client.response()
    };
    let made = reset("evil.example");
    let link = made.json()["link"].as_str().unwrap_or_else(|| panic!("{}", made.text())).to_owned();
    let path = link.strip_prefix("https://api.example.com").expect("the configured host");
    let fields = |host| {
        [
            ("Host", host),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "http"),
            ("Forwarded", "host=evil.example"),
        ]
    };
    // The page and every redirect leave the host out, or name the configured one.
    let page = sidecar.get(path, &fields("api.example.com"));
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(!page.text().contains("evil"), "{}", page.text());
    for target in
        ["/auth/account/tokens", "/auth/account/", "/.well-known/oauth-authorization-server"]
    {
        let answer = sidecar.get(target, &fields("api.example.com"));
        let told = format!("{} {:?}", answer.text(), answer.fields);
        assert!(!told.contains("evil") && !told.contains("http://"), "{target}: {told}");
    }
    // On a host that is not the issuer's the link leads to the application.
    let elsewhere = sidecar.get(path, &fields("evil.example"));
    assert_eq!((elsewhere.status, elsewhere.text().as_str()), (200, "ok"));
    assert!(upstream.last().field("cookie").is_none());
}
