use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::base::secret::Secret;
use crate::config::key_file::{SpannedKey, parse_any_pepper};
use crate::decide::api_key::format::{self, Form, SecretKind};
use crate::decide::api_key::{Digest, KeyError, KeyRing, Peppers};

const NOW: UnixTime = UnixTime(1_800_000_000);

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: KeyCommand,
}

/// Different bytes at every call of every test, and no randomness.
fn counted(bytes: &mut [u8]) -> Result<(), RandomFault> {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let mut state = CALLS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    Ok(())
}

struct Ran {
    exit: i32,
    out: String,
    err: String,
}

struct Desk {
    folder: TempDir,
    name: &'static str,
}

impl Desk {
    fn new() -> Self {
        Self::with("keys.yaml")
    }

    fn with(name: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), name }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// Runs a command on the key file, with `input` on standard input.
    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let path = self.path();
        let file = ["--file", path.to_str().unwrap()];
        let all = ["key"].iter().chain(arguments).chain(&file);
        let Ok(Arguments { command }) = Arguments::try_parse_from(all) else {
            return Ran { exit: 2, out: String::new(), err: "usage".to_owned() };
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&command, &mut input.as_bytes(), &mut out, &mut err, NOW, &mut counted);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { exit, out: text(out), err: text(err) }
    }

    #[track_caller]
    fn good(&self, arguments: &[&str], input: &str) -> Ran {
        let ran = self.run(arguments, input);
        assert_eq!(ran.exit, 0, "{arguments:?}: {}", ran.err);
        ran
    }

    /// The command ends with this code, says this, and changes nothing.
    #[track_caller]
    fn bad(&self, arguments: &[&str], input: &str, exit: i32, says: &str) {
        let before = fs::read(self.path()).ok();
        let ran = self.run(arguments, input);
        assert_eq!(ran.exit, exit, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
        assert_eq!(fs::read(self.path()).ok(), before, "{arguments:?}");
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    fn keys(&self) -> Vec<SpannedKey> {
        parse_any_pepper(&self.path(), self.text().as_bytes()).unwrap()
    }

    /// The verification of this key by gatepost.
    fn verify(&self, key: &str) -> Result<(), KeyError> {
        let peppers: Peppers =
            [("p1".into(), Secret::new(b"pepper of some length".to_vec()))].into();
        let entries = self.keys().into_iter().map(|key| key.entry).collect();
        KeyRing::new(entries, &peppers, &[]).verify(key, NOW).map(|_| ())
    }

    fn pepper(&self, text: &str) -> String {
        let path = self.folder.path().join("pepper.txt");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap()
}

fn yaml(id: &str, more: &str) -> String {
    format!("  - id: {id} # {id}\n    digest: {}\n{more}", Digest::sha256(id).to_text())
}

#[test]
fn contract_commands_create_prints_the_key_once_and_stores_its_digest() {
    let desk = Desk::new();
    let ran = desk.good(
        &[
            "create",
            "--name",
            "CI: deploy",
            "--scope",
            "write",
            "--scope",
            "read",
            "--expires",
            "90d",
        ],
        "",
    );
    let key = first_line(&ran.out).to_owned();
    assert_eq!(ran.out, format!("{key}\n"));
    assert_eq!(format::check(&key), Form::Good(SecretKind::ApiKey));
    assert!(!ran.err.contains(&key) && !desk.text().contains(&key), "{}", ran.err);
    assert_eq!(desk.verify(&key), Ok(()));

    let keys = desk.keys();
    let [SpannedKey { entry, .. }] = keys.as_slice() else { panic!("one key") };
    assert_eq!(entry.name.as_deref(), Some("CI: deploy"));
    assert_eq!(*entry.subject, format!("key:{}", entry.id));
    assert_eq!(entry.scopes.to_string(), "read write");
    assert_eq!(entry.expires, Some(UnixTime(NOW.0 + 90 * 86_400)));
    assert_eq!(entry.digest, Digest::sha256(&key));
    assert_eq!(fs::metadata(desk.path()).unwrap().permissions().mode() & 0o777, 0o600);

    let second = desk.good(
        &[
            "create",
            "--name",
            "b",
            "--id",
            "b",
            "--subject",
            "team b",
            "--expires",
            "2030-01-01T00:00:00Z",
        ],
        "",
    );
    assert_ne!(first_line(&second.out), key);
    assert_eq!((desk.verify(&key), desk.verify(first_line(&second.out))), (Ok(()), Ok(())));
    let b = &desk.keys()[1].entry;
    assert_eq!((&*b.id, &*b.subject), ("b", "team b"));
    assert_eq!(b.expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
}

#[test]
fn contract_commands_create_refuses_what_no_entry_can_say() {
    let desk = Desk::new();
    for usage in [
        &["create"][..],
        &["create", "--name", ""],
        &["create", "--name", "a\nb"],
        &["create", "--name", "${NAME}"],
        &["create", "--name", "a", "--scope", "a b"],
        &["create", "--name", "a", "--id", "a/b"],
        &["create", "--name", "a", "--expires", "soon"],
        &["create", "--name", "a", "--expires", "2030-01-01"],
        &["create", "--name", "a", "--subject", "a\tb"],
    ] {
        desk.bad(usage, "", 2, "usage");
    }
    for past in ["0d", "1999-01-01T00:00:00Z"] {
        desk.bad(&["create", "--name", "a", "--expires", past], "", 2, "not in the future");
    }
    assert!(!desk.path().exists());
    desk.good(&["create", "--name", "a", "--id", "a"], "");
    desk.bad(&["create", "--name", "b", "--id", "a"], "", 1, "the id \"a\" is taken");
}

#[test]
fn contract_commands_import_takes_any_existing_key_less_one_newline() {
    let desk = Desk::new();
    let key = "sk_live_abcdefghijklmnop!=";
    let ran = desk.good(&["import", "--name", "old"], &format!("{key}\n"));
    let id = desk.keys()[0].entry.id.clone();
    assert_eq!(ran.out, format!("{id}\n"));
    assert!(!ran.err.contains(key) && !desk.text().contains(key));
    assert_eq!(desk.verify(key), Ok(()));
    desk.bad(&["import"], key, 1, "is there already");
    let pepper = desk.pepper("pepper of some length\n");
    desk.bad(&["import", "--pepper", "p1", "--pepper-file", &pepper], key, 1, "is there already");
}

#[test]
fn contract_commands_import_takes_the_digest_of_another_system() {
    let key = "a-key-that-another-system-made-1";
    // By `sha512sum`, and by `openssl dgst -sha256 -binary | base64`.
    let sha512 = "sha512:1da4dbc69d500eb65387fafaf7f6dcb34bce120e1b2776fce6fb6eeb2729c59b\
         fa8837593ae5844bce98c0e1e369e5f21c36da178b3506ce258fe984e132de0e";
    let sha256 = "sha256:BxgDfN33sC/zDKTv9u0ISMedeLZDofS33oR0hRXicv0=";
    for digest in [sha512, sha256] {
        let desk = Desk::new();
        desk.good(&["import", "--digest", digest], "");
        assert_eq!(desk.verify(key), Ok(()));
        desk.bad(&["import", "--digest", digest], "", 1, "is there already");
        desk.bad(&["import"], key, 1, "is there already");
    }
    let desk = Desk::new();
    let peppered = format!("hmac-sha256:p1:{}", "0".repeat(64));
    for bad in ["sha256:00", "md5:00", "sha512:", &peppered, "x"] {
        desk.bad(&["import", "--digest", bad], "", 2, "usage");
    }
    desk.bad(&["import", "--digest", sha256, "--pepper", "p1"], "", 2, "usage");
}

#[test]
fn contract_commands_import_refuses_a_key_that_could_never_be_presented() {
    let desk = Desk::new();
    let good = "abcdefghijklmnopqrstuvwxyz";
    desk.bad(&["import"], "", 1, "no key on standard input");
    desk.bad(&["import"], "\n", 1, "no key on standard input");
    desk.bad(&["import"], &format!("{good}\n\n"), 1, "character 27 of the key is a line break");
    desk.bad(&["import"], &format!("{good}\r\n"), 1, "a line break");
    desk.bad(&["import"], &format!("{good},x"), 1, "a comma");
    desk.bad(&["import"], &format!("{good} x"), 1, "a space");
    desk.bad(&["import"], &format!("{good}é"), 1, "not visible ASCII");
    desk.bad(&["import"], &format!("gp_key_{good}"), 1, "checksum mismatch");
    desk.bad(&["import"], &"x".repeat(8193), 1, "more than 8192 bytes");
    desk.bad(&["import"], "only-21-characters-it", 1, "under 22 it never matches");
    assert!(!desk.path().exists());
}

#[test]
fn contract_commands_import_stores_a_short_key_under_a_pepper() {
    let desk = Desk::new();
    let pepper = desk.pepper("pepper of some length\n");
    let import = ["import", "--pepper", "p1", "--pepper-file", &pepper];
    desk.good(&import, "short\n");
    assert!(desk.text().contains("digest: hmac-sha256:p1:"));
    assert_eq!(desk.verify("short"), Ok(()));
    desk.bad(&import, "short", 1, "is there already");
    desk.bad(&["import", "--pepper", "p1"], "short", 2, "usage");
    desk.bad(&["import", "--pepper", "p1", "--pepper-file", "/nowhere"], "x", 1, "cannot be read");
    desk.pepper("\n");
    desk.bad(&import, "other", 1, "is empty");
    for mode in [0o604, 0o640] {
        fs::set_permissions(&pepper, fs::Permissions::from_mode(mode)).unwrap();
        desk.bad(&import, "other", 1, "chmod 600");
    }
}

#[test]
fn contract_commands_find_names_the_entry_and_never_the_key() {
    let desk = Desk::new();
    let key =
        first_line(&desk.good(&["create", "--name", "a", "--id", "first"], "").out).to_owned();
    let ran = desk.good(&["find"], &format!("{key}\n"));
    assert!(ran.out.contains("id: first\n") && ran.out.contains("state: active\n"), "{}", ran.out);
    assert!(!ran.out.contains(&key) && !ran.out.contains("sha256"), "{}", ran.out);
    assert!(ran.err.contains("keys.yaml:3:5"), "{}", ran.err);
    let json: serde_json::Value =
        serde_json::from_str(&desk.good(&["find", "--json"], &key).out).unwrap();
    assert_eq!(json["id"], "first");

    let pepper = desk.pepper("pepper of some length");
    desk.good(&["import", "--id", "short", "--pepper", "p1", "--pepper-file", &pepper], "hunter2");
    desk.bad(&["find"], "hunter2", 1, "digests under p1 were not looked at");
    let named = format!("p1={pepper}");
    assert!(desk.good(&["find", "--pepper", &named], "hunter2").out.contains("id: short\n"));
    desk.bad(&["find", "--pepper", &named], "hunter3", 1, "no entry has this key");
    desk.bad(&["find", "--pepper", "p1"], "hunter3", 2, "usage");
    desk.bad(&["find"], &key.replace("gp_key_", "gp_key_0"), 1, "checksum mismatch");
    desk.bad(&["find"], &key.to_lowercase(), 1, "");
}

#[test]
fn contract_commands_list_shows_states_and_no_digests() {
    let desk = Desk::new();
    desk.write(&format!(
        "keys:\n{}{}{}",
        yaml("a", "    name: Zoë's\n    scopes: [read]\n"),
        yaml("b", "    expires: 2020-01-01T00:00:00Z\n"),
        yaml("c", "    enabled: false\n")
    ));
    let ran = desk.good(&["list"], "");
    assert_eq!(
        ran.out,
        "ID  NAME   SUBJECT  SCOPES  STATE     EXPIRES\n\
         a   Zoë's  key:a    read    active    -\n\
         b   -      key:b    -       expired   2020-01-01T00:00:00Z\n\
         c   -      key:c    -       disabled  -\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&desk.good(&["list", "--json"], "").out).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(3));
    assert_eq!(json[1]["state"], "expired");
    assert!(!json.to_string().contains("sha256"));
}

#[test]
fn contract_commands_rotate_adds_a_key_and_lets_the_old_one_end() {
    let desk = Desk::new();
    let more = "    name: ci\n    scopes: [read, write]\n    claims: { tenant: acme }\n    \
                limits: { per-caller: { rate: 7/m, burst: 9 } }\n";
    desk.write(&format!("# top\nkeys:\n{}  # about b\n{}", yaml("a", more), yaml("b", "")));
    let ran = desk.good(&["rotate", "a", "--grace", "7d"], "");
    let key = first_line(&ran.out);
    assert_eq!(desk.verify(key), Ok(()));

    let keys = desk.keys();
    let [old, _, new] = [0, 1, 2].map(|index| &keys[index].entry);
    assert_eq!(old.expires, Some(UnixTime(NOW.0 + 7 * 86_400)));
    assert_eq!(new.replaces.as_deref(), Some("a"));
    assert_eq!((&new.name, &*new.subject), (&old.name, "key:a"));
    assert_eq!((&new.scopes, &new.claims, &new.limits), (&old.scopes, &old.claims, &old.limits));
    assert_eq!((new.limits.len(), new.expires), (1, None));
    let text = desk.text();
    let added = format!("{more}    expires: {}\n", old.expires.unwrap());
    assert!(
        text.starts_with(&format!(
            "# top\nkeys:\n{}  # about b\n{}",
            yaml("a", &added),
            yaml("b", "")
        )),
        "{text}"
    );
}

#[test]
fn contract_commands_rotate_never_lengthens_a_key() {
    let desk = Desk::new();
    let soon = UnixTime(NOW.0 + 3600);
    desk.write(&format!("keys:\n{}", yaml("a", &format!("    expires: {soon}\n"))));
    desk.good(&["rotate", "a", "--grace", "7d", "--new-id", "b"], "");
    // The new key inherits the expiry of the old one.
    assert_eq!(
        desk.keys().iter().map(|key| key.entry.expires).collect::<Vec<_>>(),
        [Some(soon); 2]
    );
    desk.good(&["rotate", "b", "--grace", "0s", "--new-id", "c", "--expires", "30d"], "");
    let keys = desk.keys();
    assert_eq!(keys[1].entry.expires, Some(NOW));
    assert_eq!(keys[2].entry.expires, Some(UnixTime(NOW.0 + 30 * 86_400)));

    desk.bad(&["rotate", "b"], "", 1, "has expired");
    desk.good(&["disable", "c"], "");
    desk.bad(&["rotate", "c"], "", 1, "is disabled");
    desk.bad(&["rotate", "a", "--new-id", "b"], "", 1, "is taken");
    desk.bad(&["rotate", "a", "--grace", "soon"], "", 2, "usage");
    desk.bad(&["rotate", "nobody"], "", 1, "no key has the id \"nobody\"");
}

#[test]
fn contract_commands_disable_enable_and_delete_change_one_entry() {
    let desk = Desk::new();
    let before = format!("keys:\n{}# b\n{}", yaml("a", ""), yaml("b", ""));
    desk.write(&before);
    desk.good(&["disable", "a"], "");
    assert_eq!(
        desk.text(),
        format!("keys:\n{}# b\n{}", yaml("a", "    enabled: false\n"), yaml("b", ""))
    );
    assert!(desk.good(&["disable", "a"], "").err.contains("already disabled"));
    desk.good(&["enable", "a"], "");
    assert_eq!(
        desk.text(),
        format!("keys:\n{}# b\n{}", yaml("a", "    enabled: true\n"), yaml("b", ""))
    );
    desk.good(&["delete", "a"], "");
    assert_eq!(desk.text(), format!("keys:\n# b\n{}", yaml("b", "")));
    desk.good(&["delete", "b"], "");
    assert_eq!(desk.text(), "keys: []\n# b\n");
    desk.good(&["create", "--name", "x"], "");
    assert_eq!(desk.keys().len(), 1);
}

#[test]
fn contract_commands_an_unknown_id_is_answered_with_the_nearest() {
    let desk = Desk::new();
    desk.write(&format!("keys:\n{}{}", yaml("ci-deploy", ""), yaml("backup", "")));
    for command in ["disable", "enable", "delete", "rotate"] {
        desk.bad(&[command, "ci-depoly"], "", 1, "did you mean \"ci-deploy\"?");
        desk.bad(&[command], "", 2, "usage");
    }
}

#[test]
fn contract_commands_a_key_file_with_mistakes_is_listed_and_not_touched() {
    let desk = Desk::new();
    desk.write("keys:\n  - id: a b\n    digest: sha256:00\n");
    for arguments in [
        &["create", "--name", "x"][..],
        &["import"],
        &["list"],
        &["find"],
        &["rotate", "a"],
        &["delete", "a"],
    ] {
        desk.bad(arguments, "abcdefghijklmnopqrstuvwxyz", 78, "keys.yaml:2:9: keys[0].id: \"a b\"");
        desk.bad(
            arguments,
            "abcdefghijklmnopqrstuvwxyz",
            78,
            "keys.yaml:3:13: keys[0].digest: a SHA",
        );
    }
    desk.write("");
    desk.bad(&["create", "--name", "x"], "", 78, "the document is empty");
    fs::write(desk.path(), b"keys: []\n# \xff\n").unwrap();
    desk.bad(&["create", "--name", "x"], "", 78, "UTF-8");
    fs::remove_file(desk.path()).unwrap();
    for arguments in
        [&["list"][..], &["find"], &["rotate", "a"], &["disable", "a"], &["delete", "a"]]
    {
        desk.bad(arguments, "abcdefghijklmnopqrstuvwxyz", 78, "no such file");
    }
    assert!(!desk.path().exists());
}

#[test]
fn contract_commands_a_list_in_brackets_is_left_to_the_operator() {
    let desk = Desk::new();
    desk.write(&format!("keys: [{{ id: a, digest: '{}' }}]\n", Digest::sha256("a").to_text()));
    desk.bad(&["create", "--name", "x"], "", 1, "must be made by hand");
    desk.good(&["disable", "a"], "");
    assert!(desk.text().contains(", enabled: false }]"));
}

#[test]
fn contract_commands_eight_at_once_lose_no_entry() {
    let desk = Desk::new();
    let keys: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let desk = &desk;
                scope.spawn(move || {
                    let create = |n| {
                        let name = format!("{writer}-{n}");
                        desk.good(&["create", "--name", &name, "--id", &name], "")
                            .out
                            .trim()
                            .to_owned()
                    };
                    (0..5).map(create).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!((keys.len(), desk.keys().len()), (40, 40));
    assert!(keys.iter().all(|key| desk.verify(key) == Ok(())));
    assert_eq!(fs::read_dir(desk.folder.path()).unwrap().count(), 1);
}

#[test]
fn contract_commands_what_a_crash_leaves_behind_is_in_nobodys_way() {
    let desk = Desk::new();
    let left = desk.folder.path().join(".keys.yaml.gatepost-new");
    let elsewhere = desk.folder.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    for run in 0..2 {
        if run == 0 {
            fs::write(&left, "keys:\n  - half an en").unwrap();
        } else {
            // Nor can a link lead the write somewhere else.
            symlink(&elsewhere, &left).unwrap();
        }
        desk.good(&["create", "--name", "x"], "");
        assert!(fs::symlink_metadata(&left).is_err());
        assert_eq!(desk.keys().len(), run + 1);
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
}

#[test]
fn contract_commands_mode_and_symbolic_links_stay() {
    let desk = Desk::new();
    let real = desk.folder.path().join("real");
    fs::create_dir(&real).unwrap();
    let target = real.join("keys-1.yaml");
    fs::write(&target, "keys: []\n").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&target, desk.path()).unwrap();
    desk.good(&["create", "--name", "x"], "");
    assert_eq!(fs::read_link(desk.path()).unwrap(), target);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(desk.keys().len(), 1);

    fs::remove_file(&target).unwrap();
    desk.bad(&["create", "--name", "x"], "", 78, "is a symbolic link to nothing");
}

#[test]
fn a_key_that_cannot_be_made_or_shown_is_a_fault_and_says_what_to_do() {
    let desk = Desk::new();
    let run_with = |out: &mut dyn Write, fill: &mut FillRandom<'_>| {
        let path = desk.path();
        let all = ["key", "create", "--name", "x", "--id", "x", "--file", path.to_str().unwrap()];
        let command = Arguments::parse_from(all).command;
        let mut err = Vec::new();
        let exit = run(&command, &mut io::empty(), out, &mut err, NOW, fill);
        (exit, String::from_utf8(err).unwrap())
    };
    let (exit, err) = run_with(&mut Vec::new(), &mut |_| Err(RandomFault));
    assert_eq!((exit, err.as_str()), (70, "gatepost: the random source failed\n"));
    assert!(!desk.path().exists());

    let mut full: &mut [u8] = &mut [0; 10];
    let (exit, err) = run_with(&mut full, &mut counted);
    assert_eq!(exit, 70);
    assert!(err.contains("gatepost key delete x --file"), "{err}");
}

#[test]
fn r902_no_command_repeats_a_key() {
    let desk = Desk::new();
    let canary = "canary-canary-canary-canary";
    let pepper = desk.pepper("pepper-canary-pepper-canary");
    let named = format!("p1={pepper}");
    for (arguments, input) in [
        (&["import", "--id", "a"][..], canary.to_owned()),
        (&["import"], canary.to_owned()),
        (&["import"], format!("{canary} ")),
        (&["import"], format!("gp_key_{canary}")),
        (&["import", "--pepper", "p1", "--pepper-file", &pepper], "canary".to_owned()),
        (&["find", "--pepper", &named], canary.to_owned()),
        (&["find", "--pepper", &named], format!("{canary}2")),
        (&["find"], format!("gp_key_{canary}")),
        (&["list"], String::new()),
        (&["list", "--json"], String::new()),
        (&["delete", "a"], canary.to_owned()),
    ] {
        let ran = desk.run(arguments, &input);
        let said = format!("{}{}{}", ran.out, ran.err, desk.text());
        assert!(!said.contains("canary"), "{arguments:?}: {said}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    use clap::CommandFactory;
    let command = Arguments::command();
    command.clone().debug_assert();
    for sub in command.get_subcommands() {
        let example = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(example.contains(&format!("gatepost key {}", sub.get_name())), "{example}");
        assert!(sub.get_about().is_some());
    }
}

#[test]
fn contract_commands_every_one_works_on_a_file_of_lines() {
    let desk = Desk::with("keys.jsonl");
    desk.bad(&["list"], "", 78, "no such file");
    let ran = desk.good(&["create", "--name", "CI", "--scope", "read", "--id", "ci"], "");
    let key = first_line(&ran.out).to_owned();
    assert!(desk.text().starts_with("# API keys of gatepost"), "{}", desk.text());
    assert!(desk.text().contains("\n{\"id\":\"ci\",\"name\":\"CI\",\"digest\":\"sha256:"));
    let old = "an-existing-key-of-enough-characters";
    desk.good(&["import", "--name", "old", "--id", "old"], old);
    desk.bad(&["import", "--name", "old"], old, 1, "this key is there already, as \"old\"");
    desk.bad(&["create", "--name", "x", "--id", "ci"], "", 1, "the id \"ci\" is taken");
    assert_eq!((desk.verify(&key), desk.verify(old)), (Ok(()), Ok(())));
    assert!(desk.good(&["list"], "").out.contains("old"));
    let found = desk.good(&["find"], old);
    assert!(found.out.contains("id: old") && found.err.contains("keys.jsonl:3:1"), "{}", found.err);
    let third = desk.text().lines().nth(2).unwrap().to_owned();
    desk.good(&["disable", "old"], "");
    assert_eq!(desk.verify(old), Err(KeyError::Disabled { id: "old".into() }));
    desk.good(&["enable", "old"], "");
    assert_eq!(desk.text().lines().nth(2), Some(third.as_str()));
    let ran = desk.good(&["rotate", "ci", "--grace", "1h", "--new-id", "ci-2"], "");
    let rotated = first_line(&ran.out).to_owned();
    assert_eq!((desk.verify(&key), desk.verify(&rotated)), (Ok(()), Ok(())));
    assert!(desk.text().contains("\"replaces\":\"ci\"") && desk.text().contains("\"expires\":"));
    desk.good(&["delete", "ci"], "");
    assert_eq!(desk.verify(&key), Err(KeyError::Unknown));
    assert_eq!(desk.keys().len(), 2);
    desk.write(&format!("{}{{\"id\":1,\n", desk.text()));
    desk.bad(&["disable", "old"], "", 78, "keys.jsonl:4:9: not valid JSON");
}
