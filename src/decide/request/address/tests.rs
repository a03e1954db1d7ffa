use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn proxies() -> TrustedProxies {
    let networks = ["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1/32"];
    TrustedProxies {
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        unix: true,
    }
}

fn headers(values: &[&[u8]]) -> HeaderMap {
    values
        .iter()
        .map(|value| {
            (HeaderName::from_static(X_FORWARDED_FOR), HeaderValue::from_bytes(value).unwrap())
        })
        .collect()
}

#[track_caller]
fn check(peer: &str, fields: &[&str], expected: &str) {
    let values: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    let client = proxies().client_address(Peer::Ip(ip(peer)), &headers(&values));
    assert_eq!(client, Some(ip(expected)), "{peer} {fields:?}");
}

#[test]
fn r701_an_untrusted_peer_is_the_client_whatever_it_says() {
    for fields in
        [&[][..], &["192.0.2.1"], &["192.0.2.1", "10.0.0.1"], &["10.0.0.1"], &["127.0.0.1"]]
    {
        check("198.51.100.7", fields, "198.51.100.7");
        check("::ffff:198.51.100.7", fields, "198.51.100.7");
        check("2001:db8:2::1", fields, "2001:db8:2::1");
    }
    let nobody = TrustedProxies::default();
    let spoofed = headers(&[b"192.0.2.1"]);
    assert_eq!(nobody.client_address(Peer::Ip(ip("127.0.0.1")), &spoofed), Some(ip("127.0.0.1")));
    assert_eq!(nobody.client_address(Peer::Unix, &spoofed), None);
}

