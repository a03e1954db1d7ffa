//! The encoding of log lines: one line of printable ASCII, for every value.
//!
//! Owns the escaping that access log and process log share (R-903). An attacker would put a line
//! end, a terminal escape or a text that reads like another field into a path, a header or a
//! claim. Never writes anywhere, never drops a field silently: what is shortened says so.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::bytes::all;
use crate::base::clock::UnixMillis;
use crate::decide::request::address::push_address;

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// `name=value` pairs; values that are not plain words are JSON strings.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The mark of a value that was shortened.
const SHORTENED: &[u8] = b"...";

/// The longest escape of one character: a surrogate pair.
const ESCAPE_BYTES_MAX: usize = 12;

/// One line being written, field by field.
#[derive(Debug)]
pub(crate) struct Line {
    out: Vec<u8>,
    format: LineFormat,
    empty: bool,
}

impl Line {
    /// An empty line with room for `capacity` bytes.
    #[must_use]
    pub(crate) fn new(format: LineFormat, capacity: usize) -> Self {
        Self::within(format, Vec::with_capacity(capacity))
    }

    /// An empty line in the room of an older one.
    #[must_use]
    pub(crate) fn within(format: LineFormat, mut out: Vec<u8>) -> Self {
        out.clear();
        if format == LineFormat::Json {
            out.push(b'{');
        }
        Self { out, format, empty: true }
    }

    /// A field with any text; at most about `bytes_max` bytes of it are written.
    pub(crate) fn text(&mut self, name: &'static str, value: &str, bytes_max: usize) {
        self.name(name);
        match self.format {
            LineFormat::Text if is_plain(value, bytes_max) => {
                self.out.extend_from_slice(value.as_bytes());
            }
            LineFormat::Json if is_plain(value, bytes_max) => {
                self.out.push(b'"');
                self.out.extend_from_slice(value.as_bytes());
                self.out.push(b'"');
            }
            LineFormat::Text | LineFormat::Json => push_quoted(&mut self.out, value, bytes_max),
        }
    }

    /// A field with a constant, which needs no quotes.
    pub(crate) fn word(&mut self, name: &'static str, value: &'static str) {
        debug_assert!(is_plain(value, usize::MAX), "{value:?} needs quotes");
        self.plain(name, |out| out.extend_from_slice(value.as_bytes()));
    }

    /// A field with a point in time. Its spelling is plain.
    pub(crate) fn time(&mut self, name: &'static str, value: UnixMillis) {
        self.plain(name, |out| match value.digits() {
            Some(digits) => out.extend_from_slice(&digits),
            // Writing to a Vec cannot fail.
            None => drop(write!(out, "{value}")),
        });
    }

    /// A field with an address. Its spelling is plain.
    pub(crate) fn address(&mut self, name: &'static str, value: IpAddr) {
        self.plain(name, |out| push_address(out, value));
    }

    /// A field whose text can be read in one way only.
    fn plain(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        let quote: &[u8] = if self.format == LineFormat::Json { b"\"" } else { b"" };
        self.out.extend_from_slice(quote);
        write(&mut self.out);
        self.out.extend_from_slice(quote);
    }

    /// A field with a whole number.
    pub(crate) fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A field with milliseconds, to the microsecond: `12.034`.
    pub(crate) fn millis(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.out.extend_from_slice(itoa::Buffer::new().format(micros / 1000).as_bytes());
        let rest = micros % 1000;
        let digit = |place: u64| b'0' + u8::try_from(rest / place % 10).unwrap_or(0);
        self.out.extend([b'.', digit(100), digit(10), digit(1)]);
    }

    /// The whole line with its line end.
    #[must_use]
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.format == LineFormat::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
        self.out
    }

    fn name(&mut self, name: &'static str) {
        match (self.format, self.empty) {
            (LineFormat::Text, true) | (LineFormat::Json, true) => {}
            (LineFormat::Text, false) => self.out.push(b' '),
            (LineFormat::Json, false) => self.out.push(b','),
        }
        self.empty = false;
        match self.format {
            LineFormat::Text => {
                self.out.extend_from_slice(name.as_bytes());
                self.out.push(b'=');
            }
            LineFormat::Json => {
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
        }
    }
}

/// Appends `value` as a JSON string of printable ASCII, shortened to about `bytes_max` bytes.
pub(crate) fn push_quoted(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    out.push(b'"');
    push_escaped(out, value, bytes_max);
    out.push(b'"');
}

/// Appends `value` as the content of a JSON string: every control, quote, backslash and
/// non-ASCII character escaped, so that no terminal and no parser sees anything but text.
pub(crate) fn push_escaped(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    let end = out.len().saturating_add(bytes_max);
    for character in value.chars() {
        // What is written never passes `end` by more than the mark.
        let room = end.saturating_sub(out.len());
        if room < ESCAPE_BYTES_MAX && room < escaped_len(character) {
            out.extend_from_slice(SHORTENED);
            return;
        }
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            ' '..='~' => out.push(character as u8),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    push_unicode_escape(out, *unit);
                }
            }
        }
    }
}

