//! The readings of a path that R-503 lists, implemented as simply as possible.
//!
//! Owns the views and every composition of them that an upstream may do in turn. Shares no code
//! with [`crate::decide::request::path::view`]. Never decides.

use unicode_normalization::UnicodeNormalization;

use crate::decide::policy::InsecurePath;

pub(super) type View = fn(&str) -> String;

/// The views, by the words of R-503.
pub(super) const VIEWS: [(&str, View); 12] = [
    ("raw", str::to_owned),
    ("dots", without_dots),
    ("once", decoded),
    ("twice", |path| decoded(&decoded(path))),
    ("merged", merged),
    ("authority", after_authority),
    ("backslash", |path| path.replace('\\', "/")),
    ("semicolon", without_parameters),
    ("query", |path| before_query(&decoded(path))),
    ("lower", caseless),
    ("tail", without_tails),
    ("nfkc", |path| compatible(&decoded(path))),
];

/// The path as read by an upstream that applies several of these, in the usual order:
/// a bit of `way` for each.
pub(super) fn composed(path: &str, way: u16, permitted: InsecurePath) -> String {
    let is_on = |bit: u16| way >> bit & 1 == 1;
    let mut text = path.to_owned();
    let mut apply = |is_on: bool, step: View| {
        if is_on {
            text = step(&text);
        }
    };
    let (parameters, slashes) = (!permitted.semicolon, !permitted.double_slash);
    apply(is_on(0) && parameters, without_parameters);
    apply(is_on(1), decoded);
    apply(is_on(1) && is_on(2), decoded);
    apply(is_on(1) && is_on(3) && parameters, without_parameters);
    apply(is_on(4), |path| replaced(path, &['\u{2044}', '\u{2215}', '\u{2216}', '\u{a5}']));
    apply(is_on(4) || is_on(5), compatible);
    apply(is_on(4), |path| replaced(path, &['\\']));
    // A third time would be one too many.
    let is_late = is_on(4) && is_on(6) && is_on(1) && !is_on(2) && !is_on(0) && !is_on(3);
    apply(is_late, decoded);
    apply(is_late, |path| replaced(path, &['\\']));
    apply(is_on(7), before_query);
    apply(is_on(8) && parameters, without_parameters);
    apply(is_on(9), without_tails);
    apply(is_on(10), caseless);
    apply(is_on(11) && slashes, merged);
    apply(is_on(12), without_dots);
    apply(is_on(13) && slashes, after_authority);
    apply(is_on(13) && is_on(14) && slashes, merged);
    apply(is_on(13) && is_on(15) && slashes, without_dots);
    text
}

fn without_parameters(path: &str) -> String {
    per_segment(path, |segment| segment.split(';').next().unwrap_or(""))
}

fn without_tails(path: &str) -> String {
    per_segment(&path.replace("%20", " "), |segment| {
        segment.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
    })
}

fn before_query(path: &str) -> String {
    path.split(['?', '#']).next().unwrap_or("").to_owned()
}

fn caseless(path: &str) -> String {
    path.replace('\u{130}', "i").to_lowercase().to_uppercase().to_lowercase()
}

fn compatible(path: &str) -> String {
    let is_seen = |c: &char| !matches!(u32::from(*c), 0xad | 0x200b..=0x200f | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff);
    path.chars().filter(is_seen).nfkc().collect()
}

fn replaced(path: &str, slashes: &[char]) -> String {
    path.replace(slashes, "/")
}

fn after_authority(path: &str) -> String {
    if !path.starts_with("//") {
        return path.to_owned();
    }
    let host_and_path = path.trim_start_matches('/');
    host_and_path.split_once('/').map_or("/".to_owned(), |(_, rest)| format!("/{rest}"))
}

pub(super) fn upper_triplets(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut out = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        out.push('%');
        out.extend(
            piece
                .chars()
                .enumerate()
                .map(|(at, letter)| if at < 2 { letter.to_ascii_uppercase() } else { letter }),
        );
    }
    out
}

fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = path.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match (bytes[at], hex.map(|hex| u8::from_str_radix(hex, 16))) {
            (b'%', Some(Ok(value))) => {
                out.push(value);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn merged(path: &str) -> String {
    let mut out = path.to_owned();
    while out.contains("//") {
        out = out.replace("//", "/");
    }
    out
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        match *segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
        if at + 1 == segments.len() && matches!(*segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

fn per_segment(path: &str, cut: impl Fn(&str) -> &str) -> String {
    path.split('/').map(cut).collect::<Vec<_>>().join("/")
}
