//! People on the pages: sign-in, consent, device, account.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::{
    Browser, Recorder, Response, Sandbox, Sidecar, encode, eventually, head, hidden,
};

const SECRET: &str = "a-secret-of-the-configuration-0001";
pub const PASSWORD: &str = "correct horse battery";
const SESSION: &str = "__Host-gatepost";
const SIGN_IN: &str = "/auth/account/sign-in";
pub const CONSENT: &str = "/auth/account/consent";
const DEVICE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
const CALLBACK: &str = "https://shop.example.com/callback";

const CONFIG: &str = "state_dir: '@dir@/state'
issuer:
  url: https://api.example.com
  scopes:
    read: See products and orders
    write: Change products and orders
    admin: { text: Administer the shop, roles: [operator] }
  applications:
    - { id: shop, name: Shop <b>, site: https://shop.example.com, profile: compat, secret_files: [shop.secret], redirect_uris: [https://shop.example.com/callback], grants: [authorization_code, refresh_token], scopes: [read, write] }
    - { id: tv, name: Television, type: public, profile: strict, grants: ['urn:ietf:params:oauth:grant-type:device_code', refresh_token] }
    - { id: phone, name: Phone, type: public, profile: strict, redirect_uris: ['com.example.phone:/cb'], grants: [authorization_code, refresh_token] }
";

pub fn start(upstream: &Recorder) -> Sidecar {
    started(upstream, "")
}

pub fn started(upstream: &Recorder, more: &str) -> Sidecar {
    let sandbox = Sandbox::new();
    sandbox.write("shop.secret", &format!("{SECRET}\n"));
    let sidecar = sandbox.start(&config(upstream, more));
    add(&sidecar, "ada");
    sidecar
}

fn config(upstream: &Recorder, more: &str) -> String {
    format!(
        "{more}{CONFIG}upstreams: {{ app: {{ url: \"{}\" }} }}
defaults: {{ upstream: app }}
api_keys: {{ header: X-API-Key }}
routes:
  - {{ path: /api/**, access: {{ scopes: [read] }} }}
  - {{ path: /open/**, access: anonymous }}
",
        upstream.url()
    )
}

pub fn add(sidecar: &Sidecar, login: &str) {
    let add = ["user", "add", "--login", login, "--password-stdin", "--config", "gatepost.yaml"];
    let run = sidecar.sandbox.run_with(&add, &format!("{PASSWORD}\n"));
    assert_eq!((run.exit, &*run.stderr), (0, ""), "{run:?}");
}

pub fn api(sidecar: &Sidecar, field: (&str, &str)) -> u16 {
    sidecar.get("/api/x", &[("Host", "api.example.com"), field]).status
}

pub fn post(sidecar: &Sidecar, path: &str, form: &str) -> Response {
    let length = form.len().to_string();
    let fields = [
        ("Host", "api.example.com"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", &length),
    ];
    let mut client = sidecar.connect();
    client.send(head("POST", path, &fields)).send(form);
    client.response()
}

/// The value of a parameter in the query of a redirect.
#[track_caller]
pub fn parameter(answer: &Response, name: &str) -> String {
    let location = answer.field("location").unwrap_or_else(|| panic!("{}", answer.text()));
    let query = location.split_once('?').expect("a query").1;
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    pair.unwrap_or_else(|| panic!("no {name} in {location}")).to_owned()
}

fn redeem(sidecar: &Sidecar, code: &str) -> Response {
    let uri = encode(CALLBACK);
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={uri}&client_id=shop&client_secret={SECRET}"
    );
    post(sidecar, "/auth/oauth/token", &form)
}

fn authorize(state: &str) -> String {
    format!(
        "/auth/oauth/authorize?client_id=shop&redirect_uri={}&response_type=code&scope=read+write&state={state}",
        encode(CALLBACK)
    )
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The fields of every page, whatever it shows.
#[track_caller]
pub fn check_page(page: &Response, leaves: bool) {
    assert_eq!(page.field("cache-control"), Some("no-store"));
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.field("x-frame-options"), Some("DENY"));
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.field("cross-origin-opener-policy"), None);
    let policy = page.field("content-security-policy").unwrap();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(policy.contains("form-action 'self'"), !leaves, "{policy}");
    let text = page.text();
    for inline in ["<style", " style=", " onclick", "javascript:", "<script>"] {
        assert!(!text.contains(inline), "{inline}: {text}");
    }
}

#[test]
fn contract_code_flow_from_the_page_to_the_api_and_back_after_a_withdrawal() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    let page = ada.get(&authorize("a%26b"));
    assert_eq!(page.status, 200, "{}", page.text());
    check_page(&page, true);
    assert!(page.text().contains("Sign in"));
    let consent = ada.sign_in(&authorize("a%26b"), "ada", PASSWORD);
    assert_eq!(consent.status, 200, "{}", consent.text());
    check_page(&consent, true);
    let text = consent.text();
    for shown in [
        "See products and orders",
        "Change products and orders",
        "shop.example.com",
        "ada",
        "Shop &#60;b&#62;",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains("<b>") && !text.contains("a%26b") && !text.contains("client_id"));
    let answer = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    let location = answer.field("location").unwrap();
    assert!(location.starts_with(&format!("{CALLBACK}?code=gp_ac_")), "{location}");
    assert_eq!(parameter(&answer, "state"), "a%26b");
    assert_eq!(parameter(&answer, "iss"), "https%3A%2F%2Fapi.example.com");
    let token = redeem(&sidecar, &parameter(&answer, "code"));
    assert_eq!(token.status, 200, "{}", token.text());
    let token = token.json();
    assert_eq!(token["scope"], "read write");
    let access = token["access_token"].as_str().unwrap();
    let bearer = format!("Bearer {access}");
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 200);
    assert!(claims(access)["auth_time"].is_u64());
    assert_eq!(upstream.last().field("x-auth-subject"), claims(access)["sub"].as_str());
    // Not asked again for what was allowed; asked again with prompt=consent.
    let again = ada.get(&authorize("x"));
    assert_eq!(again.status, 303, "{}", again.text());
    assert!(parameter(&again, "code").starts_with("gp_ac_"));
    assert_eq!(ada.get(&format!("{}&prompt=consent", authorize("x"))).status, 200);
    // Withdrawn on its page: refused on the very next request, and asked for again.
    let list = ada.get("/auth/account/authorized");
    assert!(list.text().contains("Shop &#60;b&#62;"), "{}", list.text());
    check_page(&list, false);
    let page = ada.get("/auth/account/authorized/shop/revoke");
    let answer = ada.submit(&page, "/auth/account/authorized/shop/revoke", &[]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 401);
    assert_eq!(ada.get(&authorize("x")).status, 200, "consent again");
    assert_eq!(sidecar.metric("gatepost_authorizations_total{result=\"ok\"}"), 2.0);
    assert_eq!(sidecar.metric("gatepost_sign_ins_total{method=\"password\",result=\"ok\"}"), 1.0);
    // No secret is in a log.
    let code = parameter(&again, "code");
    for secret in [&*code, access, PASSWORD, ada.cookies[SESSION].as_str()] {
        assert!(!sidecar.stdout().contains(secret), "{secret}");
        assert!(!sidecar.stderr().contains(secret), "{secret}");
    }
}

#[test]
fn contract_consent_denied_is_access_denied_and_prompt_none_shows_no_page() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    let none = ada.get(&format!("{}&prompt=none", authorize("s")));
    assert_eq!((none.status, &*parameter(&none, "error")), (303, "login_required"));
    let consent = ada.sign_in(&authorize("s"), "ada", PASSWORD);
    let none = ada.get(&format!("{}&prompt=none", authorize("s")));
    assert_eq!(parameter(&none, "error"), "consent_required");
    let denied = ada.submit(&consent, CONSENT, &[("decision", "deny")]);
    assert_eq!((denied.status, &*parameter(&denied, "error")), (303, "access_denied"));
    assert_eq!(parameter(&denied, "state"), "s");
    assert_eq!(parameter(&denied, "iss"), "https%3A%2F%2Fapi.example.com");
    let neither = ada.submit(&consent, CONSENT, &[]);
    assert_eq!(neither.status, 400);
    // Signing in again is done once.
    let again = ada.get(&format!("{}&prompt=login", authorize("s")));
    assert!(again.text().contains("password"), "{}", again.text());
    let old = ada.cookies[SESSION].clone();
    let entered = [("login", "ada"), ("password", PASSWORD)];
    let answer = ada.submit(&again, SIGN_IN, &entered);
    assert!(!answer.field("location").unwrap().contains("prompt"), "{:?}", answer.fields);
    assert_ne!(ada.cookies[SESSION], old);
}

#[test]
fn r1101_nothing_is_sent_to_a_place_that_is_not_registered() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    let with = |uri: &str| {
        format!("/oauth/authorize?client_id=shop&response_type=code&redirect_uri={}", encode(uri))
    };
    for uri in [
        "https://evil.example/callback",
        "https://shop.example.com/callback/",
        "https://shop.example.com/callback?x",
        "https://shop.example.com/callback#x",
        "https://shop.example.com:443/callback",
        "https://SHOP.example.com/callback",
        "https://shop.example.com.evil.example/callback",
        "https://shop.example.com@evil.example/callback",
        "http://shop.example.com/callback",
        "//shop.example.com/callback",
        "https://shop.example.com/call%62ack",
        "https://shop.example.com/callback\r\nX: y",
        "javascript:alert(1)",
    ] {
        let answer = ada.get(&with(uri));
        assert_eq!((answer.status, answer.field("location")), (400, None), "{uri}");
        check_page(&answer, false);
    }
    let unknown = ada.get("/oauth/authorize?client_id=nope&response_type=code");
    assert_eq!((unknown.status, unknown.field("location")), (400, None));
    let twice = ada.get(&format!("{}&client_id=shop", with(CALLBACK)));
    assert_eq!((twice.status, twice.field("location")), (400, None));
    let secret = ada.get(&format!("{}&client_secret=x", with(CALLBACK)));
    assert_eq!((secret.status, secret.field("location")), (400, None));
    // Errors of a good request are redirected, and only for a person who is signed in.
    let scope = format!("{}&scope=nope", with(CALLBACK));
    assert_eq!(parameter(&ada.get(&scope), "error"), "invalid_scope");
    let mut stranger = Browser::new(&sidecar);
    assert_eq!(stranger.get(&scope).status, 200, "signs in first");
    let strict = "/oauth/authorize?client_id=phone&response_type=code&redirect_uri=com.example.phone%3A%2Fcb";
    assert_eq!(parameter(&ada.get(strict), "error"), "invalid_request");
}

#[test]
fn r1111_sign_in_leads_to_pages_of_this_host_alone() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    let page = ada.get("/auth/account/tokens?next=https://evil.example");
    let sealed = hidden(&page.text(), SIGN_IN);
    let entered = [("login", "ada"), ("password", PASSWORD)];
    for next in ["https://evil.example", "//evil.example", ""] {
        let form: Vec<_> = sealed
            .iter()
            .map(|(name, value)| (&**name, if name == "next" { next } else { &**value }))
            .chain(entered)
            .collect();
        let answer = ada.post(SIGN_IN, &form);
        assert_eq!((answer.status, answer.field("location")), (403, None), "{next}");
    }
    // The form of another browser.
    let mut eve = Browser::new(&sidecar);
    let others = eve.get("/auth/account/keys");
    let answer = ada.submit(&others, SIGN_IN, &entered);
    assert_eq!(answer.status, 403);
    let answer = ada.submit(&page, SIGN_IN, &entered);
    let location = answer.field("location").unwrap();
    assert_eq!(location, "/auth/account/tokens?next=https://evil.example", "of this host");
}

#[test]
fn r1108_forms_of_other_sites_and_other_sessions_change_nothing() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    add(&sidecar, "eve");
    let mut ada = Browser::new(&sidecar);
    let consent = ada.sign_in(&authorize("s"), "ada", PASSWORD);
    let fields = hidden(&consent.text(), CONSENT);
    let mut form: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    form.push(("decision", "allow"));
    for foreign in [
        vec![("Origin", "https://evil.example")],
        vec![("Origin", "https://api.example.com"), ("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site")],
        vec![("Origin", "http://api.example.com")],
    ] {
        let answer = ada.post_with(CONSENT, &form, &foreign);
        assert_eq!((answer.status, answer.field("location")), (403, None), "{foreign:?}");
    }
    // Without a token, with a wrong one, with that of another form.
    let list = ada.get("/auth/account/sessions");
    let other = hidden(&list.text(), "/auth/account/sessions");
    for csrf in ["", "x", &other[0].1] {
        let form: Vec<_> = form
            .iter()
            .map(|(name, value)| (*name, if *name == "csrf" { csrf } else { *value }))
            .collect();
        let answer = ada.post(CONSENT, &form);
        assert_eq!((answer.status, answer.field("location")), (403, None), "{csrf}");
    }
    // The form that another person was shown, with that person's token and with one's own.
    let mut eve = Browser::new(&sidecar);
    eve.sign_in(&authorize("s"), "eve", PASSWORD);
    let answer = eve.post(CONSENT, &form);
    assert_eq!((answer.status, answer.field("location")), (403, None));
    // Two tabs: each form is for its own request.
    let other = format!("{}&prompt=consent", authorize("other")).replace("read+write", "read");
    let other = ada.get(&other);
    let mixed: Vec<_> = hidden(&other.text(), CONSENT);
    let mixed = [("csrf", &*fields[0].1), ("request", &*mixed[1].1), ("decision", "allow")];
    assert_eq!(ada.post(CONSENT, &mixed).status, 403);
    let answer = ada.submit(&other, CONSENT, &[("decision", "allow")]);
    assert_eq!(parameter(&answer, "state"), "other");
    let token = redeem(&sidecar, &parameter(&answer, "code")).json();
    assert_eq!(token["scope"], "read");
    // No header is needed: the token is what counts.
    let answer = ada.post_with(CONSENT, &form, &[]);
    assert_eq!(answer.status, 303, "{}", answer.text());
}

#[test]
fn r1108_each_form_of_the_account_needs_its_own_token() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let app = sidecar.sandbox.run(&[
        "app",
        "create",
        "--config",
        "gatepost.yaml",
        "--name",
        "Own",
        "--owner",
        "ada",
        "--compat",
        "--redirect",
        "https://own.example.com/callback",
        "--output",
        "json",
    ]);
    let app: Value = serde_json::from_str(&app.stdout).unwrap();
    let app = format!("applications/{}", app["client_id"].as_str().unwrap());
    let mut ada = developer(&sidecar);
    let sessions = hidden(&ada.get("/auth/account/sessions").text(), "/auth/account/sessions");
    let of_another_form = sessions.iter().find(|(name, _)| name == "csrf").unwrap().1.clone();
    for form in [
        "sign-out",
        "consent",
        "device",
        "profile",
        "tokens/new",
        "tokens/pat_1/revoke",
        "keys/new",
        "keys/key_1/disable",
        "keys/key_1/enable",
        "keys/key_1/rotate",
        "keys/key_1/delete",
        "applications/new",
        &*format!("{app}/secrets"),
        &format!("{app}/delete"),
        &format!("{app}/edit"),
        &format!("{app}/secrets/cs_1/end"),
        "tokens/test",
        "authorized/shop/revoke",
        "sessions",
    ] {
        let path = format!("/auth/account/{form}");
        let foreign = [("Origin", "https://evil.example")];
        for (csrf, fields) in [("", &[][..]), ("x", &[]), (&of_another_form, &[]), ("x", &foreign)]
        {
            if form == "sessions" && csrf == of_another_form {
                continue;
            }
            let entered = [("csrf", csrf), ("name", "n"), ("id", "id"), ("decision", "allow")];
            let answer = ada.post_with(&path, &entered, fields);
            let text = answer.text();
            let says = ["an earlier session of this browser", "a page of another site"];
            let is_said = says.iter().any(|words| text.contains(words));
            assert!(answer.status == 403 && is_said, "{path} {csrf}: {} {text}", answer.status);
        }
    }
    assert_eq!(ada.get("/auth/account/sessions").status, 200, "still signed in");
}

#[test]
fn r1108_sign_in_gives_another_session_and_sign_out_ends_it() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    // An attacker's cookie in the browser of a person.
    let fixed = "a".repeat(43);
    let mut ada = Browser::new(&sidecar);
    ada.cookies.insert(SESSION.to_owned(), fixed.clone());
    let page = ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    assert!(page.text().contains("Create Token"), "{}", page.text());
    assert_ne!(ada.cookies[SESSION], fixed);
    let mut eve = Browser::new(&sidecar);
    eve.cookies.insert(SESSION.to_owned(), fixed);
    assert!(eve.get("/auth/account/tokens").text().contains("Sign in"));
    // A copy of the right cookie works, until the person signs out.
    let kept = ada.cookies[SESSION].clone();
    eve.cookies.insert(SESSION.to_owned(), kept.clone());
    assert!(eve.get("/auth/account/tokens").text().contains("Create Token"));
    let answer = ada.submit(&page, "/auth/account/sign-out", &[]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(!ada.cookies.contains_key(SESSION));
    assert!(eve.get("/auth/account/tokens").text().contains("Sign in"));
    // Two cookies of the name are none.
    let fields =
        [("Host", "api.example.com"), ("Cookie", &*format!("{SESSION}={kept}; {SESSION}=x"))];
    assert!(sidecar.get("/auth/account/tokens", &fields).text().contains("Sign in"));
    // A bearer token opens no page.
    let new = ["token", "create", "--user", "ada", "--name", "x", "--config", "gatepost.yaml"];
    let token = sidecar.sandbox.run(&new).stdout;
    let bearer = format!("Bearer {}", token.trim());
    let fields = [("Host", "api.example.com"), ("Authorization", &*bearer)];
    assert!(sidecar.get("/auth/account/tokens", &fields).text().contains("Sign in"));
    // Other roles, a disabled person and a new password end sessions.
    let session = || {
        let mut ada = Browser::new(&sidecar);
        ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
        move |text: &str| assert!(ada.get("/auth/account/tokens").text().contains(text), "{text}")
    };
    for act in [
        vec!["user", "roles", "ada", "--role", "developer"],
        vec!["user", "disable", "ada"],
        vec!["user", "password", "ada", "--password-stdin"],
    ] {
        let mut is_shown = session();
        is_shown("Create Token");
        let all = [&act[..], &["--config", "gatepost.yaml"]].concat();
        let run = sidecar.sandbox.run_with(&all, &format!("{PASSWORD}\n"));
        assert_eq!(run.exit, 0, "{run:?}");
        is_shown("Sign in");
        if act[1] == "disable" {
            sidecar.sandbox.run(&["user", "enable", "ada", "--config", "gatepost.yaml"]);
            is_shown("Sign in");
        }
    }
}

#[test]
fn r1115_failed_sign_ins_are_one_answer_and_lock_no_other_out() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let attempt = |browser: &mut Browser<'_>, login: &str, password: &str| {
        let page = browser.get("/auth/account/tokens");
        browser.submit(&page, SIGN_IN, &[("login", login), ("password", password)])
    };
    // A person who signed in with this browser before.
    let mut ada = Browser::new(&sidecar);
    let page = ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    ada.submit(&page, "/auth/account/sign-out", &[]);
    let mut eve = Browser::new(&sidecar);
    let plain = |answer: Response, login: &str| {
        assert_eq!(answer.status, 422, "{}", answer.text());
        let page = answer.text();
        let sealed = hidden(&page, SIGN_IN);
        let cut = |text: String, (_, value): &(String, String)| text.replace(value, "");
        sealed.iter().fold(page, cut).replace(login, "LOGIN")
    };
    let wrong = plain(attempt(&mut eve, "ada", "wrong password"), "ada");
    assert_eq!(wrong, plain(attempt(&mut eve, "nope", "wrong password"), "nope"));
    assert!(wrong.contains("The login or the password is wrong."));
    let statuses: Vec<_> =
        (0..11).map(|_| attempt(&mut eve, "ada", "wrong password").status).collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    // Others guess; the right password is right, from there as well.
    assert_eq!(attempt(&mut ada, "ada", "wrong password").status, 422, "a budget of its own");
    assert_eq!(attempt(&mut eve, "ada", PASSWORD).status, 303);
    assert_eq!(attempt(&mut Browser::new(&sidecar), "ada", PASSWORD).status, 303);
    // Failures are counts, and no lines of the audit log.
    let series = "gatepost_sign_ins_total{method=\"password\",result=\"access_denied\"}";
    assert!(sidecar.metric(series) >= 10.0);
    let audit = ["audit", "--output", "json", "--config", "gatepost.yaml"];
    let acts: Value = serde_json::from_str(&sidecar.sandbox.run(&audit).stdout).unwrap();
    let acts: Vec<_> = acts.as_array().unwrap().iter().map(|line| line["act"].clone()).collect();
    assert!(acts.contains(&"sign_in".into()) && !acts.contains(&"sign_in.failed".into()));
}

#[test]
fn contract_reset_links_are_used_once_and_name_the_configured_host() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let reset = || {
        let run = sidecar.sandbox.run(&["user", "reset", "ada", "--config", "gatepost.yaml"]);
        assert_eq!(run.exit, 0, "{run:?}");
        let link = run.stdout.trim().to_owned();
        let path = link.strip_prefix("https://api.example.com").unwrap_or_else(|| panic!("{link}"));
        assert!(path.starts_with("/auth/account/reset/"), "{link}");
        path.to_owned()
    };
    let (first, path) = (reset(), reset());
    let mut ada = Browser::new(&sidecar);
    assert_eq!(ada.get(&first).status, 400, "the next link ends the one before");
    let page = ada.get(&path);
    assert_eq!(page.status, 200, "{}", page.text());
    check_page(&page, false);
    let token = path.rsplit('/').next().unwrap();
    assert!(!page.text().contains(token), "the link is in no page");
    let csrf = |page: &Response| {
        let text = page.text();
        let (_, rest) = text.split_once("<form method=\"post\">").unwrap();
        let (_, rest) = rest.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let token_of_form = csrf(&page);
    let enter = |ada: &mut Browser<'_>, new: &str, again: &str| {
        ada.post(&path, &[("csrf", &token_of_form), ("new", new), ("again", again)])
    };
    for (new, again, said) in [
        ("short", "short", "at least 10 characters"),
        ("another password", "another passwort", "differ"),
        ("", "", "Enter a password"),
    ] {
        let answer = enter(&mut ada, new, again);
        assert_eq!(answer.status, 422);
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    }
    let mut eve = Browser::new(&sidecar);
    let foreign = eve.post(&path, &[("csrf", &token_of_form), ("new", "x"), ("again", "x")]);
    assert_eq!(foreign.status, 403);
    let done = enter(&mut ada, "another password", "another password");
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(ada.get(&path).status, 400, "used");
    assert_eq!(enter(&mut ada, "a third password", "a third password").status, 400);
    ada.sign_in("/auth/account/tokens", "ada", "another password");
    // The last segment is in no log.
    assert!(!sidecar.stdout().contains(token) && !sidecar.stderr().contains(token));
}

#[test]
fn r1112_a_device_is_connected_by_the_person_who_has_its_code() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let begin = || post(&sidecar, "/oauth/device/code", "client_id=tv&scope=read").json();
    let json = begin();
    let (code, user) = (json["device_code"].as_str().unwrap(), json["user_code"].as_str().unwrap());
    let complete = json["verification_uri_complete"].as_str().unwrap();
    let path = complete.strip_prefix("https://api.example.com").unwrap();
    let mut ada = Browser::new(&sidecar);
    let page = ada.sign_in(path, "ada", PASSWORD);
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains(&format!("value=\"{user}\"")), "filled, and nothing more");
    check_page(&page, false);
    let poll = format!("grant_type={DEVICE}&client_id=tv&device_code={code}");
    let error = |form: &str| post(&sidecar, "/oauth/token", form).json()["error"].clone();
    assert_eq!(error(&poll), "authorization_pending");
    let typed = format!(" {} ", user.to_lowercase().replace('-', ""));
    let consent = ada.submit(&page, "/auth/account/device", &[("user_code", &typed)]);
    assert_eq!(consent.status, 200, "{}", consent.text());
    for shown in ["Television", "Go on only if you started this", user] {
        assert!(consent.text().contains(shown), "{shown}: {}", consent.text());
    }
    let answer = ada.submit(&consent, "/auth/account/device/decide", &[("decision", "allow")]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = post(&sidecar, "/oauth/token", &poll).json();
    assert_eq!(token["scope"], "read", "{token}");
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 200);
    let again = ada.submit(&consent, "/auth/account/device/decide", &[("decision", "allow")]);
    assert_eq!(again.status, 400, "used");
    // Denied on the page: the device learns it.
    let json = begin();
    let (code, user) = (json["device_code"].as_str().unwrap(), json["user_code"].as_str().unwrap());
    let consent = ada.submit(&page, "/auth/account/device", &[("user_code", user)]);
    ada.submit(&consent, "/auth/account/device/decide", &[("decision", "deny")]);
    let poll = format!("grant_type={DEVICE}&client_id=tv&device_code={code}");
    assert_eq!(error(&poll), "access_denied");
    // Guesses have a budget.
    let guess = |ada: &mut Browser<'_>| {
        ada.submit(&page, "/auth/account/device", &[("user_code", "BCDF-GHJK")]).status
    };
    let statuses: Vec<_> = (0..6).map(|_| guess(&mut ada)).collect();
    assert_eq!((statuses[0], statuses.last()), (422, Some(&429)), "{statuses:?}");
}

#[test]
fn contract_native_redirects_are_asked_about_every_time() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let path = format!(
        "/oauth/authorize?client_id=phone&response_type=code&scope=read&redirect_uri=com.example.phone%3A%2Fcb&code_challenge={challenge}&code_challenge_method=S256"
    );
    let mut ada = Browser::new(&sidecar);
    let consent = ada.sign_in(&path, "ada", PASSWORD);
    assert!(consent.text().contains("a program on this device"), "{}", consent.text());
    for _ in 0..2 {
        let consent = ada.get(&path);
        assert_eq!(consent.status, 200);
        let answer = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
        let location = answer.field("location").unwrap();
        assert!(location.starts_with("com.example.phone:/cb?code="), "{location}");
        let form = format!(
            "grant_type=authorization_code&client_id=phone&code={}&redirect_uri=com.example.phone%3A%2Fcb&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            parameter(&answer, "code")
        );
        assert_eq!(post(&sidecar, "/oauth/token", &form).status, 200);
    }
}

/// Behind a trusted proxy each address has a budget, which the right password does not get around.
#[test]
fn r1115_a_password_is_not_found_by_trying_from_one_address() {
    let upstream = Recorder::start();
    let sidecar = started(&upstream, "trusted_proxies: [unix]\n");
    let attempt = |browser: &mut Browser<'_>, password: &str| {
        let page = browser.get("/auth/account/tokens");
        browser.submit(&page, SIGN_IN, &[("login", "ada"), ("password", password)]).status
    };
    let mut eve = Browser::new(&sidecar);
    eve.address = Some("203.0.113.5");
    assert_eq!((0..10).map(|_| attempt(&mut eve, "wrong password")).last(), Some(422));
    assert_eq!(attempt(&mut eve, PASSWORD), 429);
    let mut ada = Browser::new(&sidecar);
    ada.address = Some("203.0.113.6");
    assert_eq!(attempt(&mut ada, PASSWORD), 303, "from elsewhere");
    // The browser that signed in before has a budget of its own, at that address as well.
    let page = ada.get("/auth/account/tokens");
    ada.submit(&page, "/auth/account/sign-out", &[]);
    ada.address = Some("203.0.113.5");
    assert_eq!(attempt(&mut ada, PASSWORD), 303);
}

#[test]
fn contract_account_a_form_that_was_kept_does_not_outlive_the_setting() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    let page = ada.get("/auth/account/tokens");
    let off = config(&upstream, "").replace("  scopes:", "  sign_in: { accounts: off }\n  scopes:");
    sidecar.configure(&off);
    let answer = eventually("the reload", || {
        let answer = ada.submit(&page, SIGN_IN, &[("login", "ada"), ("password", "wrong")]);
        (answer.status == 403).then_some(answer)
    });
    assert!(answer.text().contains("issuer.sign_in.accounts"), "{}", answer.text());
    let answer = ada.submit(&page, SIGN_IN, &[("login", "ada"), ("password", PASSWORD)]);
    assert_eq!(answer.status, 403);
}

/// A browser leaves a Lax cookie out of the POST of another site.
#[test]
fn r1108_a_post_of_another_site_ends_no_session_and_authorizes_with_it() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    let form = "client_id=shop&redirect_uri=https%3A%2F%2Fshop.example.com%2Fcallback&response_type=code&scope=read";
    for (path, form) in [("/auth/account/tokens/new", "name=x"), ("/oauth/authorize", form)] {
        let answer = post(&sidecar, path, form);
        assert_eq!(answer.field("set-cookie"), None, "{path}");
    }
    let again = post(&sidecar, "/oauth/authorize", form);
    assert_eq!(again.status, 303, "{}", again.text());
    let consent = ada.get(again.field("location").unwrap());
    assert!(consent.text().contains("See products"), "{}", consent.text());
}

#[test]
fn r1108_cookies_of_the_application_may_have_any_bytes() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    ada.cookies.insert("name".to_owned(), "Zo\u{eb}".to_owned());
    let page = ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Create Token"), "{}", page.text());
}

/// The secret that a page reveals.
#[track_caller]
pub fn secret(page: &Response) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("id=\"secret\" value=\"").unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The id in the first link of a list to an act.
#[track_caller]
pub fn first(page: &Response, folder: &str, act: &str) -> String {
    let text = page.text();
    let (before, _) = text.split_once(&format!("/{act}\"")).unwrap_or_else(|| panic!("{text}"));
    before.rsplit(&format!("/auth/account/{folder}/")).next().unwrap().to_owned()
}

#[test]
fn contract_account_tokens_are_shown_once_and_work_until_they_are_revoked() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    let list = ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    assert!(list.text().contains("You have none yet"), "{}", list.text());
    check_page(&list, false);
    // Values are kept, and the mistake is beside its field.
    let new = "/auth/account/tokens/new";
    let page = ada.get(new);
    let answer = ada.submit(&page, new, &[("name", " "), ("scope-0", "on"), ("expiry", "30")]);
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("Enter a name of 1 to 100 characters."), "{}", answer.text());
    let entered = [("name", "laptop <i>"), ("scope-0", "on"), ("expiry", "30")];
    let made = ada.submit(&answer, new, &entered);
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(!made.text().contains("<i>"));
    let token = secret(&made);
    assert!(token.starts_with("gp_pat_"));
    let bearer = format!("Bearer {token}");
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 200);
    // A reload makes no second one, and says so.
    let again = ada.submit(&answer, new, &entered);
    assert_eq!(again.status, 409);
    assert!(again.text().contains("sent before"), "{}", again.text());
    let list = ada.get("/auth/account/tokens");
    assert!(!list.text().contains(&token) && list.text().contains("laptop &#60;i&#62;"));
    let revoke = format!("/auth/account/tokens/{}/revoke", first(&list, "tokens", "revoke"));
    let page = ada.get(&revoke);
    assert_eq!(ada.submit(&page, &revoke, &[]).status, 303);
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 401);
    assert!(!sidecar.stdout().contains(&token) && !sidecar.stderr().contains(&token));
}

#[test]
fn contract_account_keys_are_disabled_enabled_rotated_and_deleted() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    ada.sign_in("/auth/account/keys", "ada", PASSWORD);
    let new = "/auth/account/keys/new";
    let page = ada.get(new);
    let made = ada.submit(&page, new, &[("name", "ci"), ("full", "on"), ("expiry", "never")]);
    let key = secret(&made);
    assert_eq!(api(&sidecar, ("X-API-Key", &key)), 200);
    let list = ada.get("/auth/account/keys");
    let own = first(&list, "keys", "disable");
    let act = |name: &str| format!("/auth/account/keys/{own}/{name}");
    let page = ada.get(&act("disable"));
    assert_eq!(ada.submit(&page, &act("disable"), &[]).status, 303);
    assert_eq!(api(&sidecar, ("X-API-Key", &key)), 401);
    let page = ada.get(&act("rotate"));
    let refused = ada.submit(&page, &act("rotate"), &[("overlap", "7")]);
    assert!(refused.status >= 400 && refused.text().contains("cannot be rotated"));
    let list = ada.get("/auth/account/keys");
    assert_eq!(ada.submit(&list, &act("enable"), &[]).status, 303);
    assert_eq!(api(&sidecar, ("X-API-Key", &key)), 200);
    let page = ada.get(&act("rotate"));
    let rotated = secret(&ada.submit(&page, &act("rotate"), &[("overlap", "7")]));
    assert_eq!(api(&sidecar, ("X-API-Key", &rotated)), 200);
    assert_eq!(api(&sidecar, ("X-API-Key", &key)), 200, "both are good");
    let page = ada.get(&act("delete"));
    assert_eq!(ada.submit(&page, &act("delete"), &[]).status, 303);
    assert_eq!(api(&sidecar, ("X-API-Key", &key)), 401);
    assert_eq!(api(&sidecar, ("X-API-Key", &rotated)), 200);
    // A credential of another person is not there.
    add(&sidecar, "eve");
    let mut eve = Browser::new(&sidecar);
    eve.sign_in("/auth/account/keys", "eve", PASSWORD);
    let list = ada.get("/auth/account/keys");
    let others = format!("/auth/account/keys/{}/delete", first(&list, "keys", "delete"));
    assert_eq!(eve.get(&others).status, 404);
    for page in ["authorized", "sessions", "profile", "help", "keys/new", "tokens/new"] {
        let page = ada.get(&format!("/auth/account/{page}"));
        assert_eq!(page.status, 200, "{}", page.text());
        check_page(&page, false);
    }
    for secret in [&key, &rotated] {
        assert!(!sidecar.stdout().contains(secret.as_str()));
        assert!(!sidecar.stderr().contains(secret.as_str()));
    }
}

/// A developer, who is signed in.
pub fn developer(sidecar: &Sidecar) -> Browser<'_> {
    let roles = ["user", "roles", "ada", "--role", "developer", "--config", "gatepost.yaml"];
    assert_eq!(sidecar.sandbox.run(&roles).exit, 0);
    let mut ada = Browser::new(sidecar);
    ada.sign_in("/auth/account/applications", "ada", PASSWORD);
    ada
}

pub const REGISTER: &str = "/auth/account/applications/new";
const MINE: &str = "https://mine.example.com/cb";
pub const ENTERED: [(&str, &str); 5] = [
    ("name", "Mine"),
    ("type", "confidential"),
    ("profile", "compat"),
    ("redirect_uris", MINE),
    ("scope-0", "on"),
];

/// The client id that a page shows.
#[track_caller]
pub fn client_id(page: &Response) -> String {
    let text = page.text();
    let (_, rest) =
        text.split_once("id=\"client_id\" value=\"").unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The token request after consent to an application of a developer.
#[track_caller]
fn consented(ada: &mut Browser<'_>, id: &str, client_secret: &str) -> String {
    let uri = encode(MINE);
    let path = format!("/oauth/authorize?client_id={id}&response_type=code&redirect_uri={uri}");
    let consent = ada.get(&path);
    assert!(consent.text().contains("has not been reviewed"), "{}", consent.text());
    let answer = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    // Errors of an application that no operator approved are on a page.
    let error = ada.get(&format!("{path}&scope=nope"));
    assert_eq!((error.status, error.field("location")), (400, None));
    assert!(error.text().contains("Back to the application"), "{}", error.text());
    let code = parameter(&answer, "code");
    format!(
        "grant_type=authorization_code&code={code}&redirect_uri={uri}&client_id={id}&client_secret={client_secret}"
    )
}

#[test]
fn contract_developer_registers_an_application_and_its_code_flow_works() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    let list = ada.sign_in("/auth/account/applications", "ada", PASSWORD);
    assert!(list.text().contains("needs the role"), "{}", list.text());
    assert_eq!(ada.get(REGISTER).status, 404);
    let mut ada = developer(&sidecar);
    let page = ada.get(REGISTER);
    check_page(&page, false);
    // Values are kept, and each mistake is beside its field.
    let wrong = [("name", "Mine"), ("type", "public"), ("profile", "compat"), ("scope-0", "on")];
    let answer = ada.submit(&page, REGISTER, &wrong);
    assert_eq!(answer.status, 422);
    for said in ["rofile compat is for confidential", "needs a redirect URI", "value=\"Mine\""] {
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    }
    assert_eq!(ada.submit(&page, REGISTER, &[("name", "Mine")]).status, 422);
    let made = ada.submit(&answer, REGISTER, &ENTERED);
    assert_eq!(made.status, 200, "{}", made.text());
    let (id, client_secret) = (client_id(&made), secret(&made));
    assert!(id.starts_with("app_") && client_secret.starts_with("gp_cs_"));
    assert_eq!(ada.submit(&answer, REGISTER, &ENTERED).status, 409, "a reload makes no second one");
    let form = consented(&mut ada, &id, &client_secret);
    let token = post(&sidecar, "/oauth/token", &form).json();
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 200, "{token}");
    // Another person's is not there; deleted, its tokens end.
    let details = format!("/auth/account/applications/{id}");
    add(&sidecar, "eve");
    let mut eve = Browser::new(&sidecar);
    assert_eq!(eve.sign_in(&details, "eve", PASSWORD).status, 404);
    let delete = format!("{details}/delete");
    let page = ada.get(&delete);
    assert_eq!(ada.submit(&page, &delete, &[]).status, 303);
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 401);
    assert_eq!(ada.get(&details).status, 404);
}

#[test]
fn contract_developer_secrets_are_shown_again_two_at_most_and_end() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = developer(&sidecar);
    let page = ada.get(REGISTER);
    let made = ada.submit(&page, REGISTER, &ENTERED);
    let (id, client_secret) = (client_id(&made), secret(&made));
    let details = format!("/auth/account/applications/{id}");
    let secrets = format!("{details}/secrets");
    let page = ada.get(&details);
    check_page(&page, false);
    assert!(!page.text().contains(&client_secret));
    let text = page.text();
    let (_, rest) = text.split_once("name=\"secret\" id=\"").unwrap_or_else(|| panic!("{text}"));
    let first = rest.split('"').next().unwrap();
    let shown = ada.submit(&page, &secrets, &[("act", "show"), ("secret", first)]);
    assert_eq!(secret(&shown), client_secret);
    let second = secret(&ada.submit(&page, &secrets, &[("act", "add")]));
    assert_ne!(second, client_secret);
    assert_eq!(ada.submit(&page, &secrets, &[("act", "add")]).status, 409, "sent before");
    let page = ada.get(&details);
    assert_eq!(ada.submit(&page, &secrets, &[("act", "add")]).status, 422, "two are the limit");
    // Its end has a page of its own, which names what stops.
    let end = format!("{secrets}/{first}/end");
    let page = ada.get(&end);
    check_page(&page, false);
    assert!(page.text().contains("invalid_client"), "{}", page.text());
    assert_eq!(ada.submit(&page, &end, &[]).status, 303);
    let again = ada.submit(&page, &end, &[]);
    assert_eq!(ada.get(&end).status, 400);
    assert!(again.status == 303 || again.status == 404, "{}", again.status);
    let form = |secret: &str| {
        format!("grant_type=refresh_token&refresh_token=x&client_id={id}&client_secret={secret}")
    };
    let error =
        |secret: &str| post(&sidecar, "/oauth/token", &form(secret)).json()["error"].clone();
    assert_eq!(
        (error(&client_secret), error(&second)),
        ("invalid_client".into(), "invalid_grant".into())
    );
    for secret in [&client_secret, &second] {
        assert!(!sidecar.stdout().contains(secret.as_str()));
        assert!(!sidecar.stderr().contains(secret.as_str()));
    }
}
