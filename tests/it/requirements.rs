//! `tests/requirements.md` against the tests: what it lists is there, and what is tested is listed.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{files_below, root};

/// `file::function` of every test; one of `path/tests.rs` is one of `path/mod.rs` as well.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
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
fn numbers(text: &str, prefix: &str) -> Vec<String> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let found = text.match_indices(prefix).map(|(at, _)| digits(&text[at + prefix.len()..]));
    found.filter(|number| (3..=4).contains(&number.len())).collect()
}

#[test]
fn requirements_are_listed_with_tests_that_exist() {
    let table = fs::read_to_string(root().join("tests/requirements.md")).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| R-")).collect();
    let (listed, tests) = (numbers(&rows.concat(), "| R-"), tests());
    assert!(rows.len() > 80 && tests.len() > 300, "{} rows, {} tests", rows.len(), tests.len());
    for row in &rows {
        let names = row.split('`').filter(|word| word.contains(".rs::"));
        for name in names.clone() {
            let remedy = "name the test as it is called now in tests/requirements.md";
            assert!(tests.contains(name), "there is no {name}: {remedy}, in {row:.40}");
        }
        let verdict = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default();
        let is_verdict = ["partly: ", "not shown: "].iter().any(|one| verdict.starts_with(one));
        assert!(is_verdict || verdict == "holds", "end the row with a verdict: {row}");
        assert!(verdict != "holds" || names.count() > 0, "name the test of what holds: {row}");
    }
    for test in &tests {
        let name = format!("_{}", test.rsplit("::").next().unwrap_or_default());
        for number in numbers(&name, "_r") {
            let remedy = "add a row of that number to tests/requirements.md";
            assert!(listed.contains(&number), "R-{number} of {test} is not listed: {remedy}");
        }
    }
}
