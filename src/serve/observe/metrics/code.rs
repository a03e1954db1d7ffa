//! The closed set of values of the label `code`.
//!
//! Owns the registered status codes. An upstream may answer with any number; it is not a label.

/// Every registered status code (IANA, HTTP Status Code Registry), sorted.
const KNOWN: [u16; 61] = [
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304,
    305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415,
    416, 417, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 506,
    507, 508, 510, 511,
];

/// The number of values of the label: the known codes, `none` and `other`.
pub(super) const COUNT: usize = KNOWN.len() + 2;

/// Nothing was sent: the caller was gone.
const NONE: usize = KNOWN.len();

/// A number that is not registered.
const OTHER: usize = KNOWN.len() + 1;

/// The position of a status in the set; 0 means no answer.
#[must_use]
pub(super) fn index(status: u16) -> usize {
    if status == 0 { NONE } else { KNOWN.binary_search(&status).unwrap_or(OTHER) }
}

/// The label's value at a position.
#[must_use]
pub(super) fn label(index: usize) -> String {
    match KNOWN.get(index) {
        Some(known) => known.to_string(),
        None if index == NONE => "none".to_owned(),
        None => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r904_every_number_has_one_of_a_closed_set_of_labels() {
        assert!(KNOWN.is_sorted());
        let mut seen = std::collections::BTreeSet::new();
        for status in 0..=u16::MAX {
            let index = index(status);
            assert!(index < COUNT);
            seen.insert(label(index));
        }
        assert_eq!(seen.len(), COUNT);
        assert_eq!(label(index(0)), "none");
        assert_eq!(label(index(404)), "404");
        assert_eq!(label(index(299)), "other");
        assert_eq!(label(index(999)), "other");
    }
}
