//! Any bytes as a PROXY header. A header that is read has its bounds, needs each of its bytes, means
//! the same whatever follows it, and is read again from what gatepost writes about its client.
#![no_main]

use gatepost::decide::request::proxy_protocol::ProxyProtocol;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for versions in [ProxyProtocol::V1, ProxyProtocol::V2, ProxyProtocol::Any] {
        let Ok(read) = versions.read(data) else { continue };
        let Some(header) = read else {
            assert!(data.len() < 536, "more is asked for than a header can have");
            continue;
        };
        assert!(header.length <= data.len() && header.length <= 536);
        let own = &data[..header.length];
        assert_eq!(versions.read(own), Ok(Some(header)));
        for end in 0..header.length {
            assert_eq!(versions.read(&data[..end]), Ok(None), "{end}");
        }
        let addresses = header.client.map(|client| (client, client));
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let mut written = Vec::new();
            version.write(addresses, &mut written);
            let again = version.read(&written).expect("a header").expect("a whole one");
            let canonical =
                |client: std::net::SocketAddr| (client.ip().to_canonical(), client.port());
            assert_eq!(again.client.map(canonical), header.client.map(canonical));
        }
    }
});
