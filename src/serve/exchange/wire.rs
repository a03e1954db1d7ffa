//! An answer of gatepost itself as bytes.
//!
//! Owns the form: status line, fields, body. Never decides what the answer says: that is
//! [`crate::decide::rejection`]'s.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::base::clock::UnixTime;
use crate::decide::rejection::{Answer, spelling};

/// The fate of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Keep,
    Close,
}

/// The bytes of an answer to a request, HEAD or not.
pub(super) fn form(answer: &Answer, id: &str, then: Then, is_head: bool, now: UnixTime) -> Vec<u8> {
    let mut text = Vec::with_capacity(384 + answer.body.len());
    let reason = answer.status.canonical_reason().unwrap_or("");
    for part in ["HTTP/1.1 ", answer.status.as_str(), " ", reason, "\r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &answer.fields {
        push(&mut text, spelling(name).unwrap_or(name.as_str()), value.as_bytes());
    }
    // No 204 has a length (RFC 9110 section 8.6).
    if answer.status != StatusCode::NO_CONTENT {
        push(&mut text, "Content-Length", itoa::Buffer::new().format(answer.body.len()).as_bytes());
    }
    push(&mut text, "X-Request-Id", id.as_bytes());
    push(&mut text, "Date", &date(now));
    push(&mut text, "Connection", if then == Then::Keep { b"keep-alive" } else { b"close" });
    text.extend_from_slice(b"\r\n");
    if !is_head {
        text.extend_from_slice(&answer.body);
    }
    text
}

fn push(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}

/// IMF-fixdate (RFC 9110 section 5.6.7), written once a second by each thread.
fn date(now: UnixTime) -> [u8; 29] {
    thread_local! {
        static LAST: Cell<Option<(UnixTime, [u8; 29])>> = const { Cell::new(None) };
    }
    if let Some((at, text)) = LAST.get()
        && at == now
    {
        return text;
    }
    // The last second that four digits can name.
    let seconds = Duration::from_secs(now.0.min(253_402_300_799));
    let written = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + seconds);
    let text = written.as_bytes().try_into().unwrap_or([b' '; 29]);
    LAST.set(Some((now, text)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::rejection::Rejection;
    use crate::decide::request::framing::FramingError;

    #[test]
    fn contract_answers_an_answer_has_an_id_a_length_a_date_and_says_what_comes_next() {
        let rejection = Rejection::Framing(FramingError::LineEnd);
        let answer = Answer::to_rejection(&rejection, "r", "an-id");
        let now = UnixTime(784_111_777);
        let text =
            |then, is_head| String::from_utf8(form(&answer, "an-id", then, is_head, now)).unwrap();
        let close = text(Then::Close, false);
        let (head, body) = close.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        for line in [
            "X-Request-Id: an-id",
            &format!("Content-Length: {}", body.len()),
            "Date: Sun, 06 Nov 1994 08:49:37 GMT",
            "Connection: close",
        ] {
            assert!(head.lines().any(|one| one == line), "{line}: {head}");
        }
        assert!(text(Then::Keep, false).contains("\r\nConnection: keep-alive\r\n"));
        assert!(text(Then::Close, true).ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_date_is_that_of_the_second_that_was_asked_for() {
        for (at, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&date(UnixTime(at))), text);
        }
    }
}
