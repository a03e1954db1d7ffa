//! Numbers and addresses as text, where every request writes some.
//!
//! Owns the digits. The machinery of `fmt` costs several times what they cost. Never decides
//! anything.

use std::io::Write as _;
use std::net::IpAddr;

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends an address as it is usually written (RFC 5952 for IPv6).
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_number(out, octet.into());
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"a".to_vec();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_ends_of_the_range_have_all_their_digits() {
        for value in [0, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(pushed(|out| push_number(out, value)), format!("a{value}"));
        }
    }

    proptest! {
        #[test]
        fn it_is_what_fmt_would_write(value: u64, address: IpAddr) {
            prop_assert_eq!(pushed(|out| push_number(out, value)), format!("a{value}"));
            prop_assert_eq!(pushed(|out| push_address(out, address)), format!("a{address}"));
        }
    }
}
