//! The account pages beyond their main acts: editing, stale forms, what lists show.

use crate::issuer_people::{
    CONSENT, ENTERED, PASSWORD, REGISTER, add, api, check_page, client_id, developer, first,
    secret, start,
};
use crate::support::{Browser, Recorder, Response, encode, eventually};

#[test]
fn contract_developer_edits_an_application_and_people_are_asked_again() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = developer(&sidecar);
    let page = ada.get(REGISTER);
    let id = client_id(&ada.submit(&page, REGISTER, &ENTERED));
    let details = format!("/auth/account/applications/{id}");
    let text = ada.get(&details).text();
    for shown in [
        "https://api.example.com/.well-known/oauth-authorization-server",
        "https://api.example.com/oauth/token",
        "never used",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let authorize = |uri: &str| {
        format!("/oauth/authorize?client_id={id}&response_type=code&redirect_uri={}", encode(uri))
    };
    let mine = "https://mine.example.com/cb";
    let consent = ada.get(&authorize(mine));
    assert_eq!(ada.submit(&consent, CONSENT, &[("decision", "allow")]).status, 303);
    assert_eq!(ada.get(&authorize(mine)).status, 303, "allowed");
    let edit = format!("{details}/edit");
    let page = ada.get(&edit);
    check_page(&page, false);
    let text = page.text();
    for kept in ["value=\"Mine\"", mine, "asked again", "cannot be changed"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    // Values are kept, and each mistake is beside its field.
    let (site, uris) = ("https://x.example", format!("{mine}\nhttps://new.example.com/cb"));
    let wrong = [("name", "Ours"), ("profile", "compat"), ("redirect_uris", "http://x/")];
    let answer = ada.submit(&page, &edit, &[&wrong[..], &[("scope-0", "on")]].concat());
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("value=\"Ours\"") && answer.text().contains("http://x/"));
    let good = [("name", "Ours"), ("profile", "compat"), ("redirect_uris", &*uris), ("site", site)];
    let good = [&good[..], &[("scope-0", "on")]].concat();
    let saved = ada.submit(&answer, &edit, &good);
    assert_eq!(saved.status, 303, "{}", saved.text());
    let text = ada.get(saved.field("location").unwrap()).text();
    for shown in ["Ours", "https://new.example.com/cb", site, "in force"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    // The name and a host changed: people are asked again.
    let asked = ada.get(&authorize(mine));
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert!(asked.text().contains("Ours"), "{}", asked.text());
    // A form of another tab, opened before: nothing is undone.
    let stale = ada.submit(&page, &edit, &[&wrong[..2], &good[2..]].concat());
    assert_eq!(stale.status, 409);
    assert!(stale.text().contains("changed after this form was opened"), "{}", stale.text());
    // Not another person's, and nothing that is for operators.
    add(&sidecar, "eve");
    let mut eve = Browser::new(&sidecar);
    assert_eq!(eve.sign_in(&edit, "eve", PASSWORD).status, 404);
    let fields = ["app", "update", &id, "--first-party", "true", "--config", "gatepost.yaml"];
    let run = sidecar.sandbox.run(&fields);
    assert_eq!(run.exit, 0, "{run:?}");
    let refused = ada.get(&edit);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Only an operator"), "{}", refused.text());
}

#[test]
fn contract_account_an_expired_token_is_listed_and_created_again() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let create = ["token", "create", "--user", "ada", "--name", "old one", "--scope", "write"];
    let create = [&create[..], &["--expires", "1s", "--config", "gatepost.yaml"]].concat();
    let run = sidecar.sandbox.run(&create);
    assert_eq!(run.exit, 0, "{run:?}");
    let mut ada = Browser::new(&sidecar);
    ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    let list = eventually("the end", || {
        let list = ada.get("/auth/account/tokens");
        list.text().contains("Create again with these settings").then_some(list)
    });
    let text = list.text();
    assert!(text.contains("expired") && text.contains("never used"), "{text}");
    let link = text.split("href=\"").find(|link| link.contains("again=")).unwrap();
    let link = link.split('"').next().unwrap().to_owned();
    let form = ada.get(&link).text();
    assert!(form.contains("value=\"old one\""), "{form}");
    let field = |name: &str| form.split("<input").find(|field| field.contains(name)).unwrap();
    let write = form.find("Change products and orders").unwrap();
    let ticked = form[..write].rsplit("<input").next().unwrap();
    assert!(ticked.contains(" checked"), "{ticked}");
    assert!(!field("id=\"scope-0\"").contains(" checked") || ticked.contains("scope-0"));
    // Another person's credential fills no form.
    add(&sidecar, "eve");
    let mut eve = Browser::new(&sidecar);
    assert_eq!(eve.sign_in(&link, "eve", PASSWORD).status, 404);
}

