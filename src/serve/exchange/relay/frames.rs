//! The boundaries of WebSocket frames in one direction of a tunnel (RFC 6455 section 5.2).
//!
//! Owns [`Frames`], which knows where a close frame of gatepost can be put: between two frames, and
//! not behind a close frame of the upstream. Never changes, holds or reads the data.

/// The longest head of a frame: two bytes, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// Close with 1008, policy violation (RFC 6455 section 7.4.1): the credential has ended.
pub(in crate::serve::exchange) const CLOSE_1008: &[u8] = b"\x88\x12\x03\xf0credential ended";

/// The state after the frames that were seen.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    /// Bytes of the head that were seen.
    seen: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    is_closed: bool,
}

impl Frames {
    /// Follows the next bytes.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let payload = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            if payload > 0 {
                self.left -= payload as u64;
                bytes = &bytes[payload..];
                continue;
            }
            self.head[self.seen] = bytes[0];
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen == self.head_bytes() {
                self.left = self.payload_bytes();
                self.is_closed |= self.head[0] & OPCODE == CLOSE;
                self.seen = 0;
            }
        }
    }

    /// Another frame may follow here.
    pub(super) fn may_close(&self) -> bool {
        self.seen == 0 && self.left == 0 && !self.is_closed
    }

    /// The length of the head, as far as it was seen.
    fn head_bytes(&self) -> usize {
        if self.seen < 2 {
            return 2;
        }
        let mask = if self.head[1] & MASKED == 0 { 0 } else { 4 };
        2 + self.length_bytes() + mask
    }

    /// The bytes of the length behind the first seven bits.
    fn length_bytes(&self) -> usize {
        match self.head[1] & LENGTH {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn payload_bytes(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.head[1] & LENGTH),
            count => {
                let long = &self.head[2..2 + count];
                long.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CLOSE_1008, Frames};

    /// Every frame ends where it says, whatever the pieces that it comes in.
    #[test]
    fn a_close_frame_fits_between_two_frames_only() {
        let medium = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let long = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 1 << 16]].concat();
        let masked = [&[0x81, 0x82, 1, 2, 3, 4][..], b"ab"].concat();
        for frame in [&b"\x81\x02hi"[..], b"\x89\x00", b"\x01\x01a", &medium, &long, &masked] {
            for piece in [1, 3, 1 << 17] {
                let mut frames = Frames::default();
                assert!(frames.may_close());
                let (last, rest) = frame.split_last().unwrap();
                for bytes in rest.chunks(piece) {
                    frames.follow(bytes);
                    assert!(!frames.may_close(), "{} in pieces of {piece}", frame[0]);
                }
                frames.follow(&[*last]);
                assert!(frames.may_close(), "{} in pieces of {piece}", frame[0]);
            }
        }
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let mut frames = Frames::default();
        frames.follow(CLOSE_1008);
        assert_eq!((frames.left, frames.seen), (0, 0), "its length is right");
        assert!(!frames.may_close());
    }
}
