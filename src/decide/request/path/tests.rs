//! Tests of what is accepted, refused and removed.

use super::*;
use crate::decide::request::path::view::Source;

#[track_caller]
fn accept(raw: &str, expected: &str) {
    let path =
        CanonicalPath::parse(raw.as_bytes()).unwrap_or_else(|error| panic!("{raw:?} {error}"));
    assert_eq!(path.as_str(), expected, "{raw:?}");
}

#[track_caller]
fn refuse(raw: impl AsRef<[u8]>, expected: PathError) {
    let raw = raw.as_ref();
    assert_eq!(CanonicalPath::parse(raw), Err(expected), "{:?}", String::from_utf8_lossy(raw));
}

#[test]
fn r502_nothing_but_dot_segments_changes() {
    for same in [
        "/",
        "//",
        "///a//",
        "/a/",
        "/a;v=1/b;",
        "/A%c3%A9%2f%3b%20",
        "/a.b/.c/d./...",
        "/%25",
        "/%2525",
        "/a|b{c}^`[d]~!$&'()*+,=:@_-",
        "/a/*/**",
        "/%C2%80",
        "/%E2%80%A6",
    ] {
        accept(same, same);
    }
}

#[test]
fn contract_paths_dot_segments_are_removed() {
    for (raw, expected) in [
        ("/.", "/"),
        ("/./", "/"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/a//../b", "/a/b"),
        ("//../a", "/a"),
        ("/a/b/c/../../d/./e", "/a/d/e"),
    ] {
        accept(raw, expected);
    }
}

#[test]
fn r501_climbing_above_the_root_is_refused() {
    for raw in
        ["/..", "/../", "/../a", "/a/../..", "/a/../../b", "/./..", "//../..", "/a/b/../../../c/d"]
    {
        refuse(raw, PathError::AboveRoot);
    }
}

#[test]
fn r501_encoded_separators_and_dots_are_refused() {
    for raw in [
        "/a%5cb",
        "/a%5Cb",
        "/%2e",
        "/%2E%2E/",
        "/.%2e/a",
        "/%2e./a",
        "/a/%2E",
        "/a/%2e%2e",
        "/a/%2e%2e%2e",
        "/a/%2e%2e;x=1/b",
        "/a/%2e%2e%3bx/b",
        "/a/%2e%2e%20/b",
        "/a/%2e%2e%3f",
        "/a%2f%2e%2e%2fb",
        "/a%EF%BC%8F%2e%2e%EF%BC%8Fb",
        "/a/%EF%BC%8E%2e/b",
        "/a.b%2Ec/../%2e",
        "/a%252eb",
        "/a%252fb",
        "/a%252Fb",
        "/%252e%252e/",
        "/a%255cb",
        "/%2500",
        "/a%250ab",
        "/%25%32%46",
        "/%25%32f",
        "/%252%66",
        "/%25u002fa",
        "/a%25u002E",
        "/a%25U005c",
        "/%25u0000",
        "/%25c0%25af",
        "/%25c0%25ae%25c0%25ae/",
        "/%25c1%259c",
        "/%25e0%2580%25af",
        "/%25f0%2580%2580%25af",
    ] {
        refuse(raw, PathError::EncodedSeparator);
    }
    // An encoded dot inside a name has one reading.
    for same in ["/a%2eb", "/a%2Ehtml", "/v1%2E2/x", "/%2ehidden", "/a%2e", "/a%2e%2eb", "/a.b%2Ec"]
    {
        accept(same, same);
    }
    for same in ["/100%25ca", "/%25c0", "/%25c0x", "/%25u", "/%25u00", "/%25uxyzw", "/%25u0061"] {
        accept(same, same);
    }
    let path = CanonicalPath::parse(b"/a%2Fb").unwrap();
    assert!(path.has_encoded_slash());
    assert!(CanonicalPath::parse(b"/a%2fb").unwrap().has_encoded_slash());
    assert!(!CanonicalPath::parse(b"/a%25b").unwrap().has_encoded_slash());
}

#[test]
fn r501_nul_controls_and_bad_percent_encodings_are_refused() {
    for raw in ["/%00", "/a%00.jpg", "/%0a", "/%09", "/%0D%0A", "/%1f", "/%7F"] {
        refuse(raw, PathError::Control);
    }
    for raw in
        ["/%", "/%2", "/%g0", "/%2g", "/a%", "/%%32%46", "/%+1", "/%u0061", "/%u002f", "/% 1"]
    {
        let expected = if raw.contains(' ') { PathError::Byte } else { PathError::Encoding };
        refuse(raw, expected);
    }
    // Overlong, a lone continuation byte, a surrogate, cut short, beyond U+10FFFF.
    for raw in
        ["/%c0%af", "/%e0%80%af", "/%80", "/%ed%a0%80", "/%c3", "/%c3/%a9", "/%f4%90%80%80", "/%ff"]
    {
        refuse(raw, PathError::Utf8);
    }
}

#[test]
fn r501_r110_bytes_that_no_path_has_are_refused() {
    for byte in (0..=0x20).chain(0x7f..=0xff).chain(*b"\"#<>?\\") {
        refuse([b"/a", &[byte][..], b"b"].concat(), PathError::Byte);
    }
    for byte in (0x21..0x7f).filter(|byte| !b"\"#<>?\\%".contains(byte)) {
        assert!(CanonicalPath::parse(&[b'/', byte]).is_ok() || byte == b'.', "{byte}");
    }
    refuse("/é", PathError::Byte);
}

#[test]
fn r501_what_does_not_begin_with_a_slash_is_refused() {
    for raw in ["", "*", "a", "a/b", "http://a/b", "a:80", ".", "%2Fa", "\\a"] {
        refuse(raw, PathError::NotAbsolute);
    }
}

#[test]
fn paths_have_a_bound() {
    assert_eq!(PATH_BYTES_MAX, 8_192);
    assert!(
        CanonicalPath::parse(format!("/{}", "a".repeat(PATH_BYTES_MAX - 1)).as_bytes()).is_ok()
    );
    refuse(format!("/{}", "a".repeat(PATH_BYTES_MAX)), PathError::TooLong);
    assert!(CanonicalPath::parse("/a".repeat(SEGMENTS_MAX).as_bytes()).is_ok());
    refuse("/".repeat(SEGMENTS_MAX + 1), PathError::TooLong);
}

#[test]
fn a_path_is_ordinary_only_when_every_reading_is_the_path_itself() {
    for ordinary in ["/", "/a", "/a/", "/a-b_c~1/x.json", "/.well-known/jwks.json", "/a:b@c,d=1"] {
        assert!(CanonicalPath::parse(ordinary.as_bytes()).unwrap().is_ordinary(), "{ordinary}");
        assert_eq!(view::marks(ordinary), 0, "{ordinary}");
    }
    for odd in [
        "//", "/A", "/a;b", "/a.", "/a./b", "/a/...", "/a%20", "/%41", "/a/./b", "/a/b/..",
        // A second oddity does not make up for the first.
        "//a//b", "/a./b./c", "/A//b", "/A/b.", "/;;",
    ] {
        assert!(!CanonicalPath::parse(odd.as_bytes()).unwrap().is_ordinary(), "{odd}");
    }
}

#[test]
fn r503_every_source_reads_a_text_in_its_own_way() {
    for (text, source, expected) in [
        ("/%2541", Source::AsIs, "/%2541"),
        ("/%2541", Source::Once, "/%41"),
        ("/%2541", Source::Twice, "/A"),
        ("/%25u0141%25U00e9", Source::Twice, "/\u{141}\u{e9}"),
        ("/%EF%BC%A1", Source::Once, "/\u{ff21}"),
        ("/%EF%BC%A1%C2%AD", Source::Nfkc, "/A"),
        ("/%25EF%25BC%25A1", Source::TwiceNfkc, "/A"),
        ("/a%5Cb%E2%88%95c", Source::Backslash, "/a/b/c"),
        ("/a%5Cb", Source::Backslash, "/a/b"),
        ("/a%255Cb", Source::TwiceBackslash, "/a/b"),
        ("/%EF%BC%8541", Source::NfkcOnce, "/A"),
        // What is cut before it is decoded takes slashes with it.
        ("/a;b%2Fc/d", Source::Once, "/a;b/c/d"),
        ("/a;b%2Fc/d", Source::CutOnce, "/a/d"),
        ("/a;b%252Fc/%2541", Source::CutTwice, "/a/A"),
        ("/a;b/%EF%BC%A1", Source::CutNfkc, "/a/A"),
        ("/a;b/%25EF%25BC%25A1", Source::CutTwiceNfkc, "/a/A"),
        ("/a;b/c%5Cd", Source::CutBackslash, "/a/c/d"),
        ("/a;b/c%255Cd", Source::CutTwiceBackslash, "/a/c/d"),
        ("/a%3Bb%EF%BC%8Fc/d", Source::Nfkc, "/a;b/c/d"),
        ("/a%3Bb%EF%BC%8Fc/d", Source::OnceCutNfkc, "/a/d"),
        ("/a%253Bb%25EF%25BC%258Fc/d", Source::TwiceCutNfkc, "/a/d"),
        ("/a%3Bb%5Cc/d%5Ce", Source::OnceCutBackslash, "/a/d/e"),
        ("/a%253Bb%255Cc/d%255Ce", Source::TwiceCutBackslash, "/a/d/e"),
    ] {
        let texts = view::Texts::of(text);
        assert_eq!(texts.text(texts.number(source)), expected, "{text:?} {source:?}");
    }
}

/// Every text of up to four of these.
fn small_paths() -> Vec<String> {
    const PARTS: [&str; 8] = ["a", "A", ";", ".", "%20", "?", "/", "\u{130}"];
    let mut all = vec!["/".to_owned()];
    let mut from = 0;
    for _ in 0..4 {
        let longer = all[from..].iter().flat_map(|path| PARTS.map(|part| format!("{path}{part}")));
        let longer: Vec<_> = longer.collect();
        from = all.len();
        all.extend(longer);
    }
    all
}

#[test]
fn r503_a_bit_without_a_mark_changes_nothing() {
    let folded = |path: &str, mask: u8| {
        let mut out = String::new();
        view::fold(path, mask, &mut out);
        out
    };
    for path in small_paths() {
        let marks = view::marks(&path);
        for mask in 0..view::MASKS {
            assert_eq!(folded(&path, mask), folded(&path, mask & marks), "{path} {mask}");
        }
    }
}
