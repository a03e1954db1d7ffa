//! Sign-in through the protected application, against one with users of its own.

use crate::support::{
    Browser, Response, Sandbox, Shop, Sidecar, answer, encode, eventually, head, now,
};

const SECRET: &str = "a-secret-of-the-configuration-0001";
const CALLBACK: &str = "https://shop.example.com/callback";
const TOKENS: &str = "/auth/account/tokens";
const CONSENT: &str = "/auth/account/consent";
const PASSWORD: &str = "correct horse battery";

fn config(shop: &Shop, accounts: &str) -> String {
    let url = shop.upstream.url();
    format!(
        "state_dir: '@dir@/state'
issuer:
  url: https://api.example.com
  scopes:
    read: See products and orders
    admin: {{ text: Administer the shop, roles: [operator] }}
  applications:
    - {{ id: shop, name: Shop, profile: compat, secret_files: [shop.secret], redirect_uris: [{CALLBACK}], grants: [authorization_code, refresh_token] }}
  sign_in:
    accounts: {accounts}
    app: {{ whoami: '{url}/whoami', login: '/login?as=7&next={{return_to}}', cookies: [session, other], person: '{url}/people/{{sub}}' }}
upstreams: {{ app: {{ url: '{url}' }} }}
defaults: {{ upstream: app }}
routes:
  - {{ path: /api/**, access: {{ scopes: [read] }} }}
  - {{ path: /login, access: anonymous }}
"
    )
}

fn start(shop: &Shop, accounts: &str) -> Sidecar {
    let sandbox = Sandbox::new();
    sandbox.write("shop.secret", &format!("{SECRET}\n"));
    shop.add("7", ",\"login\":\"ada\",\"roles\":[\"operator\"]");
    shop.add("8", ",\"login\":\"eve\"");
    shop.sign_in("a", "7");
    shop.sign_in("e", "8");
    sandbox.start(&config(shop, accounts))
}

/// A browser with the cookie of the application.
fn browser<'s>(sidecar: &'s Sidecar, cookie: &str) -> Browser<'s> {
    let mut browser = Browser::new(sidecar);
    set(&mut browser, cookie);
    browser
}

fn set(browser: &mut Browser<'_>, cookie: &str) {
    browser.cookies.insert("session".into(), cookie.into());
}

/// GETs a path, and follows redirects of this host.
#[track_caller]
fn follow(browser: &mut Browser<'_>, path: &str) -> Response {
    let mut answer = browser.get(path);
    for _ in 0..8 {
        match answer.field("location") {
            Some(next) if next.starts_with('/') => answer = browser.get(next),
            _ => return answer,
        }
    }
    panic!("redirected in circles: {:?}", answer.field("location"));
}

#[track_caller]
fn location(answer: &Response) -> String {
    answer.field("location").unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

fn authorize(scope: &str) -> String {
    let uri = encode(CALLBACK);
    format!(
        "/oauth/authorize?client_id=shop&redirect_uri={uri}&response_type=code&scope={scope}&state=s"
    )
}

fn post(sidecar: &Sidecar, form: &str) -> Response {
    let length = form.len().to_string();
    let fields = [
        ("Host", "api.example.com"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", &length),
    ];
    let mut client = sidecar.connect();
    client.send(head("POST", "/oauth/token", &fields)).send(form);
    client.response()
}

/// The tokens for the code in a redirect to the application.
#[track_caller]
fn redeem(sidecar: &Sidecar, granted: &Response) -> Response {
    let code = location(granted).split("code=").nth(1).unwrap().to_owned();
    let code = code.split('&').next().unwrap();
    let uri = encode(CALLBACK);
    post(
        sidecar,
        &format!(
            "grant_type=authorization_code&code={code}&redirect_uri={uri}&client_id=shop&client_secret={SECRET}"
        ),
    )
}

fn refresh(sidecar: &Sidecar, token: &str) -> Response {
    let form = format!(
        "grant_type=refresh_token&refresh_token={token}&client_id=shop&client_secret={SECRET}"
    );
    post(sidecar, &form)
}

fn api(sidecar: &Sidecar, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let fields = [("Host", "api.example.com"), ("Authorization", &*bearer)];
    sidecar.get("/api/x", &fields).status
}

/// The access token and the refresh token of a person with this cookie.
#[track_caller]
fn granted(sidecar: &Sidecar, cookie: &str, scope: &str) -> (String, String, String) {
    let mut person = browser(sidecar, cookie);
    let consent = follow(&mut person, &authorize(scope));
    let allowed = person.submit(&consent, CONSENT, &[("decision", "allow")]);
    let answer = redeem(sidecar, &allowed).json();
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (text("access_token"), text("refresh_token"), text("scope"))
}

fn signed_in(sidecar: &Sidecar) -> f64 {
    sidecar.metric("gatepost_sign_ins_total{method=\"app\",result=\"ok\"}")
}

#[test]
fn contract_sign_in_app_code_flow_from_the_login_of_the_application_to_the_api() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let mut ada = Browser::new(&sidecar);
    ada.cookies.insert("other".into(), "1".into());
    ada.cookies.insert("tracking".into(), "secret".into());
    let way = ada.get(&authorize("read+admin"));
    let way = ada.get(&location(&way));
    let login = location(&way);
    let begin = "/login?as=7&next=%2Fauth%2Faccount%2Fcontinue%2F";
    assert!(login.starts_with(begin), "{login}");
    assert!(!login.contains("state") && !login.contains("callback"), "{login}");
    // The application's own page, through the gate, then back.
    let consent = follow(&mut ada, &login);
    assert_eq!(consent.status, 200, "{}", consent.text());
    assert!(consent.text().contains("Administer the shop") && consent.text().contains("ada"));
    let granted = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    let tokens = redeem(&sidecar, &granted).json();
    assert_eq!(tokens["scope"], "admin read");
    assert_eq!(api(&sidecar, tokens["access_token"].as_str().unwrap()), 200);
    let request = shop.upstream.last();
    assert_eq!(request.field("x-auth-subject"), Some("7"));
    let asked = shop.asked("/whoami");
    assert!(!asked.is_empty());
    for question in &asked {
        assert_eq!(question.field("host"), Some("api.example.com"));
        let cookies = question.field("cookie").unwrap_or_default();
        assert!(cookies.contains("other=1"), "{cookies}");
        assert!(!cookies.contains("gatepost") && !cookies.contains("tracking"), "{cookies}");
    }
    assert_eq!(signed_in(&sidecar), 1.0);
}

#[test]
fn contract_sign_in_app_any_other_answer_is_a_503_page_and_no_sign_in() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let long = format!("{{\"sub\":\"7\",\"name\":\"{}\"}}", "x".repeat(16 << 10));
    let subject = |sub: &str| answer("200 OK", &format!("{{\"sub\":\"{sub}\"}}"));
    let found = b"HTTP/1.1 302 Found\r\nLocation: /people/7\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (number, bytes) in [
        found,
        answer("500 Internal Server Error", "{\"sub\":\"7\"}"),
        answer("201 Created", "{\"sub\":\"7\"}"),
        answer("204 No Content", ""),
        answer("404 Not Found", ""),
        answer("200 OK", &long),
        answer("200 OK", "<html>7</html>"),
        answer("200 OK", "{\"sub\":7}"),
        answer("200 OK", ""),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"sub\":\"7\"}".to_vec(),
        subject("usr_1234567890123456789012"),
        subject("app:shop"),
        subject("key:1"),
        subject("urn:x"),
        subject("app_1"),
        subject(&"x".repeat(257)),
        // Never an answer.
        Vec::new(),
    ]
    .into_iter()
    .enumerate()
    {
        shop.set_whoami(Some(bytes));
        let mut ada = browser(&sidecar, &format!("a{number}"));
        let page = follow(&mut ada, TOKENS);
        assert_eq!(page.status, 503, "{number}: {}", page.text());
        assert!(page.text().contains("Try again in a moment"), "{}", page.text());
        assert_eq!(page.field("retry-after"), Some("2"));
        assert!(shop.asked("/people").is_empty(), "a redirect was followed");
    }
    shop.set_whoami(None);
    assert_eq!(signed_in(&sidecar), 0.0);
    let failed = "gatepost_sign_ins_total{method=\"app\",result=\"temporarily_unavailable\"}";
    assert_eq!(sidecar.metric(failed), 17.0);
    // The page has its style all the same, and what failed is not remembered.
    assert_eq!(sidecar.get("/auth/account/style.css", &[("Host", "api.example.com")]).status, 200);
    assert_eq!(follow(&mut browser(&sidecar, "a"), TOKENS).status, 200);
    assert_eq!(signed_in(&sidecar), 1.0);
}

#[test]
fn contract_sign_in_app_an_outage_signs_no_one_out_and_lets_no_one_on() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let mut ada = browser(&sidecar, "a");
    assert_eq!(follow(&mut ada, TOKENS).status, 200);
    shop.set_whoami(Some(answer("500 Internal Server Error", "")));
    // Another value of a listed cookie is another question.
    ada.cookies.insert("other".into(), "2".into());
    let page = ada.get(TOKENS);
    assert_eq!(page.status, 503, "{}", page.text());
    shop.set_whoami(None);
    assert_eq!(ada.get(TOKENS).status, 200);
}

#[test]
fn r1108_another_person_of_the_application_ends_what_was_begun() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let mut ada = browser(&sidecar, "a");
    let consent = follow(&mut ada, &authorize("read"));
    assert!(consent.text().contains("ada"), "{}", consent.text());
    // Eve signs in to the application, in the same browser.
    set(&mut ada, "e");
    let refused = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("Another person is signed in"), "{}", refused.text());
    assert!(refused.field("location").is_none());
    // The session of ada has ended: her cookie alone does not bring it back.
    set(&mut ada, "a");
    let refused = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    assert_eq!(refused.status, 403, "{}", refused.text());
    // With a new session neither the form nor the sealed request of the old one is good.
    assert_eq!(follow(&mut ada, TOKENS).status, 200);
    let refused = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    assert_eq!(refused.status, 403, "{}", refused.text());
    // A page shows the person that the application has now.
    set(&mut ada, "e");
    let page = follow(&mut ada, "/auth/account/profile");
    assert!(page.text().contains("eve") && !page.text().contains("ada"), "{}", page.text());
}

#[test]
fn r1108_a_sign_out_of_the_application_ends_the_session() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let mut ada = browser(&sidecar, "a");
    let consent = follow(&mut ada, &authorize("read"));
    ada.cookies.remove("session");
    let refused = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(location(&ada.get(TOKENS)).starts_with("/login?"));
}

#[test]
fn r1111_the_way_back_leads_to_this_host_and_belongs_to_one_browser() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let mut ada = Browser::new(&sidecar);
    let way = location(&ada.get(&format!("{TOKENS}?next=https://evil.example/")));
    assert!(way.starts_with("/auth/account/continue/"), "{way}");
    // In another browser it is worth nothing, signed in or not; a forged one neither.
    let mut eve = browser(&sidecar, "e");
    for path in [&*way, "/auth/account/continue/x", "/auth/account/continue/a.b.c.d.e"] {
        let refused = eve.get(path);
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        assert!(refused.field("location").is_none());
    }
    assert_eq!(signed_in(&sidecar), 0.0);
    assert_eq!(ada.get("//evil.example/auth/account").status, 404);
    let login = location(&ada.get("/auth/account//evil.example"));
    assert!(login.starts_with("/login?as=7&next=%2Fauth%2Faccount%2Fcontinue%2F"), "{login}");
    set(&mut ada, "a");
    let back = ada.get(&way);
    assert_eq!(location(&back), format!("{TOKENS}?next=https://evil.example/"));
    // A host that is not the issuer's has no pages, and the application is not asked.
    let asked = shop.asked("/whoami").len();
    let mut mallory = browser(&sidecar, "m");
    mallory.host = "evil.example";
    assert_eq!(mallory.get(&authorize("read")).status, 404);
    assert_eq!(mallory.get(&way).status, 404);
    assert_eq!(shop.asked("/whoami").len(), asked);
}

#[test]
fn contract_sign_in_app_sends_a_browser_in_no_circles() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let mut ada = Browser::new(&sidecar);
    let mut way = location(&ada.get(TOKENS));
    let mut logins = 0;
    let page = loop {
        let answer = ada.get(&way);
        let Some(next) = answer.field("location") else { break answer };
        let next = next.split("next=").nth(1).expect("the login page").replace("%2F", "/");
        (way, logins) = (next, logins + 1);
        assert!(logins < 10);
    };
    assert_eq!((logins, page.status), (3, 403), "{}", page.text());
    assert!(page.text().contains("issuer.sign_in.app.cookies"), "{}", page.text());
    // A browser that keeps no cookies gets a page.
    let fields = [("Host", "api.example.com"), ("Cookie", "session=a")];
    let way = location(&sidecar.get(TOKENS, &fields));
    assert_eq!(sidecar.get(&way, &fields).status, 400);
}

#[test]
fn contract_sign_in_app_sixteen_requests_at_once_are_one_question() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let mut ada = browser(&sidecar, "a");
    assert_eq!(follow(&mut ada, TOKENS).status, 200);
    // A cookie that was not asked about yet.
    shop.sign_in("b", "7");
    set(&mut ada, "b");
    let before = shop.asked("/whoami").len();
    let cookies: Vec<_> =
        ada.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cookies = cookies.join("; ");
    let fields = [("Host", "api.example.com"), ("Cookie", &*cookies)];
    let mut clients: Vec<_> = (0..16).map(|_| sidecar.connect()).collect();
    for client in &mut clients {
        client.send(head("GET", TOKENS, &fields));
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(shop.asked("/whoami").len(), before + 1);
}

#[test]
fn contract_sign_in_app_roles_cut_scopes() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let (access, token, scope) = granted(&sidecar, "a", "read+admin");
    assert_eq!((&*scope, api(&sidecar, &access)), ("admin read", 200));
    let (_, _, of_eve) = granted(&sidecar, "e", "read+admin");
    assert_eq!(of_eve, "read");
    // The application takes the role away: the next refresh knows.
    shop.add("7", ",\"login\":\"ada\",\"roles\":[]");
    let answer = refresh(&sidecar, &token);
    assert_eq!(answer.json()["scope"], "read", "{}", answer.text());
}

#[test]
fn contract_sign_in_app_a_person_who_is_gone_keeps_nothing() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let (access, token, _) = granted(&sidecar, "a", "read");
    let (_, of_eve, _) = granted(&sidecar, "e", "read");
    // Failures end nothing, and let nothing pass.
    for bytes in [
        answer("500 Internal Server Error", ""),
        answer("403 Forbidden", ""),
        answer("200 OK", "{\"sub\":\"8\"}"),
        b"HTTP/1.1 302 Found\r\nLocation: /people/8\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ] {
        shop.set_person(Some(bytes));
        let refused = refresh(&sidecar, &token);
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.json()["error"], "temporarily_unavailable");
        assert_eq!(api(&sidecar, &access), 200);
    }
    shop.set_person(None);
    assert_eq!(refresh(&sidecar, &token).status, 200);
    assert!(shop.asked("/people/7").len() >= 5);
    shop.remove("7");
    let refused = refresh(&sidecar, &token);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["error"], "invalid_grant");
    assert_eq!(api(&sidecar, &access), 401);
    assert_eq!(refresh(&sidecar, &of_eve).status, 200);
    // Back again, the person begins with nothing.
    shop.add("7", ",\"login\":\"ada\"");
    assert_eq!(follow(&mut browser(&sidecar, "a"), TOKENS).status, 200);
    assert_eq!(api(&sidecar, &access), 401);
    assert_eq!(refresh(&sidecar, &token).status, 400);
}

#[test]
fn contract_sign_in_app_a_personal_access_token_needs_a_recent_sign_in_of_the_application() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let page = "/auth/account/tokens/new";
    // No time, an old one, one in the future in milliseconds: sent to the login page, then told why.
    for members in [
        String::new(),
        format!(",\"auth_time\":{}", now() - 301),
        format!(",\"auth_time\":{}000", now()),
    ] {
        shop.add("7", &members);
        let cookie = format!("c{}", members.len());
        shop.sign_in(&cookie, "7");
        let mut ada = browser(&sidecar, &cookie);
        assert_eq!(follow(&mut ada, TOKENS).status, 200);
        let login = location(&ada.get(page));
        assert!(login.starts_with("/login?"), "{login}");
        let back = login.split("next=").nth(1).unwrap().replace("%2F", "/");
        let refused = ada.get(&back);
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains("auth_time"), "{}", refused.text());
    }
    shop.add("7", &format!(",\"auth_time\":{}", now() - 10));
    shop.sign_in("fresh", "7");
    let mut ada = browser(&sidecar, "fresh");
    let form = follow(&mut ada, page);
    assert!(!form.text().contains("type=\"password\""), "{}", form.text());
    let made = ada.submit(&form, page, &[("name", "ci"), ("scope-0", "on"), ("expiry", "7")]);
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(made.text().contains("gp_pat_"), "{}", made.text());
    // The form of a session that is not recent any more is refused as well.
    shop.add("7", &format!(",\"auth_time\":{}", now() - 301));
    shop.sign_in("later", "7");
    set(&mut ada, "later");
    let refused = ada.submit(&form, page, &[("name", "ci"), ("scope-0", "on"), ("expiry", "7")]);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("Sign in there again"), "{}", refused.text());
}

#[test]
fn contract_sign_in_app_beside_local_accounts_is_a_choice() {
    let shop = Shop::start();
    let sidecar = start(&shop, "local");
    let add = ["user", "add", "--login", "ada", "--password-stdin", "--config", "gatepost.yaml"];
    let run = sidecar.sandbox.run_with(&add, &format!("{PASSWORD}\n"));
    assert_eq!(run.exit, 0, "{run:?}");
    let local = run.stdout.trim().to_owned();
    // The application is not asked before the person chooses it.
    let mut ada = browser(&sidecar, "a");
    let page = ada.get(TOKENS);
    assert!(page.text().contains("Sign in with the application"), "{}", page.text());
    assert!(page.text().contains("name=\"password\""));
    assert!(shop.asked("/whoami").is_empty());
    let chosen = ada.submit(&page, "/auth/account/sign-in/app", &[]);
    assert_eq!(location(&chosen), TOKENS);
    // A login names one person: the local one keeps it.
    let profile = ada.get("/auth/account/profile").text();
    assert!(profile.contains("7") && !profile.contains(&local), "{profile}");
    let page = ada.get(TOKENS);
    let out = ada.submit(&page, "/auth/account/sign-out", &[]);
    assert_eq!(out.status, 200);
    assert!(out.text().contains("still signed in to the application"), "{}", out.text());
    assert!(ada.get(TOKENS).text().contains("name=\"password\""), "signed out");
    // The local person with the same login is another one, and the application has no say.
    let mut other = browser(&sidecar, "e");
    let page = other.sign_in("/auth/account/profile", "ada", PASSWORD);
    assert!(page.text().contains(&local), "{}", page.text());
    shop.set_whoami(Some(answer("500 Internal Server Error", "")));
    assert_eq!(other.get(TOKENS).status, 200);
}

#[test]
fn contract_sign_in_app_a_disabled_person_stays_out() {
    let shop = Shop::start();
    let sidecar = start(&shop, "off");
    let (access, token, _) = granted(&sidecar, "a", "read");
    let command = |act: &str| {
        let run = sidecar.sandbox.run(&["user", act, "7", "--config", "gatepost.yaml"]);
        assert_eq!(run.exit, 0, "{run:?}");
    };
    command("disable");
    eventually("the end", || (api(&sidecar, &access) == 401).then_some(()));
    let refused = follow(&mut browser(&sidecar, "a"), TOKENS);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("disabled"), "{}", refused.text());
    assert_eq!(refresh(&sidecar, &token).status, 400);
    command("enable");
    assert_eq!(follow(&mut browser(&sidecar, "a"), TOKENS).status, 200);
}
