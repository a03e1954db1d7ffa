//! The stock of buffers of each thread.
//!
//! Owns their two sizes and how many are kept: a head or a body needs no allocation, and an idle
//! connection holds none. Never looks into one; what goes back is cleared.

use std::cell::RefCell;

/// Room for most heads.
pub(super) const SMALL_BYTES: usize = 4 * 1024;
/// Room for a piece of a body. Larger pieces cost less, and two of them bound what a slow reader
/// holds.
pub(super) const LARGE_BYTES: usize = 64 * 1024;
/// Small buffers kept by a thread: 256 KiB.
const SMALL_MAX: usize = 64;
/// Large buffers kept by a thread: 2 MiB.
const LARGE_MAX: usize = 32;

thread_local! {
    static SMALL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static LARGE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer for a head.
pub(super) fn small() -> Vec<u8> {
    SMALL.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
}

/// An empty buffer for pieces of a body.
pub(super) fn large() -> Vec<u8> {
    LARGE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(LARGE_BYTES))
}

/// Exchanges an empty buffer for one of at least `LARGE_BYTES`.
pub(super) fn enlarge(buffer: &mut Vec<u8>) {
    if buffer.capacity() < LARGE_BYTES {
        give_back(std::mem::replace(buffer, large()));
    }
}

/// Takes a buffer back into the stock; one that has grown is freed.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    buffer.clear();
    let (stock, most) = match buffer.capacity() {
        SMALL_BYTES => (&SMALL, SMALL_MAX),
        LARGE_BYTES => (&LARGE, LARGE_MAX),
        _ => return,
    };
    stock.with_borrow_mut(|kept| {
        if kept.len() < most {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stock_is_bounded_and_keeps_no_byte() {
        for _ in 0..2 {
            let mut all: Vec<_> = (0..LARGE_MAX + 8).map(|_| large()).collect();
            all.extend((0..SMALL_MAX + 8).map(|_| small()));
            for buffer in &mut all {
                assert!(buffer.is_empty());
                buffer.extend_from_slice(b"secret");
            }
            all.into_iter().for_each(give_back);
        }
        give_back(vec![1; 3 * LARGE_BYTES]);
        assert_eq!(LARGE.with_borrow(Vec::len), LARGE_MAX);
        assert_eq!(SMALL.with_borrow(Vec::len), SMALL_MAX);
        let mut one = small();
        enlarge(&mut one);
        assert!(one.capacity() == LARGE_BYTES && one.is_empty());
    }
}
