//! An issuer on a real store, with one application of each kind.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use prometheus::{IntCounterVec, Opts};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, query};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::base::clock::{Clock, UnixTime};
use crate::config::IssuerSettings;
use crate::config::model::issuer::{
    AppSignIn, AuditSettings, DeviceSettings, Registration, SignIn, Trust,
};
use crate::config::snapshot::Snapshots;
use crate::decide::api_key::format::{RandomFault, SecretKind, generate};
use crate::decide::jwt::{Algorithm, KeySet, VerifiedToken};
use crate::decide::live::{Live, RoleRules};
use crate::decide::policy::Endpoint;
use crate::decide::scope::ScopeSet;
use crate::issue::consent;
use crate::issue::intent::applications::{ClientSecret, CreateApplication};
use crate::issue::intent::client::{Lifetimes, Rules, Scopes};
use crate::issue::intent::code::{Given, GrantCode};
use crate::issue::intent::credentials::{self, CreateCredential, Ending, NewSecret};
use crate::issue::intent::people::AddPerson;
use crate::issue::intent::{Intent, Query};
use crate::issue::rows::{
    Application, Code, CredentialKind, DigestMethod, Id, Profile, Row, SecretDigest, Words,
};
use crate::issue::safe_store::{Pepper, Peppers};
use crate::issue::signing_key::life::Rotation;
use crate::issue::signing_key::{SigningKey, jwks};
use crate::serve::fixture;
use crate::serve::issuer::enforced::Running;
use crate::serve::issuer::passwords::Passwords;
use crate::serve::issuer::token_keys::Published;
use crate::serve::issuer::vault::Vault;
use crate::serve::issuer::{
    Addresses, Caller, Issuer, Parts, PeopleSeries, Revoked, Settings, TokenKeys,
};
use crate::serve::store::follow::LiveFollower;
use crate::serve::store::sqlite::{Role, open};
use crate::serve::store::{self, Store};

pub(super) const URL: &str = "https://api.example.com";

/// One key that never changes.
struct OneKey(Arc<SigningKey>);

impl TokenKeys for OneKey {
    fn active(&self) -> Option<Arc<SigningKey>> {
        Some(Arc::clone(&self.0))
    }

    fn published(&self) -> Arc<Published> {
        let jwks = jwks([&*self.0]);
        let verifying = KeySet::parse_remote(jwks.as_bytes(), &[Algorithm::Es256]).unwrap();
        Arc::new(Published { jwks: jwks.into(), verifying: Arc::new(verifying) })
    }
}

/// A request as a test describes it.
pub(super) struct Ask {
    method: &'static str,
    query: &'static str,
    fields: Vec<(&'static str, String)>,
    body: String,
    address: &'static str,
}

impl Ask {
    pub(super) fn method(method: &'static str) -> Self {
        let (query, fields, body, address) = ("", Vec::new(), String::new(), "192.0.2.1");
        Self { method, query, fields, body, address }
    }

    /// A POST of a form.
    pub(super) fn form(body: impl Into<String>) -> Self {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let mut ask = Self::method("POST").field("content-type", form);
        ask.body = body.into();
        ask
    }

    /// Client credentials, with the secret in the body.
    pub(super) fn credentials(client: &str) -> Self {
        let body = format!(
            "grant_type=client_credentials&client_id={client}&client_secret=secret-of-{client}"
        );
        Self::form(body)
    }

    pub(super) fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub(super) fn query(mut self, query: &'static str) -> Self {
        self.query = query;
        self
    }

    pub(super) fn from(mut self, address: &'static str) -> Self {
        self.address = address;
        self
    }

    fn request(&self) -> Request<Bytes> {
        let mut request = Request::builder().method(self.method).uri(format!("/{}", self.query));
        for (name, value) in &self.fields {
            request = request.header(*name, value);
        }
        request.body(Bytes::from(self.body.clone())).unwrap()
    }
}

/// An answer, with its body as text.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    response: Response<Bytes>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

/// No revocation but those of the store.
struct Nothing;

impl Revoked for Nothing {
    fn has_token(&self, _token: &VerifiedToken, _now: UnixTime) -> bool {
        false
    }

    fn has_key(&self, _id: &str, _now: UnixTime) -> bool {
        false
    }

    fn has_person(&self, _: &str, _: &str, _: UnixTime) -> bool {
        false
    }

    fn is_single_caller(&self, _: IpAddr) -> bool {
        true
    }

