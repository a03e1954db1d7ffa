//! The user whose process listens on a port of this machine.
//!
//! Owns reading the kernel's tables of TCP sockets (`/proc/net/tcp`, proc(5)), in which every socket
//! has the user id of its creator. Never connects.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The state of a socket that listens.
const LISTEN: &str = "0A";

/// The user ids of the sockets that listen at `address`: several where one is of every address, or of
/// IPv6 alone.
pub(super) fn of(address: SocketAddr) -> Vec<u32> {
    let tables = TABLES.iter().filter_map(|table| File::open(table).ok());
    let lines = tables.flat_map(|table| BufReader::new(table).lines().map_while(Result::ok));
    lines.filter_map(|line| row(&line, address)).collect()
}

/// Returns whether listeners of these users, and of no other, may be sent what is for `owner`.
pub(super) fn is_trusted(listening: &[u32], owner: u32) -> bool {
    !listening.is_empty() && listening.iter().all(|one| *one == owner || *one == 0)
}

/// The user id of a line, if it is of a socket that listens at `address`.
fn row(line: &str, address: SocketAddr) -> Option<u32> {
    let words: Vec<_> = line.split_ascii_whitespace().take(8).collect();
    let [_, local, _, LISTEN, _, _, _, owner] = words[..] else { return None };
    let (ip, port) = local.split_once(':')?;
    let ip = read_ip(ip)?;
    let is_there = ip == address.ip().to_canonical() || ip.is_unspecified();
    let is_there = is_there && u16::from_str_radix(port, 16) == Ok(address.port());
    is_there.then(|| owner.parse().ok())?
}

/// Words of 32 bits in hexadecimal, each in the byte order of the machine.
fn read_ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = text.get(at..at + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_listener_of_this_process_has_its_owner() {
        let own = std::fs::metadata("/proc/self").unwrap().uid();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let reached = if address.starts_with('[') { "[::1]" } else { "127.0.0.1" };
            let reached: SocketAddr = format!("{reached}:{port}").parse().unwrap();
            assert!(of(reached).contains(&own), "{address}");
            assert!(of(SocketAddr::new("127.0.0.2".parse().unwrap(), 1)).is_empty());
        }
    }

    #[test]
    fn contract_admin_a_token_that_was_made_is_for_its_owner_and_root() {
        let trusted: [(&[u32], bool); 6] = [
            (&[1000], true),
            (&[0], true),
            (&[1000, 0], true),
            (&[1001], false),
            (&[1001, 0], false),
            (&[], false),
        ];
        for (listening, expected) in trusted {
            assert_eq!(is_trusted(listening, 1000), expected, "{listening:?}");
        }
    }

    #[test]
    fn a_row_counts_for_its_address_and_for_the_unspecified_one() {
        let row_of = |local: &str, state: &str, address: &str| {
            let line = format!("   0: {local} 00000000:0000 {state} 0:0 00:0 0 1000 0 4711 1");
            row(&line, address.parse().unwrap())
        };
        let mine = [
            ("0100007F:2382", "127.0.0.1:9090"),
            ("00000000:2382", "127.0.0.1:9090"),
            ("00000000000000000000000001000000:2382", "[::1]:9090"),
            ("0000000000000000FFFF00000100007F:2382", "127.0.0.1:9090"),
            ("00000000000000000000000000000000:2382", "127.0.0.1:9090"),
        ];
        for (local, address) in mine {
            assert_eq!(row_of(local, "0A", address), Some(1000), "{local}");
            assert_eq!(row_of(local, "01", address), None, "not listening");
            assert_eq!(row_of(local, "0A", "127.0.0.1:9091"), None, "another port");
        }
        assert_eq!(row_of("0200007F:2382", "0A", "127.0.0.1:9090"), None, "another address");
        for line in ["", "  sl  local_address rem_address st", "0: zz:1 0 0A 0 0 0 0"] {
            assert_eq!(row(line, "127.0.0.1:1".parse().unwrap()), None, "{line}");
        }
    }
}
