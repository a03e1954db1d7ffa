//! The id of a request, in the log, in `why` and on the wire.
//!
//! Owns generating and recognising ids. An id is unique and reveals nothing: neither the number of
//! requests nor the next id.

use std::fmt;

/// 128 bits in lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A source of ids: one per thread, so that nothing is shared.
#[derive(Debug)]
pub struct RequestIds {
    /// Differs from source to source.
    prefix: u64,
    /// Hides the count.
    key: u64,
    count: u64,
}

impl RequestIds {
    /// A source whose ids differ from those of every source with another seed.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        Self { prefix: seed[0], key: seed[1], count: 0 }
    }

    /// The next id.
    pub fn next_id(&mut self) -> RequestId {
        self.count = self.count.wrapping_add(1);
        let mut text = [0; 32];
        write_hex(self.prefix, &mut text[..16]);
        write_hex(scramble(self.count ^ self.key), &mut text[16..]);
        RequestId(text)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection, so no two counts meet.
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn write_hex(number: u64, text: &mut [u8]) {
    for (byte, pair) in number.to_be_bytes().into_iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
}

/// Parses an id that a peer sent: `[A-Za-z0-9._-]{1,128}`, so that it cannot break a log line.
#[must_use]
pub fn parse_foreign(value: &[u8]) -> Option<&str> {
    let is_ours = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if value.is_empty() || value.len() > 128 || !value.iter().all(is_ours) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_within_and_across_sources() {
        let mut seen = HashSet::new();
        for seed in [[1, 2], [1, 3], [2, 2]] {
            let mut ids = RequestIds::new(seed);
            let of_source: HashSet<_> = (0..10_000).map(|_| ids.next_id()).collect();
            assert_eq!(of_source.len(), 10_000);
            if seed != [1, 3] {
                seen.extend(of_source);
            }
        }
        assert_eq!(seen.len(), 20_000);
    }

    #[test]
    fn an_id_is_32_hexadecimal_digits() {
        let id = RequestIds::new([0xab, 1]).next_id();
        assert!(id.as_str().starts_with("00000000000000ab"));
        assert_eq!(id.as_str().len(), 32);
        assert!(parse_foreign(id.as_str().as_bytes()).is_some());
    }

    #[test]
    fn contract_identity_headers_only_a_valid_foreign_id_is_kept() {
        assert_eq!(parse_foreign(b"a.B_9-"), Some("a.B_9-"));
        assert!(parse_foreign(&[b'a'; 128]).is_some());
        for wrong in
            [&b""[..], b" ", b"a b", b"a\r\nb", b"a,b", b"\xc3\xa9", b"\"", b"a/b", &[b'a'; 129]]
        {
            assert_eq!(parse_foreign(wrong), None, "{wrong:?}");
        }
    }
}