/// `text` up to `bytes_max` bytes, cut between characters, with a mark where something is missing.
#[must_use]
pub(crate) fn shorten(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", &text[..end])
}

fn escaped_len(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        ' '..='~' => 1,
        other => 6 * other.len_utf16(),
    }
}

fn push_unicode_escape(out: &mut Vec<u8>, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[usize::from(unit >> shift & 15)]);
    }
}

/// Returns whether a value is unambiguous without quotes.
fn is_plain(value: &str, bytes_max: usize) -> bool {
    !value.is_empty()
        && value.len() <= bytes_max
        && all(value.as_bytes(), |byte| {
            // `+`, `,`, `-`, `.` and `/` are neighbours, and so are the digits and `:`.
            byte.is_ascii_alphabetic()
                | (b'*'..=b':').contains(&byte)
                | (byte == b'_')
                | (byte == b'@')
                | (byte == b'~')
                | (byte == b'|')
                | (byte == b'%')
        })
}

#[cfg(test)]
pub(crate) mod naughty {
    //! Texts that break careless logs (R-903).

    /// Line ends, terminal escapes, quotes, other spellings of a line end, bidirectional marks.
    pub const STRINGS: &[&str] = &[
        "",
        " ",
        "a b",
        "a=b",
        "\"",
        "\\",
        "\\\"",
        "\n",
        "\r\n{\"outcome\":\"admitted\"}",
        "x\r\nSet-Cookie: a=b",
        "\0",
        "\u{1}\u{2}\u{7}\u{8}\u{b}\u{c}\u{1f}",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{1b}]0;title\u{7}",
        "\u{7f}",
        "\u{85}",
        "\u{9b}31m",
        "\u{2028}\u{2029}",
        "\u{202e}drowssap",
        "\u{200b}\u{feff}",
        "Ω≈ç√∫˜µ≤≥÷",
        "田中さんにあげて下さい",
        "👩🏽‍💻🇺🇸",
        "Ṱ̺̺̕o͞ ̷i̲̬͇̪͙n̝̗͕v̟̜̘̦͟o̶̙̰̠kè͚̮̺̪̹̱̤",
        "%0d%0aX-Evil:%201",
        "${jndi:ldap://x/a}",
        "{{7*7}}",
        "<script>alert(1)</script>",
        "'; DROP TABLE logs; --",
        "%s%n%x",
        "\u{10ffff}",
        "null",
        "-1e309",
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LineFormat, value: &str, bytes_max: usize) -> String {
        let mut line = Line::new(format, 64);
        line.text("first", value, bytes_max);
        line.number("second", 7);
        String::from_utf8(line.finish()).unwrap()
    }

    #[track_caller]
    fn check_clean(line: &str) {
        let (last, rest) = line.as_bytes().split_last().unwrap();
        assert_eq!(*last, b'\n');
        assert!(rest.iter().all(|byte| (b' '..=b'~').contains(byte)), "{line:?}");
    }

    #[test]
    fn r903_every_naughty_text_stays_one_json_object_on_one_line() {
        for text in naughty::STRINGS {
            let line = line(LineFormat::Json, text, 1024);
            check_clean(&line);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["first"], *text, "nothing is lost");
            assert_eq!(value["second"], 7);
            assert_eq!(value.as_object().unwrap().len(), 2);
        }
    }

    #[test]
    fn r903_a_text_line_cannot_be_given_another_field() {
        for text in naughty::STRINGS {
            let line = line(LineFormat::Text, text, 1024);
            check_clean(&line);
            let value = line.strip_prefix("first=").unwrap().strip_suffix(" second=7\n").unwrap();
            if let Some(quoted) = value.strip_prefix('"') {
                let read: String = serde_json::from_str(value).unwrap();
                assert_eq!(read, *text);
                assert!(quoted.ends_with('"'));
            } else {
                assert_eq!(value, *text);
                assert!(!value.contains([' ', '=', '"']));
            }
        }
    }

    #[test]
    fn a_value_is_bounded_after_escaping_and_says_that_it_was_shortened() {
        for text in ["a".repeat(1000), "\0".repeat(1000), "👩".repeat(1000), "\"".repeat(1000)] {
            for format in [LineFormat::Text, LineFormat::Json] {
                let line = line(format, &text, 100);
                assert!(line.len() < 100 + 40, "{line}");
                assert!(line.contains("...\""), "{line}");
                check_clean(&line);
            }
            assert!(shorten(&text, 101).len() <= 104);
        }
        assert_eq!(line(LineFormat::Text, &"a".repeat(100), 100).len(), 6 + 100 + 10);
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("ab\u{e9}", 3), "ab...");
    }

    #[test]
    fn milliseconds_have_three_decimals() {
        let mut line = Line::new(LineFormat::Json, 64);
        line.millis("a", Duration::from_micros(12_034));
        line.millis("b", Duration::from_nanos(1));
        assert_eq!(line.finish(), b"{\"a\":12.034,\"b\":0.000}\n");
    }
}
