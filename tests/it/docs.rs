//! The documentation against the code: tables of `docs/reference.md`, and links.
//!
//! Each comparison fails in both directions: for a row without its counterpart in the code, and for
//! something in the code without its row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use gatepost::decide::api_key::format::SecretKind;
use gatepost::decide::rejection::{Fault, Reason};
use serde_json::Value;

use crate::support::{Sandbox, files_below, root};

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// The rows of the table of `docs/reference.md` whose first column has this heading and whose
/// section has that title: the cells of each row without backticks.
fn table(title: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read("docs/reference.md");
    let begins = |line: &&str| line.trim_start_matches('#').trim() != title;
    let section = text.lines().skip_while(begins);
    let head = format!("| {heading} |");
    let rows = section.skip_while(|line| !line.starts_with(&head)).skip(2);
    let cells = |line: &str| {
        let line = line.trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>()
    };
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "docs/reference.md has no table {heading:?} below {title:?}");
    rows
}

fn column(rows: &[Vec<String>], index: usize) -> BTreeSet<String> {
    let cells = rows.iter().map(|row| row[index].clone());
    let column: BTreeSet<_> = cells.collect();
    assert_eq!(column.len(), rows.len(), "a row is listed twice: {rows:?}");
    column
}

#[track_caller]
fn same<T: Ord + std::fmt::Debug>(documented: &BTreeSet<T>, built: &BTreeSet<T>, what: &str) {
    let missing: Vec<_> = built.difference(documented).collect();
    let stale: Vec<_> = documented.difference(built).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{what} of docs/reference.md: add rows for {missing:?}, remove or correct {stale:?}"
    );
}

/// The string literals of a text, in order.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// Name and labels of each metric family: the source declares a name, then its labels.
fn families() -> BTreeSet<(String, BTreeSet<String>)> {
    let folder = root().join("src/serve/observe/metrics");
    let files = files_below(&folder, ".rs").into_iter().filter(|path| !path.ends_with("tests.rs"));
    let sources: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let declared = sources.split("\"gatepost_").skip(1).map(|declaration| {
        let name = declaration.split('"').next().unwrap();
        let labels = declaration.split_once("&[\"").and_then(|(before, rest)| {
            // Labels belong to this call only.
            (!before.contains(");")).then(|| rest.split(']').next()).flatten()
        });
        let labels = labels.map(|labels| format!("\"{labels}")).unwrap_or_default();
        (format!("gatepost_{name}"), literals(&labels).map(str::to_owned).collect())
    });
    declared.collect()
}

