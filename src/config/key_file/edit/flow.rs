//! The inside of a `{ key: value, ... }`.
//!
//! Owns finding keys and values of a flow mapping by position. The text was parsed before, so
//! this only has to tell quotes, comments and nesting apart. Never decides what to change.

use std::ops::Range;

/// The positions of the parts of a flow mapping, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FlowMapping {
    /// Keys with their quotes, and values.
    pub(super) pairs: Vec<(Range<usize>, Range<usize>)>,
    /// The end of the last key, value or comma.
    pub(super) end_of_content: usize,
    /// True if a comma follows the last value.
    pub(super) trailing_comma: bool,
}

/// Scans the mapping whose `{` is at `open`. `None` when it is not closed, or no mapping.
pub(super) fn scan(text: &str, open: usize) -> Option<FlowMapping> {
    let mut pairs = Vec::new();
    let mut key: Option<Range<usize>> = None;
    let mut value: Option<Range<usize>> = None;
    let mut colon = false;
    let mut depth = 0_usize;
    let mut end_of_content = open + 1;
    let mut trailing_comma = false;
    let mut tokens = Tokens { text, at: open };
    while let Some((token, span)) = tokens.next() {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.checked_sub(1)?,
            Token::Comma | Token::Colon | Token::Scalar => {}
        }
        if depth == 0 {
            pairs.extend(key.zip(value));
            return Some(FlowMapping { pairs, end_of_content, trailing_comma });
        }
        if token == Token::Open && depth == 1 {
            continue;
        }
        end_of_content = span.end;
        trailing_comma = token == Token::Comma && depth == 1;
        if trailing_comma {
            pairs.extend(key.take().zip(value.take()));
            colon = false;
        } else if token == Token::Colon && depth == 1 {
            colon = true;
        } else {
            let part = if colon { &mut value } else { &mut key };
            let start = part.as_ref().map_or(span.start, |part| part.start);
            *part = Some(start..span.end);
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Colon,
    Scalar,
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Option<(Token, Range<usize>)> {
        self.skip_space_and_comments();
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let (token, length) = match rest.first()? {
            b'{' | b'[' => (Token::Open, 1),
            b'}' | b']' => (Token::Close, 1),
            b',' => (Token::Comma, 1),
            b':' if is_end_of_plain(rest.get(1)) || self.after_quote() => (Token::Colon, 1),
            b'"' => (Token::Scalar, double_quoted(rest)?),
            b'\'' => (Token::Scalar, single_quoted(rest)?),
            _ => (Token::Scalar, plain(rest)),
        };
        self.at = start + length;
        Some((token, start..self.at))
    }

    fn skip_space_and_comments(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if byte.is_ascii_whitespace() {
                self.at += 1;
            } else if *byte == b'#'
                && self.at.checked_sub(1).is_none_or(|at| bytes[at].is_ascii_whitespace())
            {
                let line = bytes[self.at..].iter().take_while(|byte| **byte != b'\n').count();
                self.at += line;
            } else {
                return;
            }
        }
    }

    /// A colon right behind a quoted key needs no space after it.
    fn after_quote(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| self.text.as_bytes()[at]);
        matches!(before, Some(b'"' | b'\''))
    }
}

fn is_end_of_plain(next: Option<&u8>) -> bool {
    next.is_none_or(|byte| byte.is_ascii_whitespace() || b",[]{}".contains(byte))
}

fn double_quoted(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn single_quoted(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'\'')? + 1;
        // Two in a row are one quote inside.
        if bytes.get(at) != Some(&b'\'') {
            return Some(at);
        }
        at += 1;
    }
}

/// A plain scalar up to its end, or to the end of its line.
fn plain(bytes: &[u8]) -> usize {
    let end = bytes.iter().enumerate().position(|(at, byte)| match byte {
        b'\n' | b'\r' | b',' | b'[' | b']' | b'{' | b'}' => true,
        b':' => is_end_of_plain(bytes.get(at + 1)),
        b'#' => at > 0 && bytes[at - 1].is_ascii_whitespace(),
        _ => false,
    });
    let text = &bytes[..end.unwrap_or(bytes.len())];
    text.trim_ascii_end().len().max(1)
}

/// The length of a scalar on one line, from its first byte: the quotes included. `None` when it
/// does not end on this line, or is no scalar.
pub(super) fn scalar_on_line(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    match bytes.first()? {
        b'"' => double_quoted(bytes),
        b'\'' => single_quoted(bytes),
        b'[' | b'{' | b'|' | b'>' | b'&' | b'*' | b'!' | b'#' => None,
        _ => {
            let comment = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
            Some(line[..comment].trim_end().len()).filter(|length| *length > 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)], trailing_comma: bool) {
        let open = text.find('{').unwrap();
        let found = scan(text, open).unwrap();
        let pairs: Vec<_> =
            found.pairs.iter().map(|(k, v)| (&text[k.clone()], &text[v.clone()])).collect();
        assert_eq!(pairs, expected);
        assert_eq!(found.trailing_comma, trailing_comma);
    }

    #[test]
    fn pairs_are_found_through_quotes_comments_and_nesting() {
        check("- { id: a, digest: sha256:00 }", &[("id", "a"), ("digest", "sha256:00")], false);
        check("{a: b,}", &[("a", "b")], true);
        check("{}", &[], false);
        check(r#"{"a":"b, }",'c' : 'd''},'}"#, &[("\"a\"", "\"b, }\""), ("'c'", "'d''},'")], false);
        check(
            "{ a: it's # }, x: y\n , b: [c, {d: e}], }",
            &[("a", "it's"), ("b", "[c, {d: e}]")],
            true,
        );
        check("{ a: one\n   two, b: c#d }", &[("a", "one\n   two"), ("b", "c#d")], false);
        check(
            "{ a: \"\\\"}\", t: 2027-01-01T00:00:00Z }",
            &[("a", "\"\\\"}\""), ("t", "2027-01-01T00:00:00Z")],
            false,
        );
    }

    #[test]
    fn what_is_not_closed_is_no_mapping() {
        for text in ["{", "{ a: b", "{ a: \"b }", "{ a: 'b }", "{ a: [b }"] {
            assert_eq!(scan(text, 0), None, "{text:?}");
        }
    }
}
