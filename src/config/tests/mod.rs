//! Whole configurations: what is accepted, and every mistake with its place.

mod documents;
mod entries;
mod issuer;
mod routes;
mod sections;

use std::path::Path;

use super::Config;

/// Everything but routes; each line may be overridden by a later test through [`with`].
const BASE: &str = "\
listeners: [{ address: '127.0.0.1:8080' }]
upstreams: { app: { url: 'http://127.0.0.1:3000' }, other: { url: 'http://other' } }
issuers: [{ issuer: 'https://login.example.com', name: corp, audiences: [a], algorithms: [RS256], keys: { file: jwks.json } }]
api_keys: { files: [keys.yaml] }
limits: { slow: { rate: 1/s }, fast: { rate: 100/s, burst: 200, by: address } }
defaults: { upstream: app }
routes: [{ path: /, access: anonymous }]
";

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let environment = |name: &str| (name == "PORT").then(|| "8080".to_owned());
    Config::parse(Path::new("/etc/g.yaml"), text, &environment)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// The base with some top-level lines replaced or added.
fn with(lines: &str) -> String {
    let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let new: Vec<String> = lines.lines().map(key).collect();
    let kept = BASE.lines().filter(|line| !new.contains(&key(line)));
    kept.chain(lines.lines()).fold(String::new(), |text, line| text + line + "\n")
}

#[track_caller]
fn good(lines: &str) -> Config {
    parse(&with(lines)).unwrap_or_else(|mistakes| panic!("{lines}\n{mistakes:#?}"))
}

/// Each line has exactly these mistakes; each expectation is the mistake's path, a `|`, and a
/// part of its message.
#[track_caller]
fn bad(lines: &str, expected: &[&str]) {
    let Err(mistakes) = parse(&with(lines)) else { panic!("accepted: {lines}") };
    assert_eq!(mistakes.len(), expected.len(), "{lines}\n{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        let (path, message) = expected.split_once('|').unwrap();
        let colon = if path.is_empty() { "" } else { ": " };
        let place = mistake.splitn(4, ':').nth(3).unwrap();
        assert!(place.starts_with(&format!(" {path}{colon}")), "{lines}\n{mistake}");
        assert!(mistake.contains(message), "{lines}\n{mistake}");
    }
}

#[track_caller]
fn bad_route(route: &str, expected: &[&str]) {
    bad(&format!("routes: [{{ {route} }}]"), expected);
}