#[test]
fn docs_metrics_are_those_of_the_registry() {
    let rows = table("Metrics", "metric");
    column(&rows, 0);
    let words = |cell: &str| {
        cell.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let documented = rows.iter().map(|row| (row[0].clone(), words(&row[2]))).collect();
    let built = families();
    assert!(built.len() > 20, "the families are declared with literal names: {built:?}");
    same(&documented, &built, "the metrics");
}

#[test]
fn docs_reasons_and_faults_are_the_closed_lists_with_their_answers() {
    let documented = |title, heading| {
        let rows = table(title, heading);
        column(&rows, 0);
        rows.iter().map(|row| row[..3].join(" ")).collect()
    };
    let answer =
        |word, status: http::StatusCode, code| format!("{word} {} {code}", status.as_str());
    let built = Reason::ALL.iter().map(|one| answer(one.as_str(), one.status(), one.code()));
    same(&documented("Reasons", "reason"), &built.collect(), "the reasons");
    let built = Fault::ALL.iter().map(|one| answer(one.as_str(), one.status(), one.code()));
    same(&documented("Faults", "kind"), &built.collect(), "the faults");
}

/// Commands without subcommands, as `--help` lists them.
fn commands(sandbox: &Sandbox, prefix: &[&str]) -> BTreeSet<String> {
    let help = sandbox.run(&[prefix, &["--help"]].concat()).stdout;
    let Some((_, list)) = help.split_once("Commands:\n") else {
        return BTreeSet::from([[&["gatepost"], prefix].concat().join(" ")]);
    };
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.flat_map(|name| commands(sandbox, &[prefix, &[name]].concat())).collect()
}

#[test]
fn docs_commands_are_those_of_the_program() {
    let documented = column(&table("Commands", "command"), 0);
    let built = commands(&Sandbox::new(), &[]);
    assert!(built.len() > 15, "{built:?}");
    same(&documented, &built, "the commands");
}

#[test]
fn docs_exit_codes_are_those_of_the_program() {
    let documented = column(&table("Exit codes", "code"), 0);
    let sources = files_below(&root().join("src/cli"), ".rs").into_iter();
    let sources: String = sources.map(|path| fs::read_to_string(path).unwrap()).collect();
    let (_, exit) = sources.split_once("enum Exit {").unwrap();
    let exit = exit.split("\n}").next().unwrap();
    let codes = exit.lines().filter_map(|line| Some(line.split_once(" = ")?.1.trim_matches(',')));
    same(&documented, &codes.map(str::to_owned).collect(), "the exit codes");
}

#[test]
fn docs_patterns_for_secret_scanners_are_those_of_the_program() {
    let page = read("docs/security.md");
    let (_, section) = page.split_once("## Secret scanners").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"));
    let rows = rows.map(|(kind, rest)| (kind.to_owned(), rest.trim_end_matches("` |").to_owned()));
    let mut documented: BTreeMap<_, _> = rows.collect();
    let any = documented.remove("any").unwrap().replace("\\|", "|");
    let built: BTreeMap<_, _> =
        SecretKind::ALL.iter().map(|kind| (kind.to_string(), kind.pattern().to_owned())).collect();
    assert_eq!(documented, built);
    let kinds = SecretKind::ALL.map(|kind| kind.prefix().trim_matches('_').replace("gp_", ""));
    assert_eq!(any, format!(r"\bgp_(?:{})_[0-9A-Za-z]{{49}}\b", kinds.join("|")));
}

/// Keys of the configuration in the schema: those of a section.
fn schema_keys(section: &Value) -> BTreeSet<String> {
    section["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn docs_configuration_keys_are_those_of_the_schema() {
    let schema: Value = serde_json::from_str(&Sandbox::new().run(&["schema"]).stdout).unwrap();
    let sections = table("Sections", "key");
    same(&column(&sections, 0), &schema_keys(&schema), "the sections of the configuration");
    let route = &schema["properties"]["routes"]["items"];
    same(&column(&table("Route keys", "key"), 0), &schema_keys(route), "the keys of a route");
    // config/reference.yaml has what needs a restart first.
    let reference = read("config/reference.yaml");
    let (restart, _) = reference.split_once("# ---- What a reload publishes").unwrap();
    let keys = restart.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let keys = keys.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    let rows = sections.iter().filter(|row| row[2] == "restart").map(|row| row[0].clone());
    same(&rows.collect(), &keys, "what needs a restart");
}

/// The Markdown files of the repository.
fn pages() -> Vec<(String, String)> {
    let path = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let files = ["docs", "tests", "benches", "fuzz/fuzz_targets", "config", ".github"];
    let below = files.iter().flat_map(|folder| files_below(&root().join(folder), ".md"));
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|end| end == "md"));
    below.chain(top).map(|file| (path(&file), fs::read_to_string(&file).unwrap())).collect()
}

