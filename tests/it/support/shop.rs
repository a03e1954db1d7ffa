//! A small application with users and sessions of its own, which signs people in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{Recorded, Recorder, Reply};

#[derive(Default)]
struct State {
    /// What `whoami` and `person` answer, by subject.
    people: Mutex<BTreeMap<String, String>>,
    /// Subjects by the value of the cookie.
    sessions: Mutex<BTreeMap<String, String>>,
    /// In place of the answers of `whoami`, and of `person`.
    whoami: Mutex<Option<Vec<u8>>>,
    person: Mutex<Option<Vec<u8>>>,
}

/// The application: `/login?next=PATH&as=SUB`, `/whoami`, `/people/SUB`, and an API.
pub struct Shop {
    pub upstream: Recorder,
    state: Arc<State>,
}

/// An answer with this status line and body.
pub fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

impl Shop {
    pub fn start() -> Self {
        let state = Arc::<State>::default();
        let known = Arc::clone(&state);
        Self { upstream: Recorder::answering(move |request| known.answer(request)), state }
    }

    /// Adds a person, or replaces what is known of them: members of the answer beside `sub`.
    pub fn add(&self, sub: &str, members: &str) {
        let text = format!("{{\"sub\":\"{sub}\"{members}}}");
        self.state.people.lock().unwrap().insert(sub.to_owned(), text);
    }

    pub fn remove(&self, sub: &str) {
        self.state.people.lock().unwrap().remove(sub);
    }

    /// Signs a person in under this value of the cookie.
    pub fn sign_in(&self, cookie: &str, sub: &str) {
        self.state.sessions.lock().unwrap().insert(cookie.to_owned(), sub.to_owned());
    }

    /// `whoami` answers these bytes; none: no bytes at all.
    pub fn set_whoami(&self, bytes: Option<Vec<u8>>) {
        *self.state.whoami.lock().unwrap() = bytes;
    }

    /// The same for `person`.
    pub fn set_person(&self, bytes: Option<Vec<u8>>) {
        *self.state.person.lock().unwrap() = bytes;
    }

    /// The requests for a path.
    pub fn asked(&self, path: &str) -> Vec<Recorded> {
        let begin = format!("GET {path}");
        let is_it = |one: &Recorded| one.request_line().starts_with(&begin);
        self.upstream.requests().into_iter().filter(is_it).collect()
    }
}

impl State {
    fn answer(&self, request: &Recorded) -> Reply {
        let target = request.request_line().split(' ').nth(1).unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        Reply::Bytes(match path {
            "/whoami" => match &*self.whoami.lock().unwrap() {
                Some(bytes) if bytes.is_empty() => return Reply::Hang,
                Some(bytes) => bytes.clone(),
                None => self.whoami(request),
            },
            "/login" => self.login(query),
            _ if path.starts_with("/people/") => match &*self.person.lock().unwrap() {
                Some(bytes) => bytes.clone(),
                None => self.describe(path.strip_prefix("/people/").unwrap_or_default()),
            },
            _ => return Reply::ok(),
        })
    }

    fn whoami(&self, request: &Recorded) -> Vec<u8> {
        let cookies = request.field("cookie").unwrap_or_default();
        let session = cookies.split("; ").find_map(|pair| pair.strip_prefix("session="));
        let sub = session.and_then(|one| self.sessions.lock().unwrap().get(one).cloned());
        match sub {
            Some(sub) => self.describe(&sub),
            None => answer("401 Unauthorized", ""),
        }
    }

    fn describe(&self, sub: &str) -> Vec<u8> {
        match self.people.lock().unwrap().get(sub) {
            Some(text) => answer("200 OK", text),
            None => answer("404 Not Found", ""),
        }
    }

    /// Signs in at once, as a person would who types, and redirects to `next`.
    fn login(&self, query: &str) -> Vec<u8> {
        let value = |name: &str| {
            let begin = format!("{name}=");
            query.split('&').find_map(|pair| pair.strip_prefix(&*begin)).unwrap_or_default()
        };
        let (next, sub) = (value("next").replace("%2F", "/"), value("as"));
        let cookie = format!("cookie-of-{sub}");
        self.sign_in(&cookie, sub);
        format!(
            "HTTP/1.1 303 See Other\r\nLocation: {next}\r\nContent-Length: 0\r\n\
             Set-Cookie: session={cookie}; Path=/; HttpOnly; SameSite=Lax\r\n\r\n"
        )
        .into_bytes()
    }

    fn sign_in(&self, cookie: &str, sub: &str) {
        self.sessions.lock().unwrap().insert(cookie.to_owned(), sub.to_owned());
    }
}
