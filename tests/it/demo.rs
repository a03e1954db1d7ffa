//! Contract: `gatepost demo` prints lines that do what they say.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Client, Process};

/// Does what a curl line says, as a shell would, and returns the statuses.
fn follow(line: &str, folder: &str) -> Vec<String> {
    let (_, rest) = line.split_once("http://").unwrap();
    let (address, rest) = rest.split_once('/').unwrap();
    let path = format!("/{}", rest.split([' ', ';']).next().unwrap());
    let header = line.split_once("-H \"").map(|(_, rest)| rest.split('"').next().unwrap());
    let header = header.map(|header| match header.split_once("$(cat $D/") {
        Some((before, file)) => {
            let file = Path::new(folder).join(file.trim_end_matches(')'));
            format!("{before}{}", fs::read_to_string(file).unwrap())
        }
        None => header.to_owned(),
    });
    let fields: Vec<_> = header.iter().map(|header| header.split_once(": ").unwrap()).collect();
    let times = if line.contains("for i in 1 2 3") { 3 } else { 1 };
    let request = |_| Client::connect(address).exchange("GET", &path, &fields).status.to_string();
    (0..times).map(request).collect()
}

#[test]
fn contract_commands_demo_its_lines_work() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.arg("demo").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Process::spawn(&mut command).unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let introduction: Vec<_> = lines.by_ref().take_while(|line| !line.contains("Ctrl-C")).collect();
    let variable = introduction.iter().find_map(|line| line.trim().strip_prefix("D="));
    let folder = variable.expect("the folder is printed").to_owned();
    let mut seen = Vec::new();
    for line in introduction.iter().filter(|line| line.contains("curl -i")) {
        let (_, comment) = line.split_once(" # ").expect("a comment with the status");
        let statuses = follow(line, &folder);
        assert!(comment.trim().starts_with(&statuses.join(" ")), "{line}: {statuses:?}");
        seen.extend(statuses);
    }
    for status in ["200", "401", "403", "429"] {
        assert!(seen.iter().any(|one| one == status), "{status}: {introduction:#?}");
    }
    let interrupt = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    // Reads to the end, so that the child is never held up by a full pipe.
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&folder).exists(), "the demo leaves nothing behind");
}
