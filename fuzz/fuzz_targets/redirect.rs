//! A registered redirect URI, LF, and a presented one. The oracle is a naive comparison: equal, or
//! equal once a port is cut from `http` on a loopback address.
#![no_main]

use gatepost::issue::redirect::{RedirectUri, choose};
use libfuzzer_sys::fuzz_target;

/// The URI without the digits of its port, where the port is ignored.
fn cut(uri: &str) -> Option<String> {
    for host in ["http://127.0.0.1", "http://[::1]", "http://localhost"] {
        let Some(rest) = uri.strip_prefix(host) else { continue };
        let Some(port) = rest.strip_prefix(':') else { return Some(uri.to_owned()) };
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        let number: u32 = port[..digits].parse().ok()?;
        let is_port = (1..=65_535).contains(&number) && !port.starts_with('0');
        return is_port.then(|| format!("{host}{}", &port[digits..]));
    }
    None
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (one, other) = text.split_once('\n').unwrap_or((text, text));
    let Ok(registered) = RedirectUri::parse(one) else { return };
    assert!(one.bytes().all(|byte| byte.is_ascii_graphic()) && one.len() <= 2_000);
    assert!(!one.contains(['#', '*', '\\', '<', '"']));
    assert!(registered.is(one));
    let is_short = other.len() <= 2_000;
    let but_port = cut(one).is_some_and(|cut_one| is_short && cut(other) == Some(cut_one));
    let naive = one == other || but_port;
    assert_eq!(registered.is(other), naive, "{one} {other}");
    // What is chosen is what was presented, or the only one that there is.
    let all = [registered];
    assert_eq!(choose(&all, None).map(|(_, uri)| uri), Some(one));
    assert_eq!(choose(&all, Some(other)).map(|(_, uri)| uri), naive.then_some(other));
    let [registered] = &all;
    let is_https = one.starts_with("https://");
    assert_eq!(registered.is_native(), !is_https);
    if let Some(origin) = registered.origin() {
        let (scheme, host) = origin.split_once("://").expect("an origin");
        assert!(one.starts_with(origin) && !host.contains(['/', '?', '@']) && !host.is_empty());
        assert!(scheme == "https" || scheme == "http");
    }
});
