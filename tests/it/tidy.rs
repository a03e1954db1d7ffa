//! The architecture, held: what the compiler cannot see. Every failure says the remedy.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gatepost::rejection::Reason;

use crate::support::{files_below, root};

/// The layers, from what everything may use to what nothing may use. A module uses its own layer
/// and those before it.
const LAYERS: &[(&str, &str)] = &[
    ("vocabulary", "time secret scope header_text field_name credential principal"),
    (
        "deciding",
        "jwt api_key path policy rate_limit identity address framing request_id upstream_settings",
    ),
    ("gate", "gate rejection record"),
    ("composing", "config snapshot"),
    (
        "shell",
        "access_log admin connection front lifecycle listen log log_text metrics observers proxy \
         reload server state upstream why",
    ),
    ("command line", "cli main lib"),
];

/// What a layer before the shell never touches; `config` reads the files it names.
const IO: &str = "pingora tokio axum hyper tracing prometheus std::fs std::net::Tcp std::env";

/// A module of `src/` by its top-level name, with the text of one file.
struct Source {
    file: String,
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let files = files_below(&root().join("src"), ".rs");
    let source = |path: &Path| {
        let file = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let module = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        Source { file, module, text: fs::read_to_string(path).unwrap() }
    };
    files.iter().map(|path| source(path)).collect()
}

impl Source {
    /// The lines that are neither comments nor tests.
    fn code(&self) -> impl Iterator<Item = &str> {
        let tests = self.file.ends_with("tests.rs") || self.file.contains("/tests/");
        let lines =
            self.text.lines().take_while(move |line| !tests && line.trim() != "mod tests {");
        lines.filter(|line| !line.trim_start().starts_with("//"))
    }
}

fn layer(module: &str) -> usize {
    let holds = |modules: &str| modules.split_whitespace().any(|one| one == module);
    LAYERS.iter().position(|(_, modules)| holds(modules)).unwrap_or_else(|| {
        panic!("src/{module} has no layer: add it to LAYERS in tests/it/tidy.rs, see lib.rs")
    })
}

/// The top-level modules a line names as `crate::x` or `crate::{x, y::z}`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(
                group
                    .split(['}', ';'])
                    .next()
                    .unwrap_or_default()
                    .split(',')
                    .map(|one| word(one.trim())),
            ),
            None => found.push(word(rest)),
        }
    }
    // Lower case: the others are types and macros at the root.
    found.retain(|one| one.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

#[test]
fn architecture_every_use_points_downwards() {
    for source in sources() {
        let from = layer(&source.module);
        for used in source.code().flat_map(named) {
            let to = layer(&used);
            assert!(
                to <= from,
                "src/{}: the {} layer uses crate::{used} of the {} layer: move the shared type down, or pass it in",
                source.file,
                LAYERS[from].0,
                LAYERS[to].0,
            );
        }
    }
}

#[test]
fn architecture_what_decides_does_no_io() {
    for source in sources().iter().filter(|source| layer(&source.module) < 4) {
        let reads_files = |word: &str| source.module == "config" && word == "std::fs";
        for line in source.code() {
            let spelled = |word: &str| {
                line.contains(&format!("use {word}")) || line.contains(&format!("{word}::"))
            };
            let found = IO.split(' ').find(|word| spelled(word) && !reads_files(word));
            let found = found.or_else(|| line.contains("async fn").then_some("async"));
            assert!(
                found.is_none(),
                "src/{}: {line:?}: what decides is synchronous and does no I/O: take the value as \
                 an argument",
                source.file,
            );
        }
    }
}

#[test]
fn architecture_only_proxy_knows_a_session() {
    for source in
        sources().iter().filter(|source| source.module != "proxy" && source.module != "connection")
    {
        let knows = source.code().any(|line| line.contains("pingora") && line.contains("Session"));
        assert!(
            !knows,
            "src/{}: only proxy knows pingora's Session: let it pass on what is needed",
            source.file
        );
    }
}

#[test]
fn style_every_file_says_what_it_owns_and_leaves_nothing_open() {
    for source in sources() {
        assert!(
            source.text.starts_with("//!"),
            "src/{}: begin with //! and what the file owns and never does",
            source.file
        );
        for word in ["TODO", "FIXME", "todo!(", "dbg!(", "unimplemented!("] {
            assert!(
                !source.text.contains(word),
                "src/{}: {word}: finish it, or open an issue",
                source.file
            );
        }
        let lines = source.code().count();
        assert!(
            lines <= 480,
            "src/{}: {lines} lines of code: look for the second subject in it",
            source.file
        );
    }
}

#[test]
fn metrics_what_is_declared_is_recorded() {
    let families = fs::read_to_string(root().join("src/metrics/families.rs")).unwrap();
    let fields = families.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(':'));
    let names: Vec<_> = fields.map(|(name, _)| name).collect();
    assert!(names.len() > 10, "the families are the fields in src/metrics/families.rs: {names:?}");
    let sources = sources();
    let others = || {
        sources.iter().filter(|one| one.module == "metrics" && one.file != "metrics/families.rs")
    };
    for name in names {
        let used =
            others().any(|one| one.code().any(|line| line.contains(&format!("families.{name}"))));
        assert!(
            used,
            "the metric {name} is declared and never recorded: record it in src/metrics, or remove it"
        );
    }
}

#[test]
fn reasons_each_has_a_test() {
    let mut tested = String::new();
    for path in files_below(&root().join("tests/it"), ".rs")
        .into_iter()
        .filter(|path| !path.ends_with("tidy.rs"))
    {
        tested.push_str(&fs::read_to_string(path).unwrap());
    }
    let missing: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .filter(|word| !tested.contains(&format!("\"{word}\"")))
        .collect();
    assert!(
        missing.is_empty(),
        "no test in tests/it sees these reasons: add one that provokes each: {missing:?}"
    );
}
