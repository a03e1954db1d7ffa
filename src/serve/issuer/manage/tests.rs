//! The administration on a store in a folder of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::base::clock::Clock;
use crate::config::model::issuer::{
    AuditSettings, DeviceSettings, IssuerStartup, Registration, SignIn, StoreLocation, Trust,
};
use crate::decide::api_key::format::{Form, check};
use crate::decide::api_key::{Digest, KeyEntry};
use crate::decide::gate::Stored;
use crate::decide::jwt::Algorithm;
use crate::decide::live::{Kind, Live, RoleRules};
use crate::decide::principal::Claims;
use crate::decide::scope::ScopeSet;
use crate::issue::intent::client::{Lifetimes, Rules, Scopes};
use crate::issue::intent::credentials;
use crate::issue::signing_key::life::Rotation;
use crate::serve::issuer::declared::declare;
use crate::serve::issuer::open::Opening;
use crate::serve::store::Watch;
use crate::serve::store::sqlite::Role;

struct Rig {
    manager: Manager,
    live: Arc<Live>,
    stored: Stored,
    runtime: Runtime,
    _folder: TempDir,
}

impl Rig {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let startup = IssuerStartup {
            url: "https://api.example.com".into(),
            prefixes: vec!["/oauth".into()],
            account: "/auth/account".into(),
            store: StoreLocation::Sqlite(folder.path().join("gatepost.db")),
            peppers: None,
        };
        let opening = Opening {
            startup: &startup,
            rotation: settings().rotation,
            state_dir: folder.path(),
            insecure_file_modes: false,
            clock: Clock::start(),
            role: Role::Run,
            watch: Watch::default(),
            new_store: false,
        };
        let runtime = Runtime::new().unwrap();
        let open = runtime.block_on(opening.open()).unwrap();
        let caller = Caller::operator_at("192.0.2.1", "r-1");
        let manager = Manager::new(&open, Arc::new(filed()), Arc::new(settings()), caller);
        let stored = open.stored(&startup);
        Self { manager, live: open.live, stored, runtime, _folder: folder }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test describes a call once")]
    fn call(&self, method: Method, target: &str, body: Value, status: u16) -> Value {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path: Vec<_> = path.split('/').skip(1).collect();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let call = Call { method: &method, path: &path, query, body: &body };
        let reply = self.runtime.block_on(self.manager.answer(call));
        assert_eq!(reply.status.as_u16(), status, "{target}: {}", reply.body);
        reply.body
    }

    fn add(&self, login: &str) -> String {
        let body = json!({ "login": login });
        self.call(Method::POST, "/users", body, 201)["id"].as_str().unwrap().to_owned()
    }
}

/// A key of a key file.
const FILED: &str = "a-key-of-a-key-file-0123456789";

fn filed() -> KeyRing {
    let entry = KeyEntry {
        id: "filed".into(),
        name: None,
        digest: Digest::sha256(FILED),
        subject: "key:filed".into(),
        scopes: Arc::default(),
        claims: Claims::none(),
        not_before: None,
        expires: None,
        enabled: true,
        limits: Box::default(),
        replaces: None,
    };
    KeyRing::new(vec![entry], &HashMap::new(), &[])
}

fn settings() -> IssuerSettings {
    let hour = Duration::from_secs(3_600);
    let known = ScopeSet::parse("admin read write").unwrap();
    let roles = RoleRules::new([("admin".into(), Box::from([Box::from("operator")]))]);
    let lifetimes = Lifetimes {
        access: 3_600,
        compat_access: 3_600,
        refresh: 86_400,
        compat_refresh: 86_400,
        idle: 600,
        grace: 60,
    };
    IssuerSettings {
        hosts: Vec::new(),
        pages: None,
        account_url: "https://api.example.com/auth/account".into(),
        audience: "https://api.example.com".into(),
        rules: Rules {
            lifetimes,
            scopes: Arc::new(Scopes {
                known,
                reserved: ScopeSet::parse("report").unwrap(),
                default: None,
                roles,
            }),
        },
        scopes: Vec::new(),
        max_access_lifetime: hour,
        rotation: Rotation {
            rotate: hour,
            publish_before: hour,
            longest_token: hour,
            algorithm: Algorithm::Es256,
        },
        codes: hour,
        device: DeviceSettings { lifetime: hour, interval: hour },
        personal_access_tokens: Some(credentials::Lifetimes {
            default: hour,
            max: hour,
            forever: false,
        }),
        api_keys: Some(credentials::Lifetimes { default: hour, max: 24 * hour, forever: true }),
        applications: Vec::new(),
        sign_in: SignIn { local: true, app: None, session_lifetime: hour, session_idle: hour },
        registration: Registration::Role,
        compat: true,
        trust: Trust::All,
        plugin_base_url: "https://api.example.com".into(),
        audit: AuditSettings { keep: hour, size: 1 },
        cors: Vec::new(),
        hsts: false,
    }
}

