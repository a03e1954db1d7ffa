//! The architecture, held: what the compiler cannot see. Every failure says the remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use gatepost::decide::rejection::Reason;

use crate::support::{files_below, root};

/// The layers, each a folder of `src/`: a module uses its own layer and those before it.
const LAYERS: [&str; 7] = ["base", "decide", "issue", "config", "serve", "cli", "main"];

/// What a layer before the shell never touches; `config` reads the files it names.
const IO: &str = "pingora tokio axum hyper tracing prometheus std::fs std::net::Tcp std::env";

/// One file of `src/`.
struct Source {
    file: String,
    /// Its module path below `crate`: `decide`, `gate`, `limits`.
    module: Vec<String>,
    text: String,
    is_test: bool,
}

fn sources() -> Vec<Source> {
    let source = |path: &std::path::PathBuf| {
        let file = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = module.split('/').filter(|one| *one != "lib").map(str::to_owned).collect();
        let is_test = ["tests.rs", "fixture.rs"].iter().any(|end| file.ends_with(end))
            || file.contains("/tests/");
        Source { module, is_test, text: fs::read_to_string(path).unwrap(), file }
    };
    files_below(&root().join("src"), ".rs").iter().map(source).collect()
}

impl Source {
    /// The lines that are neither comments nor tests.
    fn code(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().take_while(|line| line.trim() != "mod tests {");
        lines.filter(|line| !self.is_test && !line.trim_start().starts_with("//"))
    }

    /// `src/file: line` for every line of code that `holds`.
    fn lines(&self, holds: impl Fn(&str) -> bool) -> Vec<String> {
        let found = self.code().filter(|line| holds(line));
        found.map(|line| format!("src/{}: {}", self.file, line.trim())).collect()
    }
}

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|one| *one == module).unwrap_or_else(|| {
        panic!("src/{module} is no layer: place it in one of {LAYERS:?}, see src/lib.rs")
    })
}

/// The module paths that code names, absolute: the lower-case words after `crate::` or `super::`,
/// one path for each name in braces, with the line where it begins.
fn named<'a>(code: &'a str, from: &'a [String]) -> Vec<(Vec<String>, &'a str)> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..at].chars().next_back();
        // The second part of `super::super::`, and names that end in these words.
        if before.is_some_and(|one| one.is_alphanumeric() || one == '_' || one == ':') {
            continue;
        }
        let mut rest = &code[at + "crate::".len()..];
        let mut parent = &from[..if start == "super::" { from.len().saturating_sub(1) } else { 0 }];
        while let Some(more) = rest.strip_prefix("super::") {
            rest = more;
            parent = &parent[..parent.len().saturating_sub(1)];
        }
        let line = code[at..].lines().next().unwrap_or_default();
        paths(parent.to_vec(), rest, &mut |path| found.push((path, line)));
    }
    found
}

/// Calls `found` with each path of a use tree, without its final names of types.
fn paths(mut parent: Vec<String>, tree: &str, found: &mut impl FnMut(Vec<String>)) {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut rest = tree;
    loop {
        let word = rest.split(|c| !is_word(c)).next().unwrap_or_default();
        let after = &rest[word.len()..];
        if !word.is_empty() {
            parent.push(word.to_owned());
        }
        match after.strip_prefix("::") {
            Some(more) => rest = more,
            None if after.starts_with('{') => {
                let end = closing(after);
                split(&after[1..end]).for_each(|one| paths(parent.clone(), one.trim(), found));
                return;
            }
            None => return found(parent),
        }
    }
}

/// The place of the brace that closes the one at the start.
fn closing(text: &str) -> usize {
    let mut depth = 0_i32;
    let is_end = |(_, c): &(usize, char)| {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        depth == 0
    };
    text.char_indices().find(is_end).map_or(text.len(), |(at, _)| at)
}

/// The members of a use tree: separated by the commas outside of inner braces.
fn split(members: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    members.split(move |c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0 && c == ','
    })
}

/// Imports between modules with one parent: parent, importer, imported, the line.
type Import = (String, String, String, String);

/// Where two paths part, the module of each side below the shared parent.
fn parting(from: &[String], to: &[String]) -> Option<(String, String, String)> {
    let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
    let (importer, imported) = (from.get(shared)?, to.get(shared)?);
    Some((from[..shared].join("::"), importer.clone(), imported.clone()))
}