#[test]
fn contract_account_answers_announce_an_end_within_14_days() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let announced = |expires: &str| {
        let create = ["token", "create", "--user", "ada", "--name", expires, "--scope", "read"];
        let create = [&create[..], &["--expires", expires, "--config", "gatepost.yaml"]].concat();
        let run = sidecar.sandbox.run(&create);
        let bearer = format!("Bearer {}", run.stdout.trim());
        let fields = [("Host", "api.example.com"), ("Authorization", &*bearer)];
        let answer = sidecar.get("/api/x", &fields);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.field("x-auth-expires").map(str::to_owned)
    };
    let end = announced("13d").expect("an end that is near");
    assert!(end.len() == 20 && end.starts_with("20") && end.ends_with('Z'), "{end}");
    assert_eq!(announced("15d"), None);
}

#[test]
fn contract_account_a_token_is_tested_by_the_gate_and_its_last_refusal_is_shown() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    ada.sign_in("/auth/account/tokens", "ada", PASSWORD);
    let (new, test) = ("/auth/account/tokens/new", "/auth/account/tokens/test");
    let page = ada.get(new);
    let made = ada.submit(&page, new, &[("name", "ci"), ("scope-1", "on"), ("expiry", "30")]);
    let token = secret(&made);
    // The form of the page that reveals it holds it already.
    let tested = ada.submit(&made, test, &[("secret", &token)]);
    assert_eq!(tested.status, 200, "{}", tested.text());
    check_page(&tested, false);
    let text = tested.text();
    assert!(text.contains("Refused") && text.contains("with 403"), "{text}");
    assert!(text.contains("GET /api/x"), "an example that takes tokens: {text}");
    assert!(!text.contains(&token));
    let bearer = format!("Bearer {token}");
    assert_eq!(api(&sidecar, ("Authorization", &bearer)), 403, "the same decision");
    let page = ada.get(new);
    let made = ada.submit(&page, new, &[("name", "r"), ("scope-0", "on"), ("expiry", "30")]);
    let good = secret(&made);
    let wanted = [("secret", &*good), ("method", "GET"), ("path", "/api/y?q=1")];
    let one = ada.submit(&tested, test, &wanted).text();
    assert!(one.contains("Admitted") && one.contains("GET /api/y</code>"), "{one}");
    assert_eq!(upstream.requests().len(), 0, "a test forwards nothing");
    // Neither a path that is none, nor a text that is no credential of this person.
    let wrong = [("secret", &*token), ("path", "/a b")];
    assert_eq!(ada.submit(&tested, test, &wrong).status, 422);
    let unknown = ada.submit(&tested, test, &[("secret", "gp_pat_x"), ("path", "/api/x")]);
    assert_eq!(unknown.status, 422);
    assert!(unknown.text().contains("You have no personal access token with this text"));
    add(&sidecar, "eve");
    let mut eve = Browser::new(&sidecar);
    let form = eve.sign_in(test, "eve", PASSWORD);
    assert_eq!(eve.submit(&form, test, &[("secret", &token), ("path", "/api/x")]).status, 422);
    // The last refusal is on the list, without the token.
    let list = ada.get("/auth/account/tokens");
    assert!(list.text().contains("Last refused: scope"), "{}", list.text());
    assert!(!list.text().contains(&token) && !list.text().contains(&good));
    // Both are of one second: the filter finds the one to revoke.
    let list = ada.get("/auth/account/tokens?q=r");
    let id = first(&list, "tokens", "revoke");
    let revoke = format!("/auth/account/tokens/{id}/revoke");
    let page = ada.get(&revoke);
    ada.submit(&page, &revoke, &[]);
    let dead = ada.submit(&tested, test, &[("secret", &good), ("path", "/api/x")]);
    assert!(dead.text().contains("revoked at"), "{}", dead.text());
    for written in [sidecar.stdout(), sidecar.stderr()] {
        assert!(!written.contains(&token));
    }
}

#[test]
fn contract_account_the_list_says_when_a_key_was_refused_last_and_from_where() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = Browser::new(&sidecar);
    ada.sign_in("/auth/account/keys", "ada", PASSWORD);
    let new = "/auth/account/keys/new";
    let page = ada.get(new);
    let key = secret(&ada.submit(&page, new, &[("name", "ci"), ("full", "on"), ("expiry", "30")]));
    let list = ada.get("/auth/account/keys");
    assert!(!list.text().contains("Last refused"), "{}", list.text());
    let disable = format!("/auth/account/keys/{}/disable", first(&list, "keys", "disable"));
    let page = ada.get(&disable);
    ada.submit(&page, &disable, &[]);
    assert_eq!(api(&sidecar, ("X-API-Key", &key)), 401);
    let list = ada.get("/auth/account/keys").text();
    assert!(list.contains("Last refused: key disabled, less than a minute ago"), "{list}");
}