    fn takes_personal_access_tokens(&self) -> bool {
        true
    }
}

pub(super) struct Rig {
    pub(super) issuer: Arc<Issuer>,
    pub(super) store: Store,
    pub(super) live: Arc<Live>,
    issued: IntCounterVec,
    pub(super) runtime: Runtime,
    folder: TempDir,
}

impl Rig {
    /// Applications `shop` (confidential), `checker` (may introspect) and `phone` (public), and the
    /// person `ada`.
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let live = Arc::new(Live::default());
        let clock = Clock::start();
        let follower = Box::new(LiveFollower::new(Arc::clone(&live)));
        let store =
            open(folder.path(), Role::Run, Box::new(move || clock.now()), follower).unwrap();
        let issued = counters("issued", &["grant", "result"]);
        let key = Arc::new(SigningKey::generate(Algorithm::Es256).unwrap());
        let pepper = Pepper::new("p1", &(0..32).collect::<Vec<_>>()).unwrap();
        let peppers = Peppers::new([pepper], "p1").unwrap();
        let vault = Arc::new(runtime.block_on(Vault::open(&store, peppers)).unwrap());
        let issuer = Issuer::new(Parts {
            store: store.clone(),
            vault,
            live: Arc::clone(&live),
            keys: Arc::new(OneKey(key)),
            revoked: Box::new(Nothing),
            enforced: Box::new(Running {
                snapshots: Arc::new(Snapshots::from_pointee(
                    fixture::open(&fixture::MemoryDisk::filled()).snapshot,
                )),
                observers: Arc::new(fixture::observers()),
            }),
            settings: settings("admin read write"),
            issued: issued.clone(),
            passwords: Arc::new(Passwords::start().unwrap()),
            people: PeopleSeries {
                authorizations: counters("authorizations", &["result"]),
                sign_ins: counters("sign_ins", &["method", "result"]),
            },
            clock,
            runtime: runtime.handle().clone(),
            seed: [1, 2],
        });
        let rig = Self { issuer: Arc::new(issuer), store, live, issued, runtime, folder };
        rig.fill();
        rig
    }

    fn fill(&self) {
        self.run(AddPerson {
            id: Id::from("usr_ada"),
            login: "ada".into(),
            name: None,
            email: None,
            roles: Words::default(),
        });
        for (name, confidential, introspect) in [
            ("shop", true, false),
            ("other", true, false),
            ("checker", true, true),
            ("phone", false, false),
        ] {
            let secret = confidential.then(|| secret(&format!("secret-of-{name}")));
            self.run(CreateApplication {
                application: application(name, confidential, introspect),
                secret,
            });
        }
    }

    pub(super) fn run<I: Intent>(&self, intent: I) -> I::Answer {
        let done = self.runtime.block_on(self.store.run(intent, store::Caller::operator()));
        done.unwrap().outcome.unwrap()
    }

    /// A configuration with these scopes.
    pub(super) fn reload(&self, scopes: &str) {
        self.issuer.reload(settings(scopes));
    }

    /// A configuration with an application that signs people in.
    pub(super) fn reload_app(&self, app: AppSignIn) {
        let mut configured = (*settings("read").configured).clone();
        configured.sign_in.app = Some(Arc::new(app));
        let addresses = Addresses { url: URL, prefix: "/oauth", account: "/auth/account" };
        self.issuer.reload(Settings::new(addresses, Arc::new(configured), None));
    }