#[test]
fn contract_admin_people_are_added_found_disabled_and_deleted() {
    let rig = Rig::start();
    let ada = rig.call(
        Method::POST,
        "/users",
        json!({ "login": "ada", "name": "Ada L.", "roles": ["operator"] }),
        201,
    );
    let id = ada["id"].as_str().unwrap();
    assert!(id.starts_with("usr_") && ada["disabled"].is_null(), "{ada}");
    assert_eq!(rig.call(Method::GET, "/users/ada", Value::Null, 200), ada);
    assert_eq!(rig.call(Method::GET, &format!("/users/{id}"), Value::Null, 200), ada);
    rig.call(Method::POST, "/users", json!({ "login": "ada" }), 409);
    for wrong in [json!({ "login": "a b" }), json!({ "login": "x", "roles": ["a b"] })] {
        rig.call(Method::POST, "/users", wrong, 422);
    }
    rig.call(Method::POST, "/users", json!({ "login": "x", "passwort": 1 }), 400);
    let disabled = rig.call(Method::POST, "/users/ada/disable", Value::Null, 200);
    assert!(disabled["disabled"].is_string());
    assert!(rig.call(Method::POST, "/users/ada/enable", Value::Null, 200)["disabled"].is_null());
    rig.call(Method::POST, "/users/ada/roles", json!({ "roles": ["developer"] }), 200);
    rig.call(Method::DELETE, "/users/ada", Value::Null, 200);
    let gone = rig.call(Method::GET, "/users/ada", Value::Null, 404);
    assert!(gone["detail"].as_str().unwrap().contains("gatepost user add --login ada"), "{gone}");
    let acts = rig.call(Method::GET, &format!("/audit?subject={id}"), Value::Null, 200);
    let acts = acts["audit"].as_array().unwrap().iter().map(|line| line["act"].clone());
    let expected =
        ["person.add", "person.disable", "person.enable", "person.roles", "person.delete"];
    assert_eq!(acts.collect::<Vec<_>>(), expected);
}

#[test]
fn contract_admin_lists_are_paged_and_filtered() {
    let rig = Rig::start();
    let ids: Vec<_> = (0..5).map(|number| rig.add(&format!("user{number}"))).collect();
    let mut found = Vec::new();
    let mut target = "/users?limit=2".to_owned();
    loop {
        let page = rig.call(Method::GET, &target, Value::Null, 200);
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 2);
        found.extend(users.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/users?limit=2&after={next}");
    }
    let mut sorted = ids;
    sorted.sort();
    assert_eq!(found, sorted);
    // A full page without a next one names none.
    let lines = rig.call(Method::GET, "/audit", Value::Null, 200);
    let lines = lines["audit"].as_array().unwrap().len();
    for target in ["/users?limit=5".to_owned(), format!("/audit?limit={lines}")] {
        let full = rig.call(Method::GET, &target, Value::Null, 200);
        assert_eq!(full["next"], Value::Null, "{target}: {full}");
    }
    let one = rig.call(Method::GET, "/users?login=user3", Value::Null, 200);
    assert_eq!(one["users"].as_array().unwrap().len(), 1);
    rig.call(Method::POST, "/users/user3/disable", Value::Null, 200);
    for (filter, expected) in
        [("state=disabled", 1), ("state=active", 4), ("state=expired", 0), ("name=x", 0)]
    {
        let page = rig.call(Method::GET, &format!("/users?{filter}"), Value::Null, 200);
        assert_eq!(page["users"].as_array().unwrap().len(), expected, "{filter}");
    }
    for wrong in
        ["/users?limit=0", "/users?limit=1001", "/users?frob=x", "/users?state=x", "/audit?after=x"]
    {
        rig.call(Method::GET, wrong, Value::Null, 422);
    }
    rig.call(Method::DELETE, "/users", Value::Null, 405);
    rig.call(Method::GET, "/frobs", Value::Null, 404);
}

