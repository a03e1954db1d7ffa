//! Upstreams: one that records every byte, and a WSGI server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use super::{Process, eventually, python};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The head, without the empty line.
    pub head: String,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Recorded {
    pub fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Every field as sent.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.head.split("\r\n").skip(1);
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
    }

    /// The value of the only field of that name.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        let value = found.next();
        assert!(found.next().is_none(), "more than one {name}: {}", self.head);
        value.map(|(_, value)| value)
    }
}

/// What the recorder does after a request.
pub enum Reply {
    /// Sends bytes and waits for the next request.
    Bytes(Vec<u8>),
    /// Sends pieces as they come, then closes.
    Pieces(Receiver<Vec<u8>>),
    /// Closes without an answer.
    Close,
    /// Sends nothing and keeps the connection.
    Hang,
}

impl Reply {
    /// A plain 200.
    pub fn ok() -> Self {
        Self::text("ok")
    }

    pub fn text(body: &str) -> Self {
        let length = body.len();
        Self::Bytes(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes(),
        )
    }
}

#[derive(Default)]
struct Log {
    raw: Mutex<Vec<u8>>,
    requests: Mutex<Vec<Recorded>>,
    connections: Mutex<usize>,
}

type Answer = Arc<dyn Fn(&Recorded) -> Reply + Send + Sync>;

/// An upstream that keeps every byte it is sent.
#[derive(Clone)]
pub struct Recorder {
    url: String,
    log: Arc<Log>,
}

impl Recorder {
    /// On a port of loopback, answering 200.
    pub fn start() -> Self {
        Self::answering(|_| Reply::ok())
    }

    /// On a port of loopback.
    pub fn answering(answer: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = move || Some(listener.accept().ok()?.0);
        Self::serve(url, incoming, |stream| stream.try_clone().unwrap(), Arc::new(answer))
    }

    /// On a Unix socket, answering 200.
    pub fn on_unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let url = format!("unix:{}", path.display());
        let incoming = move || Some(listener.accept().ok()?.0);
        let answer = Arc::new(|_: &Recorded| Reply::ok());
        Self::serve(url, incoming, |stream| stream.try_clone().unwrap(), answer)
    }

    fn serve<S: Read + Write + Send + 'static>(
        url: String,
        incoming: impl Fn() -> Option<S> + Send + 'static,
        duplicate: impl Fn(&S) -> S + Send + 'static,
        answer: Answer,
    ) -> Self {
        let log = Arc::new(Log::default());
        let into = Arc::clone(&log);
        std::thread::spawn(move || {
            while let Some(stream) = incoming() {
                *into.connections.lock().unwrap() += 1;
                let reader = duplicate(&stream);
                let (log, answer) = (Arc::clone(&into), Arc::clone(&answer));
                std::thread::spawn(move || converse(reader, stream, &log, &answer));
            }
        });
        Self { url, log }
    }

    /// As a configuration names it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.log.requests.lock().unwrap().clone()
    }

    /// The latest request.
    #[track_caller]
    pub fn last(&self) -> Recorded {
        self.requests().pop().expect("a request reached the upstream")
    }

    /// Every byte so far, of all connections, as it came.
    pub fn raw(&self) -> Vec<u8> {
        self.log.raw.lock().unwrap().clone()
    }

    /// Waits until these bytes have arrived.
    #[track_caller]
    pub fn await_bytes(&self, bytes: &[u8]) {
        eventually("bytes to reach the upstream", || {
            self.raw().windows(bytes.len()).any(|window| window == bytes).then_some(())
        });
    }

    pub fn connections(&self) -> usize {
        *self.log.connections.lock().unwrap()
    }
}

/// Reads that end up in the log first.
struct Logged<'a, S> {
    stream: S,
    log: &'a Log,
}

impl<S: Read> Read for Logged<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(into)?;
        self.log.raw.lock().unwrap().extend_from_slice(&into[..count]);
        Ok(count)
    }
}

fn converse<S: Read + Write>(reader: S, mut writer: S, log: &Log, answer: &Answer) {
    let mut reader = BufReader::new(Logged { stream: reader, log });
    while let Some(recorded) = read_request(&mut reader) {
        log.requests.lock().unwrap().push(recorded.clone());
        match answer(&recorded) {
            Reply::Bytes(bytes) => {
                if writer.write_all(&bytes).is_err() {
                    return;
                }
            }
            Reply::Pieces(pieces) => {
                for piece in pieces {
                    let _ = writer.write_all(&piece).and_then(|()| writer.flush());
                }
                return;
            }
            Reply::Close => return,
            // Returns when the sidecar times out and closes.
            Reply::Hang => drop(reader.read_to_end(&mut Vec::new())),
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Recorded> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    head.truncate(head.len() - 4);
    let mut recorded = Recorded { head, body: Vec::new() };
    if recorded.field("transfer-encoding").is_some() {
        recorded.body = read_chunks(reader)?;
    } else if let Some(length) = recorded.field("content-length") {
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        recorded.body = body;
    }
    Some(recorded)
}

fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return Some(body);
        }
    }
}

/// A WSGI server that answers with its environment.
pub struct Wsgi {
    _process: Process,
    url: String,
}

impl Wsgi {
    pub fn start() -> Self {
        Self::serving("wsgiref")
    }

    /// With `wsgiref`, `waitress` or `gunicorn`.
    pub fn serving(server: &str) -> Self {
        let mut command = python("wsgi_echo.py");
        command.arg(server).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command).unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { _process: process, url: format!("http://127.0.0.1:{}", port.trim()) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}
