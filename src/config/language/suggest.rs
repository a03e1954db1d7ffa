//! What was probably meant: the nearest of the accepted words, and all of them.
//!
//! Owns the wording and the distance between words. Never accepts anything.

/// `did you mean "x"? accepted: x, y, z`, or just what is accepted.
pub fn suggest<'n>(text: &str, accepted: impl Iterator<Item = &'n str>) -> String {
    let accepted: Vec<&str> = accepted.collect();
    if accepted.is_empty() {
        return "nothing is accepted, because there is none".to_owned();
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

/// How many letters must be added, removed, changed or swapped with their neighbour, without
/// regard to case. Long texts are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).take(65).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).take(65).collect();
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
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
    fn nothing_to_choose_from_is_said() {
        assert_eq!(suggest("x", std::iter::empty()), "nothing is accepted, because there is none");
    }
}
