//! Contract: `gatepost demo` prints commands that work when copied one by one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Process, Recorder, Sandbox, root};

/// What the lines about the issuer print.
const OF_THE_ISSUER: [&str; 11] = [
    "<dd>ada</dd>",
    r#""refresh_token":"gp_rt_"#,
    "303 200",
    r#""token_type":"Bearer","expires_in":3600"#,
    r#""x-auth-subject":["app:app_"#,
    r#""x-auth-credential":["pat"]"#,
    r#""x-auth-issuer":["urn:gatepost:api-key"]"#,
    r#""expires_in":2592000"#,
    r#""active":true"#,
    "200 401",
    "pat.revoke",
];

/// Runs one printed line in a fresh shell.
fn shell(line: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The statuses in the output of `curl -i`, separated by spaces.
fn statuses(output: &str) -> String {
    output.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect::<Vec<_>>().join(" ")
}

#[test]
fn contract_commands_demo_its_lines_work() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.arg("demo").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Process::spawn(&mut command).unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let introduction: Vec<_> = lines.by_ref().take_while(|line| !line.contains("Ctrl-C")).collect();
    let folder = introduction.iter().find_map(|line| line.split_once(" are in "));
    let folder = folder.expect("the folder is printed").1.split(' ').next().unwrap().to_owned();
    assert!(Path::new(&folder).is_dir(), "{introduction:#?}");
    let mut seen = Vec::new();
    for pair in introduction.windows(2) {
        let Some(line) = pair[1].strip_prefix("  ") else { continue };
        let (good, output) = shell(line);
        assert!(good, "{line}: {output}");
        if pair[0].starts_with(|c: char| c.is_ascii_digit()) {
            let expected = pair[0].split([',', ':']).next().unwrap();
            assert_eq!(statuses(&output), expected, "{line}: {output}");
            seen.push(expected.to_owned());
        }
        seen.push(output);
    }
    for expected in ["200", "401", "403", "429", "refused with 401", "admitted", "gatepost_build"]
        .iter()
        .chain(&OF_THE_ISSUER)
    {
        assert!(seen.iter().any(|one| one.contains(expected)), "{expected}: {introduction:#?}");
    }
    let interrupt = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    // Reads to the end, so that the child is never held up by a full pipe.
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&folder).exists(), "the demo leaves nothing behind");
}

/// The commands of a section of the README.
fn readme(heading: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("gatepost "));
    lines.map(str::to_owned).collect()
}

#[test]
fn docs_the_commands_of_the_readme_about_the_issuer_work() {
    let upstream = Recorder::start();
    let sidecar = Sandbox::new().start(&format!(
        "state_dir: state\nissuer: {{ url: 'https://api.example.com' }}\n\
         upstreams: {{ app: {{ url: \"{}\" }} }}\n\
         routes: [{{ path: /**, access: {{ scopes: [read] }} }}]\n",
        upstream.url()
    ));
    let commands = readme("## Issuing credentials");
    assert!(commands.len() > 5, "{commands:?}");
    let folder = Path::new(env!("CARGO_BIN_EXE_gatepost")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env("PATH", &path).current_dir(sidecar.sandbox.path(""));
        let output = shell.output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{command}: {output:?}");
    }
}
