//! The PROXY protocol, versions 1 and 2.
//!
//! Owns reading the header that a balancer sends before the first byte of its client, and writing one
//! for an upstream. An attacker would send a header of their own: whose header is read is the
//! caller's to decide, and a header is complete, exact and bounded, or malformed. Never trusts
//! anything else that is in it: TLVs are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its line end.
const V1_BYTES_MAX: usize = 107;
/// Of version 2: the signature, the command, the family and the length.
const V2_FIXED_BYTES: usize = 16;
/// The most bytes that follow them: addresses and TLVs.
const V2_MORE_BYTES_MAX: usize = 520;

/// The versions that a listener or an upstream takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
    /// Either, told apart by the first byte. An upstream gets version 2.
    Any,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes.
    pub length: usize,
    /// The client; `None` for a connection of the balancer itself (LOCAL) and for one whose client
    /// has no IP address (UNKNOWN).
    pub client: Option<SocketAddr>,
}

/// The reason why bytes are no header.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// Another protocol.
    #[error("no PROXY header: the connection begins with something else")]
    Absent,
    /// A version that is not taken.
    #[error("a PROXY header of another version than proxy_protocol says")]
    Version,
    /// Too long.
    #[error("a PROXY header that is too long")]
    TooLong,
    /// Version 1, not as specified.
    #[error("a malformed PROXY header of version 1")]
    Line,
    /// Version 2, not as specified.
    #[error("a malformed PROXY header of version 2")]
    Binary,
}

impl ProxyProtocol {
    /// Reads the header at the start of `bytes`; `None` while more bytes are needed, never for more
    /// than 536.
    ///
    /// # Errors
    /// [`Malformed`], as soon as no more bytes could make a header of it.
    pub fn read(self, bytes: &[u8]) -> Result<Option<Header>, Malformed> {
        let begins = |start: &[u8]| {
            let common = bytes.len().min(start.len());
            bytes[..common] == start[..common]
        };
        match (begins(b"PROXY "), begins(SIGNATURE), self) {
            _ if bytes.is_empty() => Ok(None),
            (true, _, Self::V1 | Self::Any) => read_line(bytes),
            (_, true, Self::V2 | Self::Any) => read_binary(bytes),
            (true, _, Self::V2) | (_, true, Self::V1) => Err(Malformed::Version),
            (false, false, _) => Err(Malformed::Absent),
        }
    }

    /// Appends a header about a client and the address that it connected to. Without addresses, or
    /// with two of different families, it says that they are unknown.
    pub fn write(self, addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
        match self {
            Self::V1 => write_line(addresses, out),
            Self::V2 | Self::Any => write_binary(addresses, out),
        }
    }
}

fn read_line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { Err(Malformed::TooLong) };
    };
    let line = line[..end].strip_suffix(b"\r").ok_or(Malformed::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let length = end + 1;
    let rest = line.strip_prefix("PROXY ").ok_or(Malformed::Line)?;
    // What follows is to be ignored.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(Some(Header { length, client: None }));
    }
    let mut words = rest.split(' ');
    let mut next = || words.next().ok_or(Malformed::Line);
    let family = next()?;
    let (source, destination) = (next()?, next()?);
    let ports = [next()?, next()?];
    let is_v4 = match family {
        "TCP4" => true,
        "TCP6" => false,
        _ => return Err(Malformed::Line),
    };
    let address = |text| line_address(text, is_v4).ok_or(Malformed::Line);
    let (source, _) = (address(source)?, address(destination)?);
    let ports = [port(ports[0])?, port(ports[1])?];
    match words.next() {
        None => Ok(Some(Header { length, client: Some(SocketAddr::new(source, ports[0])) })),
        Some(_) => Err(Malformed::Line),
    }
}

fn line_address(text: &str, is_v4: bool) -> Option<IpAddr> {
    if is_v4 {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    } else {
        text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    }
}