#[test]
fn contract_admin_tokens_and_keys_are_made_in_force_and_ended() {
    let rig = Rig::start();
    rig.add("ada");
    for (root, member, kind) in [("/tokens", "token", Kind::Pat), ("/keys", "key", Kind::Key)] {
        let new = json!({ "owner": "ada", "name": "ci", "scopes": ["read"] });
        let made = rig.call(Method::POST, root, new, 201);
        let text = made[member].as_str().unwrap();
        assert!(matches!(check(text), Form::Good(_)), "{made}");
        assert_eq!(made["hint"], text[text.len() - 4..]);
        let digest = crate::base::sha256::sha256(text.as_bytes());
        let is_live = || {
            let (set, now) = (rig.live.load(), Clock::start().now().unix);
            set.find(kind, &digest, now).is_some_and(|found| found.is_ok())
        };
        assert!(is_live(), "in force with the answer");
        let listed = rig.call(Method::GET, &format!("{root}?owner=ada"), Value::Null, 200);
        assert!(!listed.to_string().contains(text), "a list has no secret");
        let id = made["id"].as_str().unwrap();
        rig.call(Method::POST, &format!("{root}/{id}/disable"), Value::Null, 200);
        assert!(!is_live());
        for (filter, expected) in [
            ("state=disabled", 1),
            ("state=active", 0),
            ("state=expired", 0),
            ("name=ci", 1),
            ("name=c", 0),
            ("name=ci&owner=ada&state=disabled", 1),
        ] {
            let page = rig.call(Method::GET, &format!("{root}?{filter}"), Value::Null, 200);
            let rows = page[&root[1..]].as_array().unwrap().len();
            assert_eq!(rows, expected, "{root} {filter}");
        }
        rig.call(Method::POST, &format!("{root}/{id}/enable"), Value::Null, 200);
        assert!(is_live());
        let rotated = rig.call(Method::POST, &format!("{root}/{id}/rotate"), json!({}), 201);
        assert_eq!(rotated["replaces"], id);
        rig.call(Method::DELETE, &format!("{root}/{id}"), Value::Null, 200);
        assert!(!is_live());
        rig.call(Method::DELETE, &format!("{root}/{id}"), Value::Null, 404);
    }
}

#[test]
fn r1107_a_credential_never_has_more_than_its_owner_may() {
    let rig = Rig::start();
    rig.add("ada");
    let all = rig.call(Method::POST, "/tokens", json!({ "owner": "ada", "name": "a" }), 201);
    assert_eq!(all["scopes"], json!(["read", "write"]), "all that the roles allow");
    for scopes in [json!(["admin"]), json!(["unknown"]), json!(["a b"])] {
        rig.call(
            Method::POST,
            "/tokens",
            json!({ "owner": "ada", "name": "a", "scopes": scopes }),
            422,
        );
    }
    let reserved = json!({ "owner": "ada", "name": "a", "scopes": ["report"] });
    rig.call(Method::POST, "/tokens", reserved, 201);
    let unknown = json!({ "name": "x", "profile": "strict", "grants": ["client_credentials"],
                          "scopes": ["unknown"] });
    rig.call(Method::POST, "/apps", unknown, 422);
    let expires = |expires: &str| json!({ "owner": "ada", "name": "a", "expires": expires });
    rig.call(Method::POST, "/tokens", expires("never"), 422);
    rig.call(Method::POST, "/keys", expires("never"), 201);
    rig.call(Method::POST, "/tokens", expires("2999-01-01T00:00:00Z"), 422);
    rig.call(Method::POST, "/tokens", json!({ "owner": "bob", "name": "a" }), 404);
    rig.call(Method::POST, "/tokens", json!({ "owner": "ada", "name": "" }), 422);
}