#[test]
fn r701_a_trusted_chain_is_walked_from_the_right() {
    check("10.0.0.1", &["192.0.2.1"], "192.0.2.1");
    check("10.0.0.1", &["6.6.6.6, 192.0.2.1"], "192.0.2.1");
    check("10.0.0.1", &["6.6.6.6, 192.0.2.1, 10.0.0.2"], "192.0.2.1");
    check("10.0.0.1", &["6.6.6.6, 192.0.2.1,10.0.0.3 ,\t10.0.0.2"], "192.0.2.1");
    check("10.0.0.1", &["6.6.6.6", "192.0.2.1", "10.0.0.2"], "192.0.2.1");
    check("10.0.0.1", &["6.6.6.6, 192.0.2.1", "10.0.0.3, 10.0.0.2"], "192.0.2.1");
    check("::ffff:10.0.0.1", &["::ffff:192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1");
    check("2001:db8:1::1", &["6.6.6.6, 2001:db8:2::5, 2001:db8:1:2::3"], "2001:db8:2::5");
}

#[test]
fn r701_a_chain_of_trusted_addresses_ends_at_its_first() {
    check("10.0.0.1", &[], "10.0.0.1");
    check("::ffff:10.0.0.1", &[], "10.0.0.1");
    check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
}

#[test]
fn r701_a_malformed_entry_stops_the_walk() {
    for wrong in [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "192.0.2",
        "192.0.2.1.1",
        "192.0.2.256",
        "0300.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:99999",
        "192.0.2.1:a",
        "[192.0.2.1]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]:",
        "[2001:db8::1]80",
        "fe80::1%1",
        "[fe80::1%1]:80",
        "[fe80::1%0]:80",
        "192.0.2.1/32",
        "192.0.2.1 1",
        "\"192.0.2.1\"",
        "for=192.0.2.1",
        "192.0.2.1;",
        "1",
        "0x7f000001",
    ] {
        check("10.0.0.1", &[&format!("6.6.6.6, {wrong}")], "10.0.0.1");
        check("10.0.0.1", &[&format!("6.6.6.6, {wrong}, 10.0.0.2")], "10.0.0.2");
        check("10.0.0.1", &["6.6.6.6", wrong, "10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &[&format!("{wrong}, 192.0.2.1, 10.0.0.2")], "192.0.2.1");
    }
    let opaque = headers(&[b"6.6.6.6, \xff\xfe, 10.0.0.2"]);
    assert_eq!(proxies().client_address(Peer::Ip(ip("10.0.0.1")), &opaque), Some(ip("10.0.0.2")));
}

#[test]
fn r701_entries_may_have_ports() {
    for (entry, client) in [
        ("192.0.2.1:567", "192.0.2.1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
    ] {
        check("10.0.0.1", &[entry], client);
        check("10.0.0.1", &[&format!("6.6.6.6, {entry}, 10.0.0.2:4711")], client);
    }
}

#[test]
fn r701_a_unix_peer_is_believed_only_when_trusted() {
    let chain = headers(&[b"6.6.6.6, 192.0.2.1, 10.0.0.2"]);
    assert_eq!(proxies().client_address(Peer::Unix, &chain), Some(ip("192.0.2.1")));
    assert_eq!(proxies().client_address(Peer::Unix, &headers(&[])), None);
    assert_eq!(proxies().client_address(Peer::Unix, &headers(&[b"unknown"])), None);
    let networks_only = TrustedProxies { unix: false, ..proxies() };
    assert_eq!(networks_only.client_address(Peer::Unix, &chain), None);
    let unix_only = TrustedProxies { networks: Vec::new(), unix: true };
    assert_eq!(unix_only.client_address(Peer::Unix, &chain), Some(ip("10.0.0.2")));
}

#[test]
fn r701_the_walk_is_bounded() {
    let mut chain = vec!["192.0.2.1".to_owned()];
    chain.extend((0..100).map(|hop| format!("10.1.0.{hop}")));
    check("10.0.0.1", &[&chain.join(", ")], "10.1.0.68");
    check("10.0.0.1", &[&chain[..32].join(", ")], "192.0.2.1");
    check("10.0.0.1", &[&chain[..33].join(", ")], "10.1.0.0");
}

#[test]
fn r701_networks_do_not_cross_families() {
    let wide = TrustedProxies { networks: vec!["::/16".parse().unwrap()], unix: false };
    for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
        assert!(!wide.trusts(Peer::Ip(ip(address))), "{address}");
    }
    assert!(wide.trusts(Peer::Ip(ip("::1"))));
    assert!(proxies().trusts(Peer::Ip(ip("::ffff:10.0.0.1"))));
    assert!(!proxies().trusts(Peer::Ip(ip("::10.0.0.1"))));
}

#[test]
fn r702_spoofed_fields_of_an_untrusted_peer_stay_one_address() {
    let peer = Peer::Ip(ip("198.51.100.7"));
    for spoof in 0..1_000_u32 {
        let value = Ipv4Addr::from(spoof).to_string();
        let mut fields = headers(&[value.as_bytes()]);
        for name in ["x-real-ip", "forwarded", "true-client-ip", "x_forwarded_for"] {
            fields.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        assert_eq!(proxies().client_address(peer, &fields), Some(ip("198.51.100.7")));
    }
}

#[test]
fn r701_limits_count_ipv4_addresses_and_ipv6_networks() {
    assert_eq!(limit_bytes(ip("192.0.2.1")), [192, 0, 2, 1]);
    assert_eq!(limit_bytes(ip("::ffff:192.0.2.1")), [192, 0, 2, 1]);
    assert_eq!(limit_bytes(ip("2001:db8:1:2:3:4:5:6")), [0x20, 1, 0xd, 0xb8, 0, 1, 0, 2]);
    assert_eq!(limit_bytes(ip("2001:db8:1:2::")), limit_bytes(ip("2001:db8:1:2:ffff::1")));
    assert_ne!(limit_bytes(ip("2001:db8:1:2::")), limit_bytes(ip("2001:db8:1:3::")));
}

#[test]
fn r202_forwarding_fields_are_known_in_every_spelling() {
    let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
    for name in [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Uri",
        "X-Forwarded-User",
        "X-Forwarded-Anything",
        "X-Forwarded",
        "Forwarded",
        "X-Real-IP",
        "X-Original-URL",
        "X-Original-Forwarded-For",
        "X-Rewrite-URL",
        "True-Client-IP",
        "X-Client-IP",
    ] {
        assert!(is_forwarding_field(&header(name)), "{name}");
        assert!(!is_disguised_forwarding_field(&header(name)), "{name}");
        if name.contains('-') {
            for (from, to) in [("-", "_"), ("-", "."), ("-", "--")] {
                let spelled = header(&name.replace(from, to));
                assert!(is_forwarding_field(&spelled), "{spelled}");
                assert!(is_disguised_forwarding_field(&spelled), "{spelled}");
            }
        }
    }
    for name in [
        "Host",
        "X-Forward",
        "X-Forwardedfor",
        "X-Originally",
        "X-Real",
        "X-Request-Id",
        "Via",
        "Origin",
    ] {
        assert!(!is_forwarding_field(&header(name)), "{name}");
        assert!(!is_disguised_forwarding_field(&header(name)), "{name}");
    }
}

#[track_caller]
fn check_built(peer: Peer, believed: Option<&[(&str, &str)]>, expected: [Option<&str>; 3]) {
    let believed = believed.map(|fields| {
        let field = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(field).collect::<HeaderMap>()
    });
    let host = HeaderValue::from_static("api.example.com");
    let built = forwarded_values(peer, believed.as_ref(), "https", Some(host));
    let shown = [&built.forwarded_for, &built.proto, &built.host]
        .map(|value| value.as_ref().map(|value| value.to_str().unwrap()));
    assert_eq!(shown, expected);
}

#[test]
fn contract_addresses_an_untrusted_peers_fields_are_rebuilt() {
    let host = Some("api.example.com");
    let peer = Peer::Ip(ip("198.51.100.7"));
    check_built(peer, None, [Some("198.51.100.7"), Some("https"), host]);
    check_built(
        Peer::Ip(ip("::ffff:198.51.100.7")),
        None,
        [Some("198.51.100.7"), Some("https"), host],
    );
    check_built(Peer::Unix, None, [None, Some("https"), host]);
}

#[test]
fn contract_addresses_a_trusted_peers_fields_are_continued() {
    let peer = Peer::Ip(ip("10.0.0.1"));
    let host = Some("api.example.com");
    check_built(peer, Some(&[]), [Some("10.0.0.1"), Some("https"), host]);
    check_built(
        peer,
        Some(&[
            ("x-forwarded-for", "6.6.6.6, 192.0.2.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "www.example.com:8443"),
        ]),
        [
            Some("6.6.6.6, 192.0.2.1, 10.0.0.2, 10.0.0.1"),
            Some("http"),
            Some("www.example.com:8443"),
        ],
    );
    check_built(
        Peer::Unix,
        Some(&[("x-forwarded-for", "192.0.2.1")]),
        [Some("192.0.2.1"), Some("https"), host],
    );
    for wrong in [
        &[("x-forwarded-proto", "http, https")][..],
        &[("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")],
        &[("x-forwarded-proto", "")],
        &[("x_forwarded_proto", "http")],
        &[("x-forwarded-host", "a b")],
        &[("x-forwarded-host", "a/b")],
        &[("X-Forwarded-For", "")],
    ] {
        check_built(peer, Some(wrong), [Some("10.0.0.1"), Some("https"), host]);
    }
}

#[test]
fn contract_addresses_what_is_built_is_listed_by_name() {
    let built = forwarded_values(
        Peer::Ip(ip("192.0.2.1")),
        None,
        "http",
        Some(HeaderValue::from_static("")),
    );
    let listed: Vec<_> =
        built.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap())).collect();
    assert_eq!(
        listed,
        [("X-Forwarded-For".to_owned(), "192.0.2.1"), ("X-Forwarded-Proto".to_owned(), "http")]
    );
}

proptest! {
    /// Whatever a client writes to the left of what the last trusted proxy appended, the proxy's
    /// claim counts.
    #[test]
    fn r701_nothing_left_of_the_first_untrusted_address_counts(
        spoofed in prop::collection::vec("[ -~]{0,20}", 0..4),
        hops in 0..4_u8,
    ) {
        let mut chain = spoofed;
        chain.push("192.0.2.1".to_owned());
        chain.extend((0..hops).map(|hop| format!("10.0.1.{hop}")));
        let fields = headers(&[chain.join(",").as_bytes()]);
        let client = proxies().client_address(Peer::Ip(ip("10.0.0.1")), &fields);
        prop_assert_eq!(client, Some(ip("192.0.2.1")));
    }

    /// The chain sent on reads the same at the next hop, which trusts us.
    #[test]
    fn r701_the_chain_sent_on_names_the_same_client(
        values in prop::collection::vec("(10\\.0\\.0\\.[1-9]|192\\.0\\.2\\.[1-9]|[ -~]{0,6}|,){0,4}", 0..3),
    ) {
        let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        let fields = headers(&values);
        let peer = Peer::Ip(ip("10.0.0.1"));
        let ours = proxies().client_address(peer, &fields);
        let sent = forwarded_values(peer, Some(&fields), "http", None).forwarded_for.unwrap();
        let next = proxies().client_address(Peer::Ip(ip("127.0.0.1")), &headers(&[sent.as_bytes()]));
        let has_empty_field = values.iter().any(|value| value.trim_ascii().is_empty());
        prop_assert!(next == ours || has_empty_field);
    }
}

#[test]
fn r1002_whose_connections_are_those_of_many_callers() {
    let nobody = TrustedProxies::default();
    let somebody = TrustedProxies { networks: vec!["10.0.0.0/8".parse().unwrap()], unix: false };
    let check = |trusted: &TrustedProxies, peer: &str, single: bool| {
        let address: IpAddr = peer.parse().unwrap();
        let expected = single.then_some(address);
        assert_eq!(trusted.single_caller(Peer::Ip(address)), expected, "{trusted:?}: {peer}");
    };
    check(&nobody, "192.0.2.1", true);
    check(&nobody, "10.0.0.1", false);
    check(&nobody, "127.0.0.1", false);
    check(&somebody, "10.0.0.1", false);
    check(&somebody, "::ffff:10.0.0.1", false);
    check(&somebody, "192.168.0.1", true);
    check(&somebody, "127.0.0.1", true);
    assert_eq!(nobody.single_caller(Peer::Unix), None);
    assert_eq!(somebody.single_caller(Peer::Unix), None);
}

proptest! {
    #[test]
    fn an_address_is_written_as_fmt_writes_it(address: IpAddr) {
        let mut out = b"a".to_vec();
        push_address(&mut out, address);
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!("a{address}"));
    }
}