/// The imports of all files, between modules (not functions) alone.
fn imports() -> Vec<Import> {
    let sources = sources();
    let modules: BTreeSet<_> = sources.iter().map(|one| one.module.join("::")).collect();
    let below = |parent: &str, name: &str| {
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}::{name}") };
        modules.contains(&path)
    };
    let of = |source: &Source| {
        let code = source.code().collect::<Vec<_>>().join("\n");
        let named = named(&code, &source.module).into_iter();
        let partings = named.filter_map(|(path, line)| {
            let (parent, importer, imported) = parting(&source.module, &path)?;
            let line = format!("src/{}: {}", source.file, line.trim());
            below(&parent, &imported).then_some((parent, importer, imported, line))
        });
        partings.collect::<Vec<_>>()
    };
    sources.iter().flat_map(of).collect()
}

#[track_caller]
fn none(found: impl Iterator<Item = String>, remedy: &str) {
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{remedy}:\n  {}", found.join("\n  "));
}

/// Everything that `from` imports, directly or through its siblings.
fn reach(from: &str, edges: &BTreeMap<&str, BTreeSet<&str>>) -> BTreeSet<String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(one) = next.pop() {
        let imported = edges.get(one).into_iter().flatten();
        next.extend(imported.filter(|one| seen.insert((**one).to_owned())));
    }
    seen
}

/// The lines of imports that are part of a circle between siblings; a module and everything below
/// it count as one.
fn circles(imports: &[Import]) -> BTreeSet<String> {
    let parents: BTreeSet<_> = imports.iter().map(|(parent, ..)| parent).collect();
    let mut circles = BTreeSet::new();
    for parent in parents {
        let siblings = || imports.iter().filter(|(one, ..)| one == parent);
        let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (_, importer, imported, _) in siblings() {
            edges.entry(importer).or_default().insert(imported);
        }
        let closes =
            |(_, importer, imported, _): &&Import| reach(imported, &edges).contains(importer);
        circles.extend(siblings().filter(closes).map(|(.., line)| line.clone()));
    }
    circles
}

#[test]
fn architecture_no_circles_between_siblings() {
    let imports = imports();
    // The test reads the imports: some that are there.
    for (parent, importer, imported) in [
        ("", "serve", "decide"),
        ("serve", "admin", "reload"),
        ("decide::request::path", "view", "source"),
    ] {
        let known = |(at, from, to, _): &Import| at == parent && from == importer && to == imported;
        assert!(imports.iter().any(known), "{parent}: {importer} imports {imported}");
    }
    none(circles(&imports).into_iter(), "part of a circle: move the shared type down");
}

#[test]
fn architecture_imports_are_read_in_every_spelling() {
    let code = "use crate::a::{b::C, d::{self, E}, F};\n\
                use super::{g, super_name::H};\nlet x = super::super::i::J::new();\n\
                // my_crate::k\nfn f() -> crate::l::m::N {";
    let from = ["x".to_owned(), "y".to_owned(), "z".to_owned()];
    let found = named(code, &from).into_iter().map(|(path, _)| path.join("::"));
    let found: BTreeSet<_> = found.collect();
    let expected =
        ["a", "a::b", "a::d", "a::d::self", "l::m", "x::i", "x::y::g", "x::y::super_name"];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn architecture_every_use_points_downwards() {
    let top = imports().into_iter().filter(|(parent, ..)| parent.is_empty());
    let upwards = top.filter(|(_, importer, imported, _)| layer(imported) > layer(importer));
    let remedy = "these use a layer above their own: move the shared type down, or pass it in";
    none(upwards.map(|(.., line)| line), remedy);
    let hidden = sources().into_iter().flat_map(|one| one.lines(|line| line.contains("crate::{")));
    none(hidden, "name what is used in one path each, without `crate::{`");
}

#[test]
fn architecture_what_decides_does_no_io() {
    let does_io = |source: &Source| {
        let may = |word: &str| source.module[0] == "config" && word == "std::fs";
        let io: Vec<_> = IO.split(' ').filter(|word| !may(word)).collect();
        let spelled = |line: &str, word: &str| {
            line.contains(&format!("{word}::")) || line.contains(&format!("{word};"))
        };
        let names = |line: &str| io.iter().any(|word| spelled(line, word));
        source.lines(|line| names(line) || line.contains("async fn"))
    };
    let deciding = sources()
        .into_iter()
        .filter(|one| one.module.first().is_some_and(|top| layer(top) < layer("serve")));
    none(
        deciding.flat_map(|one| does_io(&one)),
        "what decides does no I/O: take the value as an argument",
    );
}

#[test]
fn architecture_only_proxy_speaks_to_pingora_about_requests() {
    let knows = |line: &str| line.contains("ProxyHttp") || line.contains("proxy::Session");
    let others = sources().into_iter().filter(|source| !source.file.contains("/proxy/"));
    let found = others.flat_map(|source| source.lines(knows));
    none(found, "Session is for serve/downstream/proxy alone: pass on what is needed");
}

#[test]
fn style_every_file_has_one_subject_and_says_it() {
    let sources = sources();
    let silent = sources.iter().filter(|one| !one.text.starts_with("//!") && !one.is_test);
    let names = |source: &Source| format!("src/{}", source.file);
    none(silent.map(names), "begin with //! and what the file owns and never does");
    let long = sources.iter().filter(|one| one.code().count() > 480);
    none(long.map(names), "split the file where its second subject begins");
}

#[test]
fn metrics_what_is_declared_is_recorded() {
    let families =
        fs::read_to_string(root().join("src/serve/observe/metrics/families.rs")).unwrap();
    let fields = families.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(':'));
    let names: Vec<_> = fields.map(|(name, _)| format!("families.{name}")).collect();
    assert!(
        names.len() > 10,
        "the families are the fields in src/serve/observe/metrics/families.rs: {names:?}"
    );
    let sources = sources();
    let recorded = |name: &String| {
        let mut users = sources.iter().filter(|one| !one.file.ends_with("metrics/families.rs"));
        users.any(|one| !one.lines(|line| line.contains(name.as_str())).is_empty())
    };
    let unused = names.iter().filter(|name| !recorded(name)).cloned();
    none(unused, "declared and never recorded: record it in serve/observe/metrics, or remove it");
}