#[test]
fn contract_admin_applications_have_two_secrets_and_end_with_their_tokens() {
    let rig = Rig::start();
    let new = json!({
        "name": "Sync", "profile": "compat", "grants": ["client_credentials"], "scopes": ["read"],
    });
    let made = rig.call(Method::POST, "/apps", new, 201);
    let id = made["client_id"].as_str().unwrap();
    assert!(
        id.starts_with("app_") && made["client_secret"].as_str().unwrap().starts_with("gp_cs_")
    );
    assert_eq!(made["approved"], true, "an operator made it");
    let second = rig.call(Method::POST, &format!("/apps/{id}/secrets"), json!({}), 201);
    rig.call(Method::POST, &format!("/apps/{id}/secrets"), json!({}), 409);
    let shown = rig.call(Method::GET, &format!("/apps/{id}"), Value::Null, 200);
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 2);
    assert!(!shown.to_string().contains("gp_cs_"));
    let secret = second["id"].as_str().unwrap();
    rig.call(Method::DELETE, &format!("/apps/{id}/secrets/{secret}"), Value::Null, 200);
    rig.call(Method::POST, &format!("/apps/{id}/revoke"), Value::Null, 200);
    rig.call(Method::DELETE, &format!("/apps/{id}"), Value::Null, 200);
    rig.call(Method::GET, &format!("/apps/{id}"), Value::Null, 404);
    // A deleted application has lines as well.
    for who in [id.to_owned(), format!("app:{id}")] {
        let page = rig.call(Method::GET, &format!("/audit?subject={who}"), Value::Null, 200);
        let lines = page["audit"].as_array().unwrap();
        assert!(lines.len() >= 5 && lines.iter().all(|line| line["application"] == id), "{page}");
    }
    let none = rig.call(Method::GET, "/audit?subject=app:other", Value::Null, 200);
    assert_eq!(none["audit"], json!([]));
    for wrong in [
        json!({ "name": "x", "profile": "loose" }),
        json!({ "name": "x", "profile": "strict", "grants": ["password"] }),
        json!({ "name": "x", "profile": "strict", "grants": ["authorization_code"] }),
        json!({ "name": "x", "profile": "compat", "type": "public", "grants": ["authorization_code"],
                "redirect_uris": ["https://x.example/cb"] }),
    ] {
        rig.call(Method::POST, "/apps", wrong, 422);
    }
}

#[test]
fn contract_admin_an_application_is_updated() {
    let rig = Rig::start();
    let new = json!({ "name": "Sync", "profile": "strict", "grants": ["client_credentials"] });
    let made = rig.call(Method::POST, "/apps", new, 201);
    let target = format!("/apps/{}", made["client_id"].as_str().unwrap());
    let update = |body: Value, status| rig.call(Method::POST, &target, body, status);
    let changed = update(
        json!({ "name": "Stock", "site": "https://a.example", "scopes": ["read"], "introspect": true,
                "access_lifetime": 60, "profile": "compat" }),
        200,
    );
    assert_eq!(
        (&changed["name"], &changed["scopes"], &changed["access_lifetime"]),
        (&json!("Stock"), &json!(["read"]), &json!(60))
    );
    assert_eq!((&changed["introspect"], &changed["grants"]), (&json!(true), &made["grants"]));
    let back = update(json!({ "site": null, "scopes": null, "access_lifetime": null }), 200);
    assert_eq!(
        (&back["site"], &back["scopes"], &back["access_lifetime"], &back["name"]),
        (&Value::Null, &Value::Null, &Value::Null, &json!("Stock"))
    );
    for wrong in [
        json!({ "name": "" }),
        json!({ "grants": ["authorization_code"] }),
        json!({ "scopes": ["unknown"] }),
        json!({ "access_lifetime": 3_601 }),
        json!({ "profile": "loose" }),
    ] {
        update(wrong, 422);
    }
    update(json!({ "secret": "x" }), 400);
    rig.call(Method::POST, "/apps/app_none", json!({ "name": "x" }), 404);
}