/// Decimal, without leading zeros.
fn port(text: &str) -> Result<u16, Malformed> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = text == "0" || !text.starts_with('0');
    let port = text.parse().map_err(|_| Malformed::Line)?;
    if is_decimal && is_plain { Ok(port) } else { Err(Malformed::Line) }
}

fn read_binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    // Each byte is looked at as soon as it is there.
    let Some(&command) = bytes.get(12) else { return Ok(None) };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Binary),
    };
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    let addresses = match family {
        0x11 => 12,
        0x21 => 36,
        // Unspecified, and streams on Unix sockets.
        0x00 | 0x31 => 0,
        // A balancer may leave anything here.
        _ if is_local => 0,
        // Datagrams come on no stream; nothing else is specified.
        _ => return Err(Malformed::Binary),
    };
    let Some([high, low]) = bytes.get(14..16).and_then(|two| <[u8; 2]>::try_from(two).ok()) else {
        return Ok(None);
    };
    let more = usize::from(u16::from_be_bytes([high, low]));
    if more > V2_MORE_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    if !is_local && more < addresses {
        return Err(Malformed::Binary);
    }
    let length = V2_FIXED_BYTES + more;
    let Some(content) = bytes.get(V2_FIXED_BYTES..length) else { return Ok(None) };
    let client = if is_local { None } else { binary_address(family, content) };
    Ok(Some(Header { length, client }))
}

fn binary_address(family: u8, content: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes(content.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x11 => {
            let address: [u8; 4] = content.get(..4)?.try_into().ok()?;
            Some(SocketAddr::new(address.into(), port(8)?))
        }
        0x21 => {
            let address: [u8; 16] = content.get(..16)?.try_into().ok()?;
            Some(SocketAddr::new(address.into(), port(32)?))
        }
        _ => None,
    }
}

fn write_line(addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let Some((source, destination)) = addresses.and_then(same_family) else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
    out.extend_from_slice(line.as_bytes());
}

fn write_binary(addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    match addresses.and_then(same_family) {
        Some((SocketAddr::V4(source), SocketAddr::V4(destination))) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&source.ip().octets());
            out.extend_from_slice(&destination.ip().octets());
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
        Some((SocketAddr::V6(source), SocketAddr::V6(destination))) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&source.ip().octets());
            out.extend_from_slice(&destination.ip().octets());
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
        Some(_) | None => out.extend_from_slice(&[0x20, 0, 0, 0]),
    }
}

