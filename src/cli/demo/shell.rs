//! Words of a POSIX shell.
//!
//! Owns the quoting. Never runs a command.

/// The bodies end without a line feed: curl writes it.
pub(super) const CURL: &str = r"curl -i -w '\n'";

/// `text` as one word of a POSIX shell.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(shell_word("/tmp/gatepost-1/a.yaml"), "/tmp/gatepost-1/a.yaml");
        assert_eq!(shell_word("/my files/it's"), r"'/my files/it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
