//! Every file at its last good version, on a disk in memory.

use super::*;
use crate::decide::gate::Verdict;
use crate::decide::principal::Principal;
use crate::decide::rejection::Reason;
use crate::serve::fixture::{self, ADMIN_TOKEN, CONFIG, KEY, MemoryDisk, keys_yaml};

/// A file of the fixture and what is written into it.
type Change = (&'static str, String);

fn corridor(disk: &MemoryDisk) -> (Snapshot, Corridor) {
    let Opened { snapshot, corridor, .. } = fixture::open(disk);
    (snapshot, corridor)
}

/// The decision of a snapshot about the key of the fixture: admitted as this subject, or the reason.
fn says(snapshot: &Snapshot, path: &str) -> Result<String, Reason> {
    let decision = fixture::decide(snapshot, path, &[("x-api-key", KEY)]);
    match &decision.verdict {
        Verdict::Permit(permit) => {
            Ok(permit.principal().map_or("anonymous", |who| Principal::subject(who)).to_owned())
        }
        Verdict::Preflight(_) => Ok("preflight".to_owned()),
        Verdict::Need(_) => Ok("need".to_owned()),
        Verdict::Reject(rejection) | Verdict::Observe(_, rejection) => Err(rejection.reason()),
    }
}

fn opening(disk: &MemoryDisk) -> Result<Opened, Vec<Mistake>> {
    let sources = Sources { disk: Box::new(disk.clone()), environment: Box::new(|_| None) };
    Corridor::open(Path::new("/etc/gatepost/gatepost.yaml"), sources, [1, 2])
}

#[test]
fn contract_reload_nothing_changed_is_no_new_generation() {
    let disk = MemoryDisk::filled();
    let (first, mut corridor) = corridor(&disk);
    assert_eq!(first.generation, 1);
    let walk = corridor.walk();
    assert!(walk.snapshot.is_none());
    assert!(walk.mistakes.is_empty() && walk.restart_needed.is_empty());
}

#[test]
fn contract_reload_a_change_in_any_file_is_published() {
    let narrowed = CONFIG
        .replace("name: api, access: { scopes: [read]", "name: api, access: { scopes: [other]");
    let cases: [(Change, Result<String, Reason>); 3] = [
        (("keys.yaml", keys_yaml(&["admin"], "k1")), Err(Reason::ScopeMissing)),
        (("keys.yaml", "keys: []\n".to_owned()), Err(Reason::KeyUnknown)),
        (("gatepost.yaml", narrowed), Err(Reason::ScopeMissing)),
    ];
    for ((name, text), expected) in cases {
        let disk = MemoryDisk::filled();
        let (first, mut corridor) = corridor(&disk);
        assert_eq!(says(&first, "/api/a"), Ok("alice".to_owned()));
        disk.write(name, &text);
        let walk = corridor.walk();
        let second = walk.snapshot.expect(name);
        assert_eq!(walk.mistakes, []);
        assert_eq!(second.generation, 2);
        assert_eq!(says(&second, "/api/a"), expected, "{name}");
        assert_eq!(says(&first, "/api/a"), Ok("alice".to_owned()), "what was published stays");
        assert!(corridor.walk().snapshot.is_none(), "once");
    }
}

#[test]
fn contract_reload_a_mistake_in_one_file_never_holds_back_another() {
    let disk = MemoryDisk::filled();
    let (_, mut corridor) = corridor(&disk);
    // The configuration is broken; a key is revoked in the same moment.
    disk.write("gatepost.yaml", "routes: [");
    disk.write("keys.yaml", "keys: []\n");
    let walk = corridor.walk();
    assert!(walk.mistakes.iter().all(|mistake| mistake.file.ends_with("gatepost.yaml")));
    assert!(!walk.mistakes.is_empty());
    let snapshot = walk.snapshot.unwrap();
    assert_eq!(says(&snapshot, "/api/a"), Err(Reason::KeyUnknown));
    assert_eq!(says(&snapshot, "/open/a"), Ok("anonymous".to_owned()));
    // The other way round.
    disk.write("gatepost.yaml", &CONFIG.replace("/open/**", "/opened/**"));
    disk.write("keys.yaml", "keys: [{ id: k1 }]\n");
    let walk = corridor.walk();
    assert!(walk.mistakes.iter().all(|mistake| mistake.file.ends_with("keys.yaml")));
    assert!(!walk.mistakes.is_empty());
    let snapshot = walk.snapshot.unwrap();
    assert_eq!(says(&snapshot, "/api/a"), Err(Reason::KeyUnknown), "the last good keys: none");
    assert_eq!(says(&snapshot, "/opened/a"), Ok("anonymous".to_owned()));
    assert_eq!(says(&snapshot, "/open/a"), Err(Reason::RouteUnknown));
    // And mended.
    disk.write("keys.yaml", &keys_yaml(&["read"], "k1"));
    let walk = corridor.walk();
    assert_eq!(walk.mistakes, []);
    assert_eq!(says(&walk.snapshot.unwrap(), "/api/a"), Ok("alice".to_owned()));
}

#[test]
fn contract_reload_a_broken_missing_or_empty_file_changes_nothing() {
    for name in ["gatepost.yaml", "keys.yaml", "hs.key"] {
        for text in [Some(""), Some("\0"), Some("- x: ["), None] {
            if (name, text) == ("hs.key", Some("- x: [")) || (name, text) == ("hs.key", Some("\0"))
            {
                // Any bytes are an HMAC secret, if too short.
                continue;
            }
            let disk = MemoryDisk::filled();
            let (_, mut corridor) = corridor(&disk);
            match text {
                Some(text) => disk.write(name, text),
                None => disk.remove(name),
            }
            for _ in 0..2 {
                let walk = corridor.walk();
                assert!(walk.snapshot.is_none(), "{name} {text:?}");
                assert!(!walk.mistakes.is_empty(), "{name} {text:?}: said each time");
            }
            // The version from before is not news.
            let good = MemoryDisk::filled();
            let bytes = good.read(&Path::new("/etc/gatepost").join(name), 1 << 20).unwrap().bytes;
            disk.write(name, std::str::from_utf8(&bytes).unwrap());
            let walk = corridor.walk();
            assert!(walk.snapshot.is_none() && walk.mistakes.is_empty(), "{name} {text:?}");
        }
    }
}

#[test]
fn contract_reload_a_configuration_that_names_a_bad_file_waits_and_the_rest_goes_on() {
    let disk = MemoryDisk::filled();
    let (_, mut corridor) = corridor(&disk);
    disk.write("gatepost.yaml", &CONFIG.replace("files: [keys.yaml]", "files: [new.yaml]"));
    disk.write("keys.yaml", &keys_yaml(&["admin"], "k1"));
    let walk = corridor.walk();
    assert!(walk.mistakes.iter().any(|mistake| mistake.message.contains("new.yaml")));
    let snapshot = walk.snapshot.unwrap();
    assert_eq!(says(&snapshot, "/admin/a"), Ok("alice".to_owned()), "keys.yaml is still in force");
    assert!(corridor.watched().iter().any(|file| file.ends_with("new.yaml")), "worth watching");
    disk.write("new.yaml", &keys_yaml(&["read"], "k1"));
    let walk = corridor.walk();
    assert_eq!(walk.mistakes, []);
    assert_eq!(says(&walk.snapshot.unwrap(), "/admin/a"), Err(Reason::ScopeMissing));
    assert!(!corridor.watched().iter().any(|file| file.ends_with("/keys.yaml")));
}

#[test]
fn contract_reload_what_needs_a_restart_is_said_and_the_rest_published() {
    let disk = MemoryDisk::filled();
    let (_, mut corridor) = corridor(&disk);
    let moved =
        CONFIG.replace("127.0.0.1:8080", "127.0.0.1:8081").replace("/open/**", "/opened/**");
    disk.write("gatepost.yaml", &format!("threads: 3\n{moved}"));
    let walk = corridor.walk();
    assert_eq!(walk.restart_needed, ["listeners", "threads"]);
    assert_eq!(walk.mistakes, []);
    assert_eq!(says(&walk.snapshot.unwrap(), "/opened/a"), Ok("anonymous".to_owned()));
    assert_eq!(corridor.walk().restart_needed, ["listeners", "threads"], "until it happens");
    disk.write("gatepost.yaml", "routes: [");
    assert_eq!(corridor.walk().restart_needed, ["listeners", "threads"], "of the last good one");
    disk.write("gatepost.yaml", CONFIG);
    assert_eq!(corridor.walk().restart_needed, [""; 0], "or is taken back");
}

#[test]
fn contract_reload_limits_go_on_counting() {
    let disk = MemoryDisk::filled();
    let (first, mut corridor) = corridor(&disk);
    assert_eq!(says(&first, "/tight"), Ok("alice".to_owned()));
    disk.write("gatepost.yaml", &CONFIG.replace("/open/**", "/opened/**"));
    let second = corridor.walk().snapshot.unwrap();
    assert_eq!(says(&second, "/tight"), Err(Reason::RateLimited));
}

#[test]
fn contract_admin_another_token_needs_a_restart_and_a_bad_one_is_a_mistake() {
    let disk = MemoryDisk::filled();
    let named = "admin: { address: 127.0.0.1:9090, token_file: admin.token }";
    disk.write("gatepost.yaml", &CONFIG.replace("admin: { address: 127.0.0.1:9090 }", named));
    disk.write("admin.token", &format!("{ADMIN_TOKEN}\n"));
    let opened = opening(&disk).unwrap();
    assert_eq!(opened.admin_token.as_ref().unwrap().expose(), ADMIN_TOKEN);
    assert!(!format!("{opened:?}").contains("canary"), "R-902");
    let mut corridor = opened.corridor;
    assert_eq!(corridor.walk().restart_needed, [""; 0]);
    disk.write("admin.token", "another-token-0123456789");
    let walk = corridor.walk();
    assert_eq!(walk.restart_needed, ["admin.token_file"]);
    assert_eq!(walk.mistakes, []);
    disk.write("admin.token", "short");
    assert_eq!(corridor.walk().mistakes.len(), 1);
    assert!(opening(&disk).is_err(), "and a start is refused");
}

#[test]
fn a_start_is_refused_with_every_mistake_of_every_file() {
    let disk = MemoryDisk::filled();
    disk.write("keys.yaml", "keys: [{ id: k1 }]\n");
    disk.write("hs.key", "");
    let mistakes = opening(&disk).unwrap_err();
    let text: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|line| line.contains("keys.yaml")), "{text:?}");
    assert!(text.iter().any(|line| line.contains("hs.key")), "{text:?}");
    let empty = MemoryDisk::default();
    let mistakes = opening(&empty).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes[0].to_string().starts_with("/etc/gatepost/gatepost.yaml:1:1: cannot be read"));
}

