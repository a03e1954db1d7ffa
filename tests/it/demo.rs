//! Contract: `gatepost demo` prints lines that do what they say.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn contract_commands_demo_its_curl_lines_work() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    let mut child = command.arg("demo").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let introduction: Vec<String> = lines.by_ref().take_while(|line| !line.contains("Ctrl-C")).collect();
    let variable = introduction.iter().find(|line| line.trim().starts_with("D=")).expect("D=...");
    let mut seen = Vec::new();
    for line in introduction.iter().filter(|line| line.contains("curl -i")) {
        let (script, comment) = line.split_once(" # ").expect("a comment with the status");
        let script = format!("{variable}\n{}", script.replace("curl -i", "curl -s -o /dev/null -w '%{http_code} '"));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let statuses = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(comment.trim().starts_with(&statuses), "{line}: {statuses}");
        seen.extend(statuses.split(' ').map(str::to_owned));
    }
    for status in ["200", "401", "403", "429"] {
        assert!(seen.iter().any(|one| one == status), "{status}: {introduction:#?}");
    }
    let folder = variable.trim().trim_start_matches("D=").to_owned();
    assert!(std::path::Path::new(&folder).exists());
    let interrupt = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    // Reads to the end, so that the child is never held up by a full pipe.
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!std::path::Path::new(&folder).exists(), "the demo leaves nothing behind");
}