/// Both in IPv4, or both in IPv6.
fn same_family((a, b): (SocketAddr, SocketAddr)) -> Option<(SocketAddr, SocketAddr)> {
    let canonical = |one: SocketAddr| SocketAddr::new(one.ip().to_canonical(), one.port());
    let (a, b) = (canonical(a), canonical(b));
    let mapped = |one: SocketAddr| match one.ip() {
        IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), one.port()),
        IpAddr::V6(_) => one,
    };
    Some(if a.is_ipv4() == b.is_ipv4() { (a, b) } else { (mapped(a), mapped(b)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: usize, client: &str) -> Result<Option<Header>, Malformed> {
        Ok(Some(Header { length, client: Some(client.parse().unwrap()) }))
    }

    fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, content].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 1, 187];

    #[test]
    fn r701_a_line_is_read_as_specified_and_in_no_other_way() {
        let read = |text: &str| ProxyProtocol::V1.read(text.as_bytes());
        let line = "PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n";
        assert_eq!(read(&format!("{line}GET /")), header(line.len(), "192.0.2.1:12345"));
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let client = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        assert_eq!(read(longest), header(longest.len(), client));
        for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN a b c\r\n"] {
            let expected = Header { length: unknown.len(), client: None };
            assert_eq!(read(unknown), Ok(Some(expected)));
        }
        for malformed in [
            "PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\n",
            "PROXY  TCP4 192.0.2.1 10.0.0.1 12345 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 12345 443 \r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 12345\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 012345 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 example 1 443\r\n",
            "PROXY TCP4 192.0.2.01 10.0.0.1 1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 1 443\r\n",
            "PROXY UDP4 192.0.2.1 10.0.0.1 1 443\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY TCP4 192.0.2.1\0 10.0.0.1 1 443\r\n",
        ] {
            assert_eq!(read(malformed), Err(Malformed::Line), "{malformed}");
        }
        assert_eq!(read(&format!("PROXY UNKNOWN {}", "x".repeat(200))), Err(Malformed::TooLong));
        for absent in ["GET / HTTP/1.1\r\n", "proxy TCP4", "\x16\x03", " PROXY", "PROXYTCP"] {
            assert_eq!(read(absent), Err(Malformed::Absent), "{absent}");
        }
        assert_eq!(read("\r\n\r\n\0\r\nQUIT"), Err(Malformed::Version));
    }

    #[test]
    fn r701_a_binary_header_is_read_as_specified_and_in_no_other_way() {
        let read = |bytes: &[u8]| ProxyProtocol::V2.read(bytes);
        let with_tlvs = binary(0x21, 0x11, &[V4, &[4, 0, 1, 9]].concat());
        assert_eq!(read(&with_tlvs), header(with_tlvs.len(), "192.0.2.1:12345"));
        let v6 = [&[0x20; 32][..], &[0x30, 0x39, 1, 187]].concat();
        let client = "[2020:2020:2020:2020:2020:2020:2020:2020]:12345";
        assert_eq!(read(&binary(0x21, 0x21, &v6)), header(52, client));
        for unstated in [
            binary(0x20, 0, b""),
            binary(0x20, 0x11, V4),
            binary(0x20, 0xff, b"abc"),
            binary(0x21, 0, b""),
            binary(0x21, 0x31, &[0; 216]),
        ] {
            let expected = Header { length: unstated.len(), client: None };
            assert_eq!(read(&unstated), Ok(Some(expected)));
        }
        for malformed in [
            binary(0x11, 0x11, V4),
            binary(0x22, 0x11, V4),
            binary(0x21, 0x12, V4),
            binary(0x21, 0x41, V4),
            binary(0x21, 0x11, &V4[..11]),
            binary(0x21, 0x21, V4),
        ] {
            assert_eq!(read(&malformed), Err(Malformed::Binary), "{malformed:?}");
        }
        assert!(read(&binary(0x20, 0, &[0; 520])).unwrap().is_some());
        assert_eq!(read(&binary(0x20, 0, &[0; 521])), Err(Malformed::TooLong));
        assert_eq!(read(b"PROXY TCP4"), Err(Malformed::Version));
    }

    #[test]
    fn a_header_in_pieces_is_waited_for() {
        let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec();
        for whole in [line, binary(0x21, 0x11, V4)] {
            for end in 0..whole.len() {
                assert_eq!(ProxyProtocol::Any.read(&whole[..end]), Ok(None), "{end}");
            }
            assert!(ProxyProtocol::Any.read(&whole).unwrap().is_some());
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let pair = |a: &str, b: &str| Some((a.parse().unwrap(), b.parse().unwrap()));
        for (addresses, client) in [
            (pair("192.0.2.1:1", "10.0.0.1:80"), Some("192.0.2.1:1")),
            (pair("[::ffff:192.0.2.1]:1", "10.0.0.1:80"), Some("192.0.2.1:1")),
            (pair("[2001:db8::1]:1", "10.0.0.1:80"), Some("[2001:db8::1]:1")),
            (None, None),
        ] {
            for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                let mut bytes = Vec::new();
                version.write(addresses, &mut bytes);
                let read = version.read(&bytes).unwrap().unwrap();
                let client = client.map(|client| client.parse().unwrap());
                assert_eq!((read.length, read.client), (bytes.len(), client));
            }
        }
    }
}