#[test]
fn docs_architecture_names_paths_that_exist() {
    let page = read("docs/architecture.md");
    // Outside of code blocks names are in backticks; inside, the first word below src/ counts.
    let parts: Vec<_> = page.split("```").collect();
    let quoted = |text: &str| {
        let names = text.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let is_path = |word: &String| {
        let begins = ["src/", "tests/", "docs/", "benches/", "config/reference"];
        begins.iter().any(|begin| word.starts_with(begin)) && !word.contains(['*', ' '])
    };
    let mut paths: Vec<_> = parts.iter().step_by(2).flat_map(|text| quoted(text)).collect();
    paths.retain(is_path);
    let layers = ["base/", "decide/", "issue/", "config/", "serve/", "cli/"];
    for word in
        parts.iter().skip(1).step_by(2).flat_map(|text| text.split([' ', '\n', '(', ')', ',']))
    {
        let word = word.trim_end_matches([':', ';']);
        if layers.iter().any(|layer| word.starts_with(layer)) {
            paths.push(format!("src/{word}"));
        }
    }
    assert!(paths.len() > 20, "{paths:?}");
    let exists =
        |path: &str| root().join(path).exists() || root().join(format!("{path}.rs")).exists();
    let missing: Vec<_> = paths.iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "docs/architecture.md names paths that do not exist: {missing:?}");
    // `name` in `src/file`: the file has the name.
    let page = page.replace('\n', " ");
    for (at, _) in page.match_indices("` in `src/") {
        let name = page[..at].rsplit('`').next().unwrap().rsplit("::").next().unwrap();
        let file = page[at + 6..].split('`').next().unwrap();
        assert!(read(file).contains(name), "{file} has no {name}");
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| kept(*c)).collect()
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(page).unwrap_or_default();
    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == wanted)
}

/// A link of a page that leads nowhere.
fn is_broken(page: &str, link: &str) -> bool {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => root().join(page),
        file => root().join(page).parent().unwrap().join(file),
    };
    !target.exists() || !anchor.is_empty() && !has_anchor(&target, anchor)
}

#[test]
fn docs_every_relative_link_leads_somewhere() {
    let pages = pages();
    let mut links = 0;
    let mut broken = Vec::new();
    for (page, text) in &pages {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let is_relative = !link.contains("://") && !link.starts_with("mailto:");
            links += usize::from(is_relative);
            if is_relative && is_broken(page, link) {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(pages.len() > 5 && links > 40, "{} pages, {links} links", pages.len());
    assert!(broken.is_empty(), "correct these links: {broken:#?}");
}

/// The names of all functions of the sources and tests.
fn functions() -> BTreeSet<String> {
    let files = ["src", "tests/it"].iter().flat_map(|one| files_below(&root().join(one), ".rs"));
    let texts: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let names = texts.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn docs_name_files_and_tests_that_exist() {
    let functions = functions();
    let is_test = |word: &str| {
        let numbered = word.strip_prefix('r').and_then(|rest| rest.chars().next());
        let is_name =
            word.len() > 12 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name && (word.starts_with("contract_") || numbered.is_some_and(|c| c.is_ascii_digit()))
    };
    let is_file = |word: &str| {
        ["src/", "tests/", "docs/", "config/", "benches/", "fuzz/"].iter().any(|top| {
            word.starts_with(top) && word.chars().all(|c| c.is_ascii_graphic() && c != '*')
        })
    };
    let own = |name: &str| {
        let up = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].contains(&name);
        up || name.starts_with("docs/")
    };
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::from([("file", 0), ("test", 0)]);
    for (page, text) in pages().iter().filter(|(page, _)| own(page)) {
        for word in text.split('`').skip(1).step_by(2) {
            if is_test(word) {
                *seen.get_mut("test").unwrap() += 1;
                wrong.extend((!functions.contains(word)).then(|| format!("{page}: {word}")));
            } else if is_file(word) {
                *seen.get_mut("file").unwrap() += 1;
                // A module may be a file or a folder.
                let exists =
                    root().join(word).exists() || root().join(format!("{word}.rs")).exists();
                wrong.extend((!exists).then(|| format!("{page}: {word}")));
            }
        }
    }
    assert!(seen.values().all(|count| *count > 5), "{seen:?}");
    assert!(wrong.is_empty(), "name what exists now: {wrong:#?}");
}

#[test]
fn docs_the_readme_is_a_front_page() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines: move what is beyond 150 to docs/");
}
