//! Scans over many bytes at once.
//!
//! Owns the two loops every request runs over its whole head. Without an early end within a piece
//! the compiler processes a whole piece in a few instructions. Never knows what the bytes mean.

/// Bytes of one piece.
const PIECE: usize = 64;

/// Returns whether every byte is in a class.
#[inline]
pub fn all(bytes: &[u8], class: impl Fn(u8) -> bool) -> bool {
    bytes.chunks(PIECE).all(|piece| piece.iter().fold(true, |all, byte| all & class(*byte)))
}

/// The position of the first occurrence of a byte.
#[inline]
#[must_use]
pub fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    memchr::memchr(wanted, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn many_at_once_see_what_one_at_a_time_sees(bytes in prop::collection::vec(0_u8..4, 0..300)) {
            for byte in 0..5 {
                prop_assert_eq!(find(&bytes, byte), bytes.iter().position(|one| *one == byte));
                prop_assert_eq!(all(&bytes, |one| one < byte), bytes.iter().all(|one| *one < byte));
            }
        }

        #[test]
        fn one_byte_is_enough_wherever_it_is(length in 1_usize..300, at in 0_usize..300) {
            let mut bytes = vec![b'a'; length];
            let at = at % length;
            bytes[at] = b'b';
            prop_assert_eq!(find(&bytes, b'b'), Some(at));
            prop_assert!(!all(&bytes, |byte| byte == b'a'));
        }
    }
}