#[test]
fn r902_no_mistake_and_no_debug_output_shows_a_secret() {
    let disk = MemoryDisk::filled();
    let (snapshot, mut corridor) = corridor(&disk);
    assert!(!format!("{snapshot:?}{corridor:?}").contains("canary"));
    disk.write("hs.key", "canary");
    disk.write("keys.yaml", "keys: canary\n");
    let mistakes = format!("{:?}", corridor.walk().mistakes);
    assert!(mistakes.contains("hs.key"), "{mistakes}");
    assert!(!mistakes.contains("canary-"), "{mistakes}");
}

#[test]
fn contract_issuer_a_reload_does_not_change_what_needs_a_restart() {
    let with =
        |issuer: &str| format!("{CONFIG}issuer: {{ url: 'https://api.example', {issuer} }}\n");
    let disk = MemoryDisk::filled();
    disk.write("gatepost.yaml", &with(""));
    let (_, mut corridor) = corridor(&disk);
    let has = |snapshot: &Snapshot, path: &str| {
        snapshot.dynamic.routes.routes().iter().any(|route| route.path.as_str() == path)
    };
    let other_url = with("").replace("api.example", "new.example");
    for (issuer, needed) in [
        (CONFIG.to_owned(), "issuer"),
        (with("prefixes: [/o]"), "issuer.prefixes"),
        (with("account: /a"), "issuer.account"),
        (with("safe_store: { peppers: { p2: p2.key } }"), "issuer.safe_store"),
        (other_url, "issuer.url"),
    ] {
        // The rest is published, and the issuer serves on as it was started.
        let name = format!("beside-{needed}");
        disk.write("gatepost.yaml", &issuer.replace("name: api,", &format!("name: '{name}',")));
        let walk = corridor.walk();
        assert_eq!((walk.mistakes, walk.restart_needed), (vec![], vec![needed]));
        let snapshot = walk.snapshot.unwrap();
        assert!(snapshot.dynamic.routes.routes().iter().any(|route| *route.name == *name));
        assert_eq!(&*snapshot.dynamic.issuer.as_ref().unwrap().audience, "https://api.example");
        assert!(has(&snapshot, "/oauth/token") && !has(&snapshot, "/o/token"), "{needed}");
    }
    disk.write("gatepost.yaml", &with("scopes: { stock: See stock }"));
    let walk = corridor.walk();
    assert_eq!((walk.mistakes, walk.restart_needed), (vec![], vec![]));
    let issuer = walk.snapshot.unwrap().dynamic.issuer.clone().unwrap();
    assert_eq!(issuer.rules.scopes.known.to_string(), "stock");
}

#[test]
fn contract_issuer_one_that_was_added_needs_a_restart() {
    let disk = MemoryDisk::filled();
    let (_, mut corridor) = corridor(&disk);
    let added = format!("{CONFIG}issuer: {{ url: 'https://api.example' }}\n");
    disk.write("gatepost.yaml", &added);
    let walk = corridor.walk();
    assert_eq!((walk.mistakes, walk.restart_needed), (vec![], vec!["issuer"]));
    assert!(walk.snapshot.unwrap().dynamic.issuer.is_none());
    // A route that names it waits, and with it the file.
    disk.write(
        "gatepost.yaml",
        &added.replace("{ scopes: [read]", "{ issuers: [gatepost], scopes: [read]"),
    );
    let walk = corridor.walk();
    assert!(walk.snapshot.is_none() && walk.restart_needed == ["issuer"]);
    assert!(walk.mistakes[0].message.contains("needs a restart"), "{:?}", walk.mistakes);
    assert!(walk.mistakes[0].line > 1 && walk.mistakes[0].path.contains("access.issuers"));
}
