//! The only conversion from text to a header value.
//!
//! Owns the percent-encoding of everything that is not visible ASCII (the contract, "Identity
//! headers"). An attacker would put CR LF, a comma or a second value into a claim to make the
//! upstream see a header that gatepost did not write. Never trims, never drops a
//! byte.

use http::HeaderValue;

/// Encodes one text: visible ASCII other than `%` stays, every other byte becomes `%XX`.
#[must_use]
pub fn encode(text: &str) -> HeaderValue {
    let mut escaped = Vec::with_capacity(text.len());
    escape_into(&mut escaped, text, None);
    into_value(escaped)
}

/// Encodes a list: each item as [`encode`] does, the separator inside an item too, joined by it.
pub(crate) fn encode_list<'a>(
    items: impl IntoIterator<Item = &'a str>,
    separator: u8,
) -> HeaderValue {
    let mut joined = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            joined.push(separator);
        }
        escape_into(&mut joined, item, Some(separator));
    }
    into_value(joined)
}

fn escape_into(escaped: &mut Vec<u8>, text: &str, separator: Option<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let stays = |byte: u8| byte.is_ascii_graphic() && byte != b'%' && Some(byte) != separator;
    // Fast path for nearly every text: copied at once.
    if text.bytes().all(stays) {
        escaped.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        if stays(byte) {
            escaped.push(byte);
        } else {
            escaped.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

fn into_value(visible: Vec<u8>) -> HeaderValue {
    // Only visible ASCII and the separator (a comma or a space) can be in here.
    HeaderValue::try_from(visible).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r315_only_visible_ascii_leaves() {
        assert_eq!(encode("user-1|auth0"), "user-1|auth0");
        assert_eq!(encode("a b\r\nX-Evil: 1%é"), "a%20b%0D%0AX-Evil:%201%25%C3%A9");
        assert_eq!(encode(""), "");
    }

    #[test]
    fn r602_a_separator_inside_an_item_cannot_add_an_item() {
        assert_eq!(encode_list(["admin,root", "dev"], b','), "admin%2Croot,dev");
        assert_eq!(encode_list(["read", "write"], b' '), "read write");
    }
}