#[test]
fn contract_admin_an_imported_key_is_accepted_and_found() {
    let rig = Rig::start();
    rig.add("ada");
    let now = || Clock::start().now().unix;
    let verify = |text: &str| rig.stored.verify_alone(text, now());
    let import = |body: Value, status| {
        let mut all = json!({ "owner": "ada", "name": "old client" });
        all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        rig.call(Method::POST, "/keys/import", all, status)
    };
    let find =
        |text: &str, status| rig.call(Method::POST, "/keys/find", json!({ "key": text }), status);
    // A short key, which only its keyed digest may match.
    let short = import(json!({ "key": "s3cret", "scopes": ["read"] }), 201);
    assert_eq!((&short["hint"], short.get("key")), (&json!(""), None));
    assert!(verify("s3cret").is_ok() && verify("s3creT").is_err());
    assert_eq!(find("s3cret", 200)["id"], short["id"]);
    let again = import(json!({ "key": "s3cret" }), 409);
    assert!(again["detail"].as_str().unwrap().contains(short["id"].as_str().unwrap()), "{again}");
    // The digest that another system kept.
    let long = "an-old-key-of-another-system";
    let digest = Digest::sha256(long).to_text();
    let digested = import(json!({ "digest": digest }), 201);
    assert!(verify(long).is_ok());
    assert_eq!(find(long, 200)["id"], digested["id"]);
    import(json!({ "key": long }), 409);
    // Its digest as well: the same key is refused when one of its entries is.
    let bare_short = import(json!({ "digest": Digest::sha256("s3cret").to_text() }), 201);
    let target = format!("/keys/{}/disable", bare_short["id"].as_str().unwrap());
    rig.call(Method::POST, &target, Value::Null, 200);
    assert!(verify("s3cret").is_ok(), "a short key matches no bare digest");
    for (body, status) in [
        (json!({ "key": FILED }), 409),
        (json!({ "digest": Digest::sha256(FILED).to_text() }), 409),
        (json!({}), 422),
        (json!({ "key": "a", "digest": digest }), 422),
        (json!({ "key": "a b" }), 422),
        (json!({ "key": "gp_key_0" }), 422),
        (json!({ "digest": Digest::sha512("x").to_text() }), 422),
    ] {
        import(body, status);
    }
    find("another-key-that-is-not-stored", 404);
    let target = format!("/keys/{}", short["id"].as_str().unwrap());
    rig.call(Method::DELETE, &target, Value::Null, 200);
    assert!(verify("s3cret").is_err());
    find("s3cret", 404);
}