#[test]
fn reasons_each_has_a_test() {
    let files = files_below(&root().join("tests/it"), ".rs").into_iter();
    let tests: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let words = Reason::ALL.iter().map(|reason| format!("\"{}\"", reason.as_str()));
    let missing = words.filter(|word| !tests.contains(word));
    none(missing, "no test in tests/it sees these reasons: add one that provokes each");
}

#[test]
fn r112_r113_the_lock_file_keeps_the_floors_of_deny_toml() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (deny, lock) = (read(".deny.toml"), read("Cargo.lock"));
    let number = |version: &str| {
        let parts = version.split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or(0));
        parts.take(3).collect::<Vec<_>>()
    };
    let locked = |name: &str| {
        let mut lines = lock.split("[[package]]").filter_map(|one| one.split_once("version = \""));
        let versions = lines.by_ref().filter(|(head, _)| head.contains(&format!("\"{name}\"")));
        let versions = versions.filter_map(|(_, rest)| rest.split('"').next());
        versions.map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = deny.lines().filter(|line| !line.contains("wrappers = ["));
    let denied = whole.filter_map(|line| line.split("crate = \"").nth(1)?.split('"').next());
    let denied: Vec<_> = denied.map(|one| one.split_once(":<").unwrap_or((one, ""))).collect();
    assert!(["h2", "rsa"].iter().all(|name| denied.iter().any(|(one, _)| one == name)));
    assert!(!locked("h2").is_empty());
    let below = denied.iter().flat_map(|(name, floor)| {
        let versions = locked(name).into_iter();
        let bad = versions.filter(|one| floor.is_empty() || number(one) < number(floor));
        bad.map(|one| format!("{name} {one}")).collect::<Vec<_>>()
    });
    none(below, "Cargo.lock has what .deny.toml denies: update it with `cargo update -p`");
}

#[test]
fn wrapped_crates_come_in_through_their_wrappers_alone() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (deny, lock) = (read(".deny.toml"), read("Cargo.lock"));
    let quoted = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let mut found = Vec::new();
    let mut rules = 0;
    for line in deny.lines().filter(|line| line.contains("wrappers = [")) {
        let krate = line.split('"').nth(1).unwrap();
        let wrappers = line.split("wrappers = [").nth(1).unwrap().split(']').next().unwrap();
        let wrappers: Vec<String> = quoted(wrappers);
        rules += 1;
        for package in lock.split("[[package]]").skip(1) {
            let name = package.split('"').nth(1).unwrap();
            // A dependency is `"NAME"`, or `"NAME VERSION"` where several versions are locked.
            let dependencies = package.split_once("dependencies = [").map_or("", |(_, rest)| rest);
            let dependencies: Vec<String> = quoted(dependencies);
            let depends = dependencies.iter().any(|one| one.split(' ').next() == Some(krate));
            if depends && !wrappers.iter().any(|one| one == name) {
                found.push(format!("{name} depends on {krate}"));
            }
        }
    }
    assert!(rules > 0, "no rule with wrappers in .deny.toml");
    none(found.into_iter(), "allowed through the `wrappers` in .deny.toml alone");
}
