//! What every page has around its content.
//!
//! Owns the frame: where the pages are, who is signed in, and the form that signs out. Never reads
//! the store.

use crate::base::clock::UnixTime;

/// The frame of a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// The folder of the pages.
    pub(super) account: String,
    /// The login of the person who is signed in.
    pub(super) login: Option<String>,
    /// The CSRF token of the form that signs out.
    pub(super) sign_out: String,
    /// Personal access tokens are on.
    pub(super) has_tokens: bool,
    /// API keys are on.
    pub(super) has_keys: bool,
    /// People may register applications.
    pub(super) has_applications: bool,
}

/// A mistake in a form: the field and the sentence.
#[derive(Clone, Debug)]
pub(super) struct Mistake {
    /// `id` of the field.
    pub(super) field: &'static str,
    /// The sentence.
    pub(super) text: String,
}

/// The sentence about a field.
pub(super) fn about<'a>(mistakes: &'a [Mistake], field: &str) -> Option<&'a str> {
    mistakes.iter().find(|mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
}

/// An instant for people, in UTC. A line breaks between day and time alone.
pub(super) fn date(at: UnixTime) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, time)) if time.len() >= 5 => format!("{day} {}\u{a0}UTC", &time[..5]),
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_shown_to_the_minute() {
        assert_eq!(date(UnixTime(1_795_881_725)), "2026-11-28 16:02\u{a0}UTC");
    }
}