#[test]
fn contract_admin_signing_keys_are_listed_rotated_and_retired() {
    let rig = Rig::start();
    let listed = rig.call(Method::GET, "/signing-keys", Value::Null, 200);
    let first = listed["signing_keys"][0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(listed["signing_keys"][0]["state"], "active");
    let rotated = rig.call(Method::POST, "/signing-keys", Value::Null, 201);
    assert_eq!(rotated["signing_keys"].as_array().unwrap().len(), 2);
    let retire = format!("/signing-keys/{first}/retire");
    let left = rig.call(Method::POST, &retire, Value::Null, 200);
    assert!(left["signing_keys"].as_array().unwrap().iter().all(|key| key["kid"] != *first));
    let gone = rig.call(Method::DELETE, &format!("/signing-keys/{first}"), Value::Null, 404);
    assert!(gone["detail"].as_str().unwrap().contains("gatepost signing-key list"), "{gone}");
    rig.call(Method::PUT, "/signing-keys", Value::Null, 405);
    rig.call(Method::GET, "/signing-keys?owner=ada", Value::Null, 422);
    let log = rig.call(Method::GET, "/audit", Value::Null, 200);
    let line =
        log["audit"].as_array().unwrap().iter().find(|line| line["act"] == "signing_key.retire");
    let line = line.unwrap();
    assert_eq!((&line["address"], &line["request"]), (&json!("192.0.2.1"), &json!("r-1")));
}

#[test]
fn contract_admin_an_owner_of_applications_is_not_deleted_by_accident() {
    let rig = Rig::start();
    rig.add("ada");
    rig.add("bob");
    let new = json!({
        "name": "x", "owner": "ada", "profile": "strict", "redirect_uris": ["https://x.example/cb"],
    });
    let made = rig.call(Method::POST, "/apps", new, 201);
    let refused = rig.call(Method::DELETE, "/users/ada", Value::Null, 422);
    assert!(refused["detail"].as_str().unwrap().contains("--give-to"), "{refused}");
    rig.call(Method::DELETE, "/users/ada?give_to=bob", Value::Null, 200);
    let listed = rig.call(Method::GET, "/apps?owner=bob", Value::Null, 200);
    assert_eq!(listed["apps"][0]["client_id"], made["client_id"]);
    rig.call(Method::DELETE, "/users/bob?with_applications=true", Value::Null, 200);
    assert_eq!(rig.call(Method::GET, "/apps", Value::Null, 200)["apps"], json!([]));
}

#[test]
fn contract_admin_an_end_that_is_not_stored_says_so() {
    let rig = Rig::start();
    rig.add("ada");
    rig.runtime.block_on(rig.manager.store.close());
    let down = rig.call(Method::POST, "/users/ada/disable", Value::Null, 503);
    assert_eq!(down["code"], "unavailable");
}

#[test]
fn contract_plugins_are_made_at_first_need_and_keep_their_secret() {
    let rig = Rig::start();
    let ensure = |body: Value| rig.call(Method::POST, "/plugins/mailer", body, 200);
    let first = ensure(json!({}));
    assert!(first["client_secret"].as_str().unwrap().starts_with("gp_cs_"));
    assert_eq!(
        (&first["api_base_url"], &first["scopes"]),
        (&"https://api.example.com".into(), &Value::Null)
    );
    assert_eq!(ensure(Value::Null), first, "the same again, after a restart too");
    let scoped = ensure(json!({ "scopes": ["read"] }));
    assert_eq!(
        (&scoped["scopes"], &scoped["client_secret"]),
        (&json!(["read"]), &first["client_secret"])
    );
    let rotated = rig.call(Method::POST, "/plugins/mailer/rotate", json!({}), 201);
    assert_ne!(rotated["client_secret"], first["client_secret"]);
    assert_eq!(ensure(json!({}))["client_secret"], rotated["client_secret"]);
    let listed = rig.call(Method::GET, "/plugins", Value::Null, 200);
    assert_eq!(listed["plugins"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains("gp_cs_"), "a list has no secret");
    rig.call(Method::POST, "/plugins/mailer/revoke", Value::Null, 200);
    assert_ne!(ensure(json!({}))["client_secret"], rotated["client_secret"], "a new one");
    rig.call(Method::DELETE, "/plugins/mailer", Value::Null, 200);
    rig.call(Method::DELETE, "/plugins/mailer", Value::Null, 404);
    rig.call(Method::POST, "/plugins/mailer/rotate", json!({}), 404);
    rig.call(Method::POST, "/plugins/a%20b", json!({}), 422);
}

#[test]
fn a_segment_is_decoded_once() {
    assert_eq!(decode("a%2Fb%25"), Some("a/b%".to_owned()));
    assert_eq!(decode("a+b"), Some("a+b".to_owned()));
    for wrong in ["%", "%2", "%zz", "%ff"] {
        assert_eq!(decode(wrong), None, "{wrong}");
    }
}

#[test]
fn declared_applications_that_a_store_did_not_take_are_to_be_declared_again() {
    let rig = Rig::start();
    let declare = || rig.runtime.block_on(declare(&rig.manager.store, &settings(), &[]));
    assert!(declare());
    rig.runtime.block_on(rig.manager.store.close());
    assert!(!declare());
}
