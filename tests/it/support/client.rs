//! A client that sends exactly the bytes it is given.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use super::PATIENCE;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection.
pub struct Client {
    stream: Stream,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    /// Connects to `127.0.0.1:80` or `unix:/path`.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub fn try_connect(address: &str) -> io::Result<Self> {
        let stream = if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Stream::Unix(stream)
        } else {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// A connection after its handshake.
    pub fn of_tls(stream: StreamOwned<ClientConnection, TcpStream>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), buffer: Vec::new() }
    }

    /// The TLS side of the connection.
    #[track_caller]
    pub fn tls(&self) -> &ClientConnection {
        let Stream::Tls(stream) = &self.stream else { panic!("a connection without TLS") };
        &stream.conn
    }

    /// Sends bytes. What is refused early may be closed while we still write.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Stream::Unix(stream) => stream.write_all(bytes.as_ref()),
            Stream::Tls(stream) => stream.write_all(bytes.as_ref()),
        };
        self
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) -> &mut Self {
        let _ = match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        };
        self
    }

    /// Sends a head without a body and reads the answer.
    #[track_caller]
    pub fn exchange(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
        self.send(head(method, target, fields)).response_to(method)
    }

    /// Reads the answer to a request that was not HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    #[track_caller]
    fn response_to(&mut self, method: &str) -> Response {
        let mut response = self.response_head();
        if method == "HEAD" || response.status == 204 || response.status == 304 {
            return response;
        }
        response.body = if response.field("transfer-encoding").is_some() {
            self.chunked()
        } else if let Some(length) = response.field("content-length") {
            let length = length.parse().unwrap();
            self.take(length)
        } else {
            while self.fill() > 0 {}
            std::mem::take(&mut self.buffer)
        };
        response
    }

    /// Reads a head alone.
    #[track_caller]
    pub fn response_head(&mut self) -> Response {
        let end = self.find(b"\r\n\r\n");
        let head = String::from_utf8(self.take(end + 4)).expect("a head of ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a field");
            (name.to_owned(), value.trim().to_owned())
        });
        Response {
            status: status.unwrap_or_else(|| panic!("a status line: {status_line:?}")),
            fields: fields.collect(),
            body: Vec::new(),
        }
    }

    /// Reads exactly `count` bytes.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            let have = self.buffer.len();
            assert!(self.fill() > 0, "closed after {have} of {count} bytes");
        }
        self.buffer.drain(..count).collect()
    }

    /// Whether the other side has closed, with nothing left to read.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill() == 0
    }

    /// Whether the connection ends without an answer: closed, reset or with a TLS alert.
    pub fn is_refused(&mut self) -> bool {
        let mut room = [0; 4096];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut room),
            Stream::Unix(stream) => stream.read(&mut room),
            Stream::Tls(stream) => stream.read(&mut room),
        };
        match read {
            Ok(count) => count == 0,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
            }
        }
    }

    /// Whether the connection ends with a reset, after what is left to read.
    pub fn is_reset(&mut self) -> bool {
        let mut room = [0; 4096];
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut room),
                Stream::Unix(stream) => stream.read(&mut room),
                Stream::Tls(stream) => stream.read(&mut room),
            };
            match read {
                Ok(1..) => {}
                Ok(_) => return false,
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    #[track_caller]
    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n");
            let line = String::from_utf8(self.take(end + 2)).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
            body.extend_from_slice(&self.take(size));
            assert_eq!(self.take(2), b"\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    #[track_caller]
    fn find(&mut self, what: &[u8]) -> usize {
        loop {
            if let Some(at) = self.buffer.windows(what.len()).position(|window| window == what) {
                return at;
            }
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.fill() > 0, "closed, after {so_far:?}");
        }
    }

    /// Reads what is there; 0 when the other side is gone.
    fn fill(&mut self) -> usize {
        let mut piece = [0; 16384];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut piece),
            Stream::Unix(stream) => stream.read(&mut piece),
            Stream::Tls(stream) => stream.read(&mut piece),
        };
        let count = match read {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer in {PATIENCE:?}: {error}"),
        };
        self.buffer.extend_from_slice(&piece[..count]);
        count
    }
}

/// A head as bytes; with `Host: api.example` unless the fields have one.
pub fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: api.example\r\n");
    }
    for (name, value) in fields {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    text.push_str("\r\n");
    text
}

impl Response {
    /// The value of the only field of that name.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        let value = values.next();
        assert!(values.next().is_none(), "more than one {name}: {:?}", self.fields);
        value.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The coarse code of a refusal.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}
