//! Suggestions: the nearest of the accepted words, and all of them.
//!
//! Owns the wording and the threshold. Never accepts anything.

/// `did you mean "x"? accepted: x, y, z`, or just what is accepted.
pub fn suggest<'n>(text: &str, accepted: impl Iterator<Item = &'n str>) -> String {
    let accepted: Vec<&str> = accepted.collect();
    if accepted.is_empty() {
        return "no values are defined".to_owned();
    }
    let list = accepted.iter().take(50).copied().collect::<Vec<_>>().join(", ");
    let near = accepted
        .iter()
        .map(|name| (distance(text, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(3) / 3);
    match near {
        Some((_, name)) => format!("did you mean {name:?}? accepted: {list}"),
        None => format!("accepted: {list}"),
    }
}

/// The edit distance (insertions, deletions, substitutions, swaps of neighbours) without regard to
/// case. Texts over 64 characters are far from everything, which bounds the work.
fn distance(a: &str, b: &str) -> usize {
    let is_long = |text: &str| text.chars().nth(64).is_some();
    if is_long(a) || is_long(b) {
        return usize::MAX;
    }
    strsim::osa_distance(&a.to_lowercase(), &b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let hint = suggest(text, ["listeners", "admin", "routes", "p1"].into_iter());
        assert_eq!(hint, format!("{expected}accepted: listeners, admin, routes, p1"), "{text}");
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        check("listener", "did you mean \"listeners\"? ");
        check("lsiteners", "did you mean \"listeners\"? ");
        check("ROUTES", "did you mean \"routes\"? ");
        check("amdin", "did you mean \"admin\"? ");
        check("p2", "did you mean \"p1\"? ");
        check("upstreams", "");
        check("", "");
        check(&"x".repeat(10_000), "");
    }

    #[test]
    fn an_empty_set_is_reported() {
        assert_eq!(suggest("x", std::iter::empty()), "no values are defined");
    }
}
