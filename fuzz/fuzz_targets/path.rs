//! No path may be admitted whose other readings meet a route with other access, and the
//! table must find what a matcher that looks at every route finds. The crate is built with its
//! feature `fuzzing`.
#![no_main]

use std::sync::{Arc, LazyLock};

use gatepost::path::CanonicalPath;
use gatepost::policy::{Access, RouteTable, oracle};
use http::Method;
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let routes = [
        oracle::route(&[], &[], "/**", Access::Anonymous),
        oracle::route(&[], &[], "/admin/**", oracle::scoped("admin")),
        oracle::route(&[], &[], "/API/*/b", oracle::scoped("read")),
        oracle::route(&[], &[], "/api/**", oracle::scoped("write")),
        oracle::route(&[], &[Method::POST], "/a/*/c", oracle::scoped("c")),
        oracle::route(&["h.test"], &[], "/caf\u{e9}/**", oracle::scoped("d")),
        oracle::route(&["*.test"], &[], "/a;v=1/b./**", oracle::scoped("e")),
    ];
    RouteTable::new(routes.into_iter().map(Arc::new).collect(), false)
        .expect("routes that do not contradict each other")
});

fuzz_target!(|data: &[u8]| {
    for host in [None, Some("h.test"), Some("x.test")] {
        oracle::check(&TABLE, host, &Method::GET, data);
    }
    if let Ok(path) = CanonicalPath::parse(data) {
        let again = CanonicalPath::parse(path.as_str().as_bytes());
        let again = again.expect("a canonical path is accepted");
        assert_eq!(again.as_str(), path.as_str());
    }
});
