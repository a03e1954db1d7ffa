//! Key servers: one whose every answer a test decides, and one with TLS.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Process, Recorded, Recorder, Reply, python};

type Answer = Box<dyn Fn(&Recorded) -> Reply + Send>;

/// A key server on a port of loopback.
pub struct KeyServer {
    recorder: Recorder,
    answer: Arc<Mutex<Answer>>,
}

impl KeyServer {
    /// One that serves this set.
    pub fn with(jwks: &str) -> Self {
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(|_| Reply::Close)));
        let now = Arc::clone(&answer);
        let recorder = Recorder::answering(move |request| now.lock().unwrap()(request));
        let server = Self { recorder, answer };
        server.serve(jwks);
        server
    }

    /// Serves this set from now on.
    pub fn serve(&self, jwks: &str) {
        let jwks = jwks.to_owned();
        self.answer(move |_| Reply::text(&jwks));
    }

    /// Answers so from now on.
    pub fn answer(&self, answer: impl Fn(&Recorded) -> Reply + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// Its address, without a path.
    pub fn origin(&self) -> &str {
        self.recorder.url()
    }

    /// The address of the set.
    pub fn url(&self) -> String {
        format!("{}/jwks.json", self.origin())
    }

    /// How often it was asked.
    pub fn fetches(&self) -> usize {
        self.recorder.requests().len()
    }

    /// What it was asked last.
    #[track_caller]
    pub fn last(&self) -> Recorded {
        self.recorder.last()
    }

    /// The targets it was asked for.
    pub fn targets(&self) -> Vec<String> {
        let target = |one: &Recorded| one.request_line().split(' ').nth(1).map(str::to_owned);
        self.recorder.requests().iter().filter_map(target).collect()
    }
}

/// A key server with TLS; ends when it is dropped.
pub struct TlsKeyServer {
    child: Process,
    stdout: BufReader<ChildStdout>,
    port: u64,
    /// The authority of its certificates, in PEM.
    pub authority: String,
}

impl TlsKeyServer {
    pub fn with(jwks: &str) -> Self {
        let mut command = python("tls_key_server.py");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Process::spawn(&mut command).unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let authority = said["authority"].as_str().unwrap().to_owned();
        let port = said["port"].as_u64().unwrap();
        let mut server = Self { child, stdout, port, authority };
        server.set("body", jwks);
        server
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/jwks.json", self.port)
    }

    /// Changes `body` or `certificate`.
    pub fn set(&mut self, what: &str, value: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", json!([what, value])).unwrap();
        self.stdout.read_line(&mut String::new()).unwrap();
    }
}
