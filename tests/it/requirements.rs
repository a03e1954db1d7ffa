//! `tests/requirements.md` against the tests: what it lists is there, and what is tested is listed.
//!
//! A number with a hyphen is a security requirement, one without (R38) is of an API guide.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;

use crate::support::{files_below, root};

/// The requirements of the guides that are about pages: they belong to the next release.
const PAGES: [u16; 12] = [14, 15, 16, 18, 19, 20, 21, 22, 24, 47, 48, 49];

/// `file::function` of every check of the rigs, which are Python.
fn checks() -> BTreeSet<String> {
    let mut checks = BTreeSet::new();
    for path in files_below(&root().join("tests/rig"), ".py") {
        let text = fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        let names = text.split("def ").skip(1).filter_map(|rest| rest.split('(').next());
        checks.extend(names.map(|name| format!("{file}::{name}")));
    }
    checks
}

/// `file::function` of every test; one of `path/tests.rs` is one of `path/mod.rs` as well.
fn tests() -> BTreeSet<String> {
    let mut tests = checks();
    for path in ["src", "tests/it"].iter().flat_map(|one| files_below(&root().join(one), ".rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let is_test = |part: &&str| part.starts_with("test]") || part.starts_with("tokio::test");
        let functions = text.split("#[").filter(is_test).filter_map(|part| part.split_once("fn "));
        let file = path.strip_prefix(root()).unwrap();
        for name in functions.filter_map(|(_, rest)| rest.split('(').next()) {
            for part in [file, &file.with_file_name("mod.rs")] {
                tests.insert(format!("{}::{name}", part.display()));
            }
        }
    }
    tests
}

/// The numbers of a text that follow a prefix: of `R-123`, or of `_r123` in the name of a test.
fn numbers(text: &str, prefix: &str, length: RangeInclusive<usize>) -> Vec<String> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let found = text.match_indices(prefix).map(|(at, _)| digits(&text[at + prefix.len()..]));
    found.filter(|number| length.contains(&number.len())).collect()
}

/// Fails unless a row ends with a verdict and names tests that exist.
#[track_caller]
fn check_row(row: &str, tests: &BTreeSet<String>) {
    let names = row.split('`').filter(|word| word.contains(".rs::") || word.contains(".py::"));
    for name in names.clone() {
        let remedy = "name the test as it is called now in tests/requirements.md";
        assert!(tests.contains(name), "there is no {name}: {remedy}, in {row:.40}");
    }
    let verdict = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default();
    let is_verdict = ["partly: ", "not shown: "].iter().any(|one| verdict.starts_with(one));
    assert!(is_verdict || verdict == "holds", "end the row with a verdict: {row}");
    assert!(verdict != "holds" || names.count() > 0, "name the test of what holds: {row}");
}

#[test]
fn requirements_are_listed_with_tests_that_exist() {
    let table = fs::read_to_string(root().join("tests/requirements.md")).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| R")).collect();
    let (text, tests) = (rows.concat(), tests());
    assert!(rows.len() > 130 && tests.len() > 300, "{} rows, {} tests", rows.len(), tests.len());
    rows.iter().for_each(|row| check_row(row, &tests));
    let listed = [numbers(&text, "| R-", 3..=4), numbers(&text, "| R", 1..=2)].concat();
    for test in &tests {
        let name = format!("_{}", test.rsplit("::").next().unwrap_or_default());
        for number in numbers(&name, "_r", 1..=4) {
            let remedy = "add a row of that number to tests/requirements.md";
            assert!(listed.contains(&number), "R-{number} of {test} is not listed: {remedy}");
        }
    }
}

#[test]
fn requirements_of_the_guides_are_all_listed() {
    let table = fs::read_to_string(root().join("tests/requirements.md")).unwrap();
    let listed = |prefix: &str, length| {
        let numbers = numbers(&table, prefix, length).into_iter();
        numbers.map(|number| number.parse::<u16>().unwrap()).collect::<Vec<_>>()
    };
    let guides: Vec<_> = (1..=62).filter(|number| !PAGES.contains(number)).collect();
    assert_eq!(listed("\n| R", 1..=2), guides, "one row each, in their order");
    let mut issuer = listed("\n| R-", 4..=4);
    issuer.retain(|number| (1101..=1116).contains(number));
    assert_eq!(issuer, (1101..=1116).collect::<Vec<_>>(), "one row each, in their order");
}