    /// The last commit is this far in the future, as after a clock that went ahead and back.
    pub(super) fn set_last_commit_ahead(&self, seconds: i64) {
        let path = self.folder.path().join("gatepost.db");
        self.runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(path);
            let mut other = options.connect().await.unwrap();
            let sql = "UPDATE counter SET at = at + $1";
            query(sql).bind(seconds).execute(&mut other).await.unwrap();
            other.close().await.unwrap();
        });
    }

    pub(super) fn close_store(&self) {
        self.runtime.block_on(self.store.close());
    }

    #[expect(clippy::needless_pass_by_value, reason = "a test describes a request once")]
    pub(super) fn ask(&self, endpoint: Endpoint, ask: Ask) -> Answer {
        let address: IpAddr = ask.address.parse().unwrap();
        let caller = Caller { address: Some(address), request: "r-1".into() };
        let response = self.runtime.block_on(self.issuer.answer(endpoint, ask.request(), caller));
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        Answer { status: response.status().as_u16(), body, response }
    }

    /// An access token of this application.
    pub(super) fn token(&self, client: &str) -> String {
        let answer = self.ask(Endpoint::Token, Ask::credentials(client));
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// A personal access token of `ada`.
    pub(super) fn pat(&self, scopes: &str) -> String {
        let mut fill = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| RandomFault);
        let text = generate(SecretKind::PersonalAccessToken, &mut fill).unwrap().expose().clone();
        let day = Duration::from_secs(86_400);
        self.run(CreateCredential {
            method: DigestMethod::Made,
            kind: CredentialKind::Pat,
            secret: NewSecret {
                id: Id::from("pat_1"),
                digest: SecretDigest::of_secret(&text),
                hint: "last".into(),
            },
            owner: "ada".into(),
            name: "laptop".into(),
            scopes: ScopeSet::parse(scopes).unwrap(),
            ending: Ending::Default,
            lifetimes: credentials::Lifetimes { default: day, max: day, forever: false },
        });
        text
    }

    /// A code that `ada` consented to, for an application with the only redirect URI.
    pub(super) fn code(&self, application: &str, challenge: Option<&str>) -> String {
        let mut fill = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| RandomFault);
        let text = generate(SecretKind::AuthorizationCode, &mut fill).unwrap().expose().clone();
        let now = Clock::start().now().unix;
        let shown = self.runtime.block_on(async {
            let query = Query::all::<Application>("id", &Id::from(application));
            let row = self.store.read(query).await.unwrap().remove(0);
            consent::shown(&Application::of(row).unwrap())
        });
        let code = Code {
            digest: SecretDigest::of_secret(&text),
            application: Id::from(application),
            person: Id::from("usr_ada"),
            redirect_uri: None,
            challenge: challenge.map(Box::from),
            scopes: ScopeSet::parse("read write").unwrap(),
            auth_time: now,
            expires: UnixTime(now.0 + 60),
            grant_id: None,
            ended: None,
        };
        self.run(GrantCode { code, given: Given::Now(shown), lifetime: 60 });
        text
    }

    pub(super) fn issued(&self, grant: &str, result: &str) -> u64 {
        self.issued.with_label_values(&[grant, result]).get()
    }

    /// The acts of the audit log about an application.
    pub(super) fn acts(&self, application: &str) -> Vec<(String, String, Option<String>)> {
        use crate::issue::rows::Audit;
        let query = Query::all::<Audit>("application", &Id::from(application));
        let rows = self.runtime.block_on(self.store.read(query)).unwrap();
        let line = |row| {
            let line: Audit = Row::of(row).unwrap();
            (line.act.into(), line.actor.into(), line.address.map(Into::into))
        };
        rows.into_iter().map(line).collect()
    }
}

fn counters(name: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, "Counts."), labels).unwrap()
}

fn secret(text: &str) -> ClientSecret {
    let secret = NewSecret {
        id: Id::from(&*format!("sec_{text}")),
        digest: SecretDigest::of_secret(text),
        hint: "last".into(),
    };
    ClientSecret { secret, sealed: None }
}

fn application(name: &str, confidential: bool, introspect: bool) -> Application {
    let credentials = confidential.then_some("client_credentials");
    let grants = credentials.into_iter().chain([
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ]);
    Application {
        id: Id::from(name),
        owner: None,
        name: name.into(),
        site: None,
        confidential,
        profile: if confidential { Profile::Compat } else { Profile::Strict },
        redirect_uris: ["https://phone.example.com:8443/callback"].into_iter().collect(),
        grants: grants.collect(),
        scopes: Some(ScopeSet::parse("read write").unwrap()),
        first_party: false,
        introspect,
        access_lifetime: None,
        plugin: None,
        approved: None,
        generation: Id::from(&*format!("gr_{name}")),
        created: UnixTime(0),
        disabled: None,
        ended: None,
    }
}

fn settings(scopes: &str) -> Settings {
    let known = ScopeSet::parse(scopes).unwrap();
    let roles = RoleRules::new([("admin".into(), Box::from([Box::from("operator")]))]);
    let lifetimes = Lifetimes {
        access: 3_600,
        compat_access: 7_200,
        refresh: 86_400,
        compat_refresh: 86_400,
        idle: 600,
        grace: 60,
    };
    let rules = Rules { lifetimes, scopes: Arc::new(Scopes { known, roles, ..Scopes::default() }) };
    let addresses = Addresses { url: URL, prefix: "/oauth", account: "/auth/account" };
    Settings::new(addresses, Arc::new(configured(rules)), None)
}

fn configured(rules: Rules) -> IssuerSettings {
    let hour = Duration::from_secs(3_600);
    IssuerSettings {
        hosts: Vec::new(),
        pages: None,
        account_url: "https://api.example.com/auth/account".into(),
        audience: URL.into(),
        rules,
        scopes: Vec::new(),
        max_access_lifetime: hour,
        rotation: Rotation {
            rotate: hour * 24,
            publish_before: hour,
            longest_token: hour,
            algorithm: Algorithm::Es256,
        },
        codes: Duration::from_secs(60),
        device: DeviceSettings { lifetime: hour / 6, interval: Duration::from_secs(5) },
        personal_access_tokens: None,
        api_keys: None,
        applications: Vec::new(),
        sign_in: SignIn { local: true, app: None, session_lifetime: hour, session_idle: hour },
        registration: Registration::Role,
        compat: true,
        trust: Trust::All,
        plugin_base_url: URL.into(),
        audit: AuditSettings { keep: hour * 24, size: 1 << 20 },
        cors: vec!["https://shop.example.com".into()],
        hsts: false,
    }
}
