//! Owners of credentials, asked about once a day.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use super::rig::Rig;
use crate::config::KeyUrl;
use crate::config::model::issuer::{AppSignIn, Template};
use crate::decide::live::{Kind, State};
use crate::decide::scope::ScopeSet;
use crate::issue::external::ExternalPerson;
use crate::issue::intent::credentials::{CreateCredential, Ending, Lifetimes, NewSecret};
use crate::issue::intent::external::StartExternal;
use crate::issue::intent::sessions::NewSession;
use crate::issue::rows::{CredentialKind, DigestMethod, Id, SecretDigest, Words};

/// A server that answers with a status by the last segment of the path.
fn people(statuses: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            lines.map_while(Result::ok).find(String::is_empty);
            let path = first.split(' ').nth(1).unwrap_or_default();
            let status = statuses.iter().find(|(sub, _)| path.ends_with(&format!("/{sub}")));
            let status = status.map_or("404 Not Found", |(_, status)| status);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    format!("http://{address}/people/{{sub}}")
}

fn add(rig: &Rig, sub: &str) {
    let person = ExternalPerson {
        id: Id::from(sub),
        login: None,
        name: None,
        email: None,
        roles: Some(Words::default()),
        auth_time: None,
    };
    let digest = SecretDigest::of_secret(&format!("session of {sub}"));
    let id = Id::from(&*format!("ses_{sub}"));
    let session = NewSession { digest, id, agent: None, address: None };
    let replaces = SecretDigest::of_secret("none");
    rig.run(StartExternal { person, session, replaces, lifetime: 3_600 });
    let day = Duration::from_secs(86_400);
    rig.run(CreateCredential {
        method: DigestMethod::Made,
        kind: CredentialKind::Key,
        secret: NewSecret {
            id: Id::from(&*format!("key_{sub}")),
            digest: SecretDigest::of_secret(&format!("key of {sub}")),
            hint: "last".into(),
        },
        owner: sub.into(),
        name: "ci".into(),
        scopes: ScopeSet::parse("read").unwrap(),
        ending: Ending::Default,
        lifetimes: Lifetimes { default: day, max: day, forever: false },
    });
}

#[test]
fn contract_sign_in_app_owners_of_credentials_are_asked_about() {
    let rig = Rig::start();
    rig.pat("read");
    let check = || rig.runtime.block_on(rig.issuer.check_owners());
    let live = || rig.live.load().count(Kind::Key, State::Active);
    ["7", "8", "9"].iter().for_each(|sub| add(&rig, sub));
    assert!(check() && live() == 3, "nothing is configured to ask");
    let app = |person: &str| AppSignIn {
        whoami: KeyUrl::parse("http://127.0.0.1:1/whoami", false).unwrap(),
        login: Template::parse("/login?next={return_to}", "return_to").unwrap(),
        cookies: vec!["session".into()],
        person: Template::parse(person, "sub"),
    };
    let url = people(&[("7", "404 Not Found"), ("8", "500 Oops"), ("9", "204 No Content")]);
    rig.reload_app(app(&url));
    assert!(!check(), "one was not answered");
    assert_eq!(live(), 2, "the key of the person who is gone has ended");
    // Nothing listens there: an outage ends nothing.
    rig.reload_app(app("http://127.0.0.1:1/people/{sub}"));
    assert!(!check());
    assert_eq!(live(), 2);
    assert_eq!(rig.live.load().count(Kind::Pat, State::Active), 1, "ada is not asked about");
}