#[test]
fn contract_developer_role_is_asked_for_on_a_page_and_given_by_an_operator() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let list = "/auth/account/applications";
    let asking = || {
        let run = sidecar.sandbox.run(&["user", "list", "--asked", "--config", "gatepost.yaml"]);
        assert_eq!(run.exit, 0, "{run:?}");
        run.stdout
    };
    assert!(!asking().contains("ada"));
    let mut ada = Browser::new(&sidecar);
    let page = ada.sign_in(list, "ada", PASSWORD);
    assert!(page.text().contains("Register as a developer"), "{}", page.text());
    let ask = format!("{list}/developer");
    for _ in 0..2 {
        assert_eq!(ada.submit(&page, &ask, &[]).status, 303);
    }
    let text = ada.get(list).text();
    assert!(text.contains("You asked to be registered"), "{text}");
    assert!(!text.contains("<button type=\"submit\">Register as a developer"), "{text}");
    assert!(asking().contains("ada"), "{}", asking());
    assert_eq!(ada.post(&ask, &[("csrf", "x")]).status, 403);
    let audit = sidecar.sandbox.run(&["audit", "--output", "json", "--config", "gatepost.yaml"]);
    assert_eq!(audit.stdout.matches("role.ask").count(), 1, "a second request adds nothing");
    let mut ada = developer(&sidecar);
    let text = ada.get(list).text();
    assert!(text.contains("Register an application") && !text.contains("You asked"), "{text}");
    assert!(!asking().contains("ada"), "{}", asking());
}

/// The path of a redirect to this host.
#[track_caller]
fn own_path(answer: &Response) -> String {
    let location = answer.field("location").unwrap_or_else(|| panic!("{}", answer.text()));
    location.strip_prefix("https://api.example.com").unwrap_or(location).to_owned()
}

#[test]
fn contract_developer_tries_the_code_flow_of_the_own_application_alone() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut ada = developer(&sidecar);
    let page = ada.get(REGISTER);
    let id = client_id(&ada.submit(&page, REGISTER, &ENTERED));
    let begin = format!("/auth/account/applications/{id}/try");
    let page = ada.get(&begin);
    check_page(&page, false);
    let sent = ada.submit(&page, &begin, &[]);
    assert_eq!(sent.status, 303, "{}", sent.text());
    let authorize = own_path(&sent);
    assert!(authorize.starts_with("/oauth/authorize?response_type=code"), "{authorize}");
    let consent = ada.get(&authorize);
    assert_eq!(consent.status, 200, "{}", consent.text());
    assert!(consent.text().contains("api.example.com"), "the host of the target");
    let back = ada.submit(&consent, CONSENT, &[("decision", "allow")]);
    let callback = own_path(&back);
    assert!(callback.starts_with(&format!("{begin}/callback?code=gp_ac_")), "{callback}");
    let returned = ada.get(&callback);
    assert_eq!(returned.status, 200, "{}", returned.text());
    check_page(&returned, false);
    let redeem = format!("{begin}/redeem");
    let answer = ada.submit(&returned, &redeem, &[]);
    let text = answer.text();
    for shown in ["access_token", "gp_rt_", "expires_in", "Bearer", "has ended"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    for token in
        text.split("&#34;").filter(|part| part.starts_with("eyJ") || part.starts_with("gp_"))
    {
        assert!(token.chars().count() <= 13, "masked: {token}");
    }
    let again = ada.submit(&returned, &redeem, &[]);
    assert!(again.text().contains("invalid_grant"), "{}", again.text());
    // With another state, and for another person, the redirect URI is not registered.
    let (head, rest) = authorize.split_once("state=").unwrap();
    let (state, rest) = rest.split_once('&').unwrap();
    let other = format!("{head}state=x&{rest}");
    let refused = ada.get(&other);
    assert_eq!((refused.status, refused.field("location")), (400, None));
    assert!(refused.text().contains("not registered"), "{}", refused.text());
    add(&sidecar, "eve");
    let mut eve = Browser::new(&sidecar);
    assert_eq!(eve.sign_in(&begin, "eve", PASSWORD).status, 404);
    let refused = eve.get(&authorize);
    assert_eq!((refused.status, refused.field("location")), (400, None));
    assert_eq!(ada.get(&callback.replace(state, "x")).status, 400, "of another browser");
    let code = callback.split("code=").nth(1).unwrap().split('&').next().unwrap();
    for written in [sidecar.stdout(), sidecar.stderr()] {
        assert!(!written.contains(code) && !written.contains(state));
    }
}

#[test]
fn contract_device_code_is_shown_as_a_qr_code_of_the_page_of_this_issuer() {
    let upstream = Recorder::start();
    let sidecar = start(&upstream);
    let mut device = Browser::new(&sidecar);
    let qr = |device: &mut Browser<'_>, code: &str| {
        device.get(&format!("/auth/account/device/qr?user_code={code}"))
    };
    let image = qr(&mut device, "BCDF-GHJK");
    assert_eq!((image.status, image.field("content-type")), (200, Some("image/svg+xml")));
    assert!(image.text().starts_with("<svg"), "{}", image.text());
    assert_eq!(image.text(), qr(&mut device, "bcdfghjk").text(), "one code, one image");
    assert_ne!(image.text(), qr(&mut device, "BCDF-GHJL").text());
    for code in ["", "https%3A%2F%2Fevil.example", "AAAA"] {
        assert_eq!(qr(&mut device, code).status, 400, "{code}");
    }
}
