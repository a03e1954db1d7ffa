//! Tests of the route table: tables for the contract, properties against the naive matcher.

use proptest::prelude::*;

use super::*;
use crate::decide::policy::oracle::{self, Oracle, route, scoped};
use crate::decide::policy::upstream::{Upstream, UpstreamAddress};
use crate::decide::policy::{
    Access, HostPattern, InsecurePath, Methods, RouteTarget, normalize_host,
};

const GET: &[Method] = &[Method::GET];

fn table(routes: impl IntoIterator<Item = Route>) -> RouteTable {
    let routes = routes.into_iter().map(Arc::new).collect();
    RouteTable::new(routes, false).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn mistakes(routes: impl IntoIterator<Item = Route>) -> Vec<(usize, usize)> {
    let routes = routes.into_iter().map(Arc::new).collect();
    let mistakes = RouteTable::new(routes, false).err().unwrap_or_default();
    mistakes.into_iter().map(|mistake| (mistake.route, mistake.other)).collect()
}

/// All with the same demand, so that no reading matters.
fn matching(patterns: &[(&str, &str)]) -> RouteTable {
    table(patterns.iter().map(|(host, path)| {
        let hosts = if host.is_empty() { vec![] } else { vec![*host] };
        route(&hosts, &[], path, scoped("read"))
    }))
}

/// The pattern, or the miss, for a GET.
fn find(table: &RouteTable, host: &str, path: &str) -> Result<String, RouteMiss> {
    let host = (!host.is_empty()).then(|| normalize_host(host.as_bytes()).expect("a host"));
    let path = CanonicalPath::parse(path.as_bytes()).expect("a path");
    let found = table.find(host.as_deref(), &Method::GET, &path)?;
    let bound = found.hosts.first().map_or("", |host| host.as_str());
    Ok(format!("{bound}{}", found.path.as_str()))
}

#[track_caller]
fn finds(table: &RouteTable, host: &str, path: &str, pattern: &str) {
    assert_eq!(find(table, host, path).as_deref(), Ok(pattern), "{host} {path}");
}

#[track_caller]
fn misses(table: &RouteTable, host: &str, path: &str) {
    assert_eq!(find(table, host, path), Err(RouteMiss::Unknown), "{host} {path}");
}

#[track_caller]
fn ambiguous(table: &RouteTable, path: &str, view: &str) {
    match find(table, "", path) {
        Err(RouteMiss::Ambiguous { view: found }) => assert_eq!(found, view, "{path}"),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn contract_which_route_segments_from_left_to_right_literal_then_star_then_deep() {
    let table = matching(&[
        ("", "/a/b"),
        ("", "/a/*"),
        ("", "/a/**"),
        ("", "/*/b"),
        ("", "/a/b/c/d"),
        ("", "/a/*/c"),
        ("", "/x/*/*"),
    ]);
    for (path, pattern) in [
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("/a/c", "/a/*"),
        ("/a/c/", "/a/*"),
        ("/a", "/a/**"),
        ("/a/", "/a/**"),
        ("/a//", "/a/**"),
        ("/a/b//", "/a/**"),
        ("/z/b", "/*/b"),
        ("/a/b/c", "/a/*/c"),
        ("/a/b/c/d", "/a/b/c/d"),
        ("/a/b/c/e", "/a/**"),
        ("/x/1/2", "/x/*/*"),
    ] {
        finds(&table, "", path, pattern);
    }
    for path in ["/", "/b", "/z/c", "/A/c", "/x/1", "/x/1/2/3", "/x//2", "/x/1//", "/z/b/c"] {
        misses(&table, "", path);
    }
}

#[test]
fn contract_which_route_the_root() {
    let table = matching(&[("", "/")]);
    finds(&table, "", "/", "/");
    for path in ["//", "/a", "/./a"] {
        misses(&table, "", path);
    }
    let table = matching(&[("", "/**")]);
    for path in ["/", "//", "/a", "/a//b/"] {
        finds(&table, "", path, "/**");
    }
    let table = matching(&[("", "/*")]);
    finds(&table, "", "/a", "/*");
    misses(&table, "", "/");
    misses(&table, "", "//");
}

#[test]
fn contract_which_route_percent_encodings_compare_without_case_and_nothing_else_does() {
    let table = matching(&[("", "/caf\u{e9}/*")]);
    for path in ["/caf%C3%A9/x", "/caf%c3%a9/x", "/caf%c3%A9/x"] {
        finds(&table, "", path, "/caf\u{e9}/*");
    }
    for path in ["/cafe/x", "/Caf%C3%A9/x", "/caf%C3%89/x", "/caf%65%CC%81/x", "/%63af%C3%A9/x"] {
        misses(&table, "", path);
    }
}

#[test]
fn r213_the_most_specific_host_then_the_next() {
    let table = matching(&[
        ("app.example.com", "/a"),
        ("*.example.com", "/**"),
        ("*.app.example.com", "/b"),
        ("", "/**"),
    ]);
    for (host, path, pattern) in [
        ("app.example.com", "/a", "app.example.com/a"),
        ("APP.example.COM.", "/a", "app.example.com/a"),
        ("app.example.com:443", "/a", "app.example.com/a"),
        ("app.example.com", "/b", "*.example.com/**"),
        ("x.app.example.com", "/b", "*.app.example.com/b"),
        ("x.y.app.example.com", "/b", "*.app.example.com/b"),
        ("x.app.example.com", "/a", "*.example.com/**"),
        ("example.com", "/a", "/**"),
        ("notexample.com", "/a", "/**"),
        ("app.example.com.evil.test", "/a", "/**"),
        ("", "/a", "/**"),
    ] {
        finds(&table, host, path, pattern);
    }
}

#[test]
fn r213_an_unknown_host_finds_nothing_and_never_another_hosts_route() {
    let table = matching(&[("app.example.com", "/**"), ("*.b.test", "/**")]);
    for host in
        ["", "example.com", "x.app.example.com", "app.example.co", "b.test", "xb.test", "127.0.0.1"]
    {
        misses(&table, host, "/a");
    }
}

#[test]
fn r213_a_bound_host_on_another_port_does_not_fall_through_to_a_weaker_route() {
    let table = table([
        route(&["admin.test", "*.b.test:8080"], &[], "/**", scoped("admin")),
        route(&[], &[], "/**", Access::Anonymous),
    ]);
    finds(&table, "admin.test:80", "/a", "admin.test/**");
    let port = |host: &str| Err(RouteMiss::Port { host: host.into() });
    assert_eq!(find(&table, "admin.test:8080", "/a"), port("admin.test:8080"));
    finds(&table, "x.b.test:8080", "/a", "admin.test/**");
    finds(&table, "other.test:8080", "/a", "/**");
}

#[test]
fn contract_which_route_the_methods_of_that_very_path_or_405() {
    let table = table([
        route(&[], GET, "/a/b", scoped("read")),
        route(&[], &[Method::PUT, Method::DELETE], "/a/b", scoped("write")),
        route(&[], &[], "/a/**", Access::Anonymous),
        route(&[], &[Method::TRACE, Method::POST], "/t", scoped("t")),
    ]);
    let ask = |method: Method, path: &str| {
        let path = CanonicalPath::parse(path.as_bytes()).unwrap();
        table.find(None, &method, &path).map(|route| route.path.as_str().to_owned())
    };
    let only = |allow: &str| Err(RouteMiss::Method { allow: allow.to_owned() });
    assert_eq!(ask(Method::GET, "/a/b"), Ok("/a/b".to_owned()));
    assert_eq!(ask(Method::HEAD, "/a/b/"), Ok("/a/b".to_owned()));
    assert_eq!(ask(Method::PUT, "/a/b"), Ok("/a/b".to_owned()));
    assert_eq!(ask(Method::from_bytes(b"PURGE").unwrap(), "/a/x"), Ok("/a/**".to_owned()));
    for method in
        [Method::POST, Method::OPTIONS, Method::TRACE, Method::from_bytes(b"get").unwrap()]
    {
        assert_eq!(ask(method, "/a/b"), only("DELETE, GET, HEAD, PUT"));
    }
    for method in [Method::TRACE, Method::CONNECT] {
        assert_eq!(
            ask(method.clone(), "/a/x"),
            only("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
        );
        assert_eq!(ask(method, "/t"), only("POST"));
    }
}

#[test]
fn r504_no_route_is_never_a_pass() {
    misses(&RouteTable::default(), "", "/");
    misses(&matching(&[("", "/a/*")]), "", "/a");
}

#[test]
fn contract_which_route_two_routes_that_tie_are_a_mistake() {
    let any: &[Method] = &[];
    let post: &[Method] = &[Method::POST];
    let head: &[Method] = &[Method::HEAD];
    let pair = |one: (&str, &[Method], &str), two: (&str, &[Method], &str)| {
        mistakes([one, two].map(|(host, methods, path)| {
            let hosts = if host.is_empty() { vec![] } else { vec![host] };
            route(&hosts, methods, path, scoped("read"))
        }))
    };
    for (one, two) in [
        (("", GET, "/a"), ("", GET, "/a")),
        (("", GET, "/a"), ("", any, "/a/")),
        (("", any, "/a"), ("", any, "/a")),
        (("", any, "/a"), ("", post, "/a")),
        (("", GET, "/a"), ("", head, "/a")),
        (("", head, "/\u{e9}"), ("", GET, "/%c3%a9")),
        (("a.test", GET, "/a/**"), ("A.test.", GET, "/a/**")),
    ] {
        assert_eq!(pair(one, two), [(1, 0)], "{one:?} {two:?}");
    }
    for (one, two) in [
        (("", GET, "/a"), ("", post, "/a")),
        (("", GET, "/a"), ("", GET, "/A")),
        (("", GET, "/a"), ("", GET, "/*")),
        (("", GET, "/a/**"), ("", GET, "/a")),
        (("a.test", GET, "/a"), ("b.test", GET, "/a")),
        (("a.test", GET, "/a"), ("*.test", GET, "/a")),
        (("a.test", GET, "/a"), ("", GET, "/a")),
        (("a.test", GET, "/a"), ("a.test:8080", GET, "/a")),
    ] {
        assert_eq!(pair(one, two), [], "{one:?} {two:?}");
    }
    // One route under several hosts, also repeated ones, does not tie with itself.
    assert_eq!(mistakes([route(&["a.test", "b.test", "a.test"], GET, "/a", scoped("x"))]), []);
    let three =
        [GET, any, post].map(|methods| route(&["a.test", "b.test"], methods, "/a", scoped("x")));
    assert_eq!(mistakes(three), [(1, 0), (2, 1)]);
}

#[test]
fn contract_which_route_a_host_bound_route_that_demands_less_is_a_mistake() {
    let bound = |path: &str, access| route(&["a.test"], GET, path, access);
    let free = |path: &str, access| route(&[], GET, path, access);
    for (own, hostless) in [
        ("/api/**", "/api/**"),
        ("/api/health", "/api/**"),
        ("/**", "/api/x"),
        ("/*/x", "/api/*"),
        ("/api/*/x", "/**"),
        ("/a/*", "/a/**"),
        ("/a/**", "/a"),
        ("/a", "/a/**"),
        ("/a/b/**", "/a/*/c/**"),
    ] {
        let routes = || [bound(own, Access::Anonymous), free(hostless, scoped("read"))];
        assert_eq!(mistakes(routes()), [(0, 1)], "{own} {hostless}");
        let routes = routes().into_iter().map(Arc::new).collect();
        assert!(RouteTable::new(routes, true).is_ok());
        assert_eq!(
            mistakes([bound(own, scoped("read write")), free(hostless, scoped("read"))]),
            []
        );
        assert_eq!(
            mistakes([bound(own, scoped("other")), free(hostless, scoped("read"))]),
            [(0, 1)]
        );
    }
    for (own, hostless) in [
        ("/a", "/b"),
        ("/a", "/a/b"),
        ("/a/*", "/a"),
        ("/a/**", "/b/**"),
        ("/a/x/*", "/a/*/y/**"),
        ("/*", "/*/*"),
    ] {
        let routes = [bound(own, Access::Anonymous), free(hostless, scoped("read"))];
        // `/a/x/*` and `/a/*/y/**` have `/a/x/y` in common.
        let expected: &[_] = if own == "/a/x/*" { &[(0, 1)] } else { &[] };
        assert_eq!(mistakes(routes), expected, "{own} {hostless}");
    }
}

#[test]
fn contract_which_route_a_wildcard_host_and_some_of_the_methods_demand_less_as_well() {
    let pair = |host: &str, own: &[Method], others: &[Method]| {
        mistakes([
            route(&[host], own, "/api/**", Access::Anonymous),
            route(&[], others, "/api/**", scoped("read")),
        ])
    };
    for host in ["a.test", "*.test", "*.a.test"] {
        assert_eq!(pair(host, GET, &[]), [(0, 1)], "{host}");
        assert_eq!(pair(host, &[], GET), [(0, 1)], "{host}");
        assert_eq!(pair(host, &[], &[]), [(0, 1)], "{host}");
        assert_eq!(pair(host, GET, &[Method::HEAD]), [(0, 1)], "{host}");
        assert_eq!(pair(host, GET, &[Method::POST]), [], "{host}");
        // No route takes TRACE, whatever it lists.
        assert_eq!(pair(host, &[Method::TRACE], &[]), [], "{host}");
    }
}

#[test]
fn contract_which_route_demanding_less_counts_only_where_both_routes_would_be_taken() {
    let anonymous = || Access::Anonymous;
    let public = |hosts: &[&str]| route(hosts, &[], "/public/**", anonymous());
    let all = |hosts: &[&str]| route(hosts, &[], "/**", scoped("read"));
    // The hostless side has the same exception.
    assert_eq!(mistakes([public(&["a.test"]), public(&[]), all(&[])]), []);
    // It has not.
    assert_eq!(mistakes([public(&["a.test"]), all(&[])]), [(0, 1)]);
    // The bound side has the same rule for the strict part.
    let admin = |hosts: &[&str]| route(hosts, &[], "/admin/**", scoped("admin"));
    assert_eq!(mistakes([all(&["a.test"]), admin(&["a.test"]), all(&[]), admin(&[])]), []);
    assert_eq!(mistakes([all(&["a.test"]), all(&[]), admin(&[])]), [(0, 2)]);
    // Other methods, another upstream.
    let reads = route(&["a.test"], GET, "/x", anonymous());
    assert_eq!(mistakes([reads, route(&[], &[Method::POST], "/x", scoped("write"))]), []);
    let mut elsewhere = route(&["a.test"], &[], "/x", anonymous());
    let mut upstream = Upstream::clone(elsewhere.upstream().unwrap());
    upstream.address = UpstreamAddress::Unix("/run/other.sock".into());
    elsewhere.target = RouteTarget::Upstream(Arc::new(upstream));
    assert_eq!(mistakes([elsewhere, route(&[], &[], "/x", scoped("write"))]), []);
    // The same address under another name is the same upstream.
    let mut renamed = route(&["a.test"], &[], "/x", anonymous());
    let mut upstream = Upstream::clone(renamed.upstream().unwrap());
    upstream.name = "other".into();
    renamed.target = RouteTarget::Upstream(Arc::new(upstream));
    assert_eq!(mistakes([renamed, route(&[], &[], "/x", scoped("write"))]), [(0, 1)]);
}

fn guarded() -> RouteTable {
    table([
        route(&[], &[], "/**", Access::Anonymous),
        route(&[], &[], "/admin/**", scoped("admin")),
        route(&[], &[], "/Reports/*", scoped("reports")),
        route(&[], &[], "/api/v1/**", scoped("read")),
    ])
}

/// Paths, and the reading under which [`guarded`] refuses them; empty where none does.
const ONE_STEP: &[(&str, &str)] = &[
    ("/public/../admin", "dot_segments"),
    ("/admin/../public", "dot_segments"),
    ("/%61dmin/x", "decoded_once"),
    ("/%2561dmin/x", "decoded_twice"),
    ("//admin", "slashes_merged"),
    ("//x/admin", "authority"),
    ("///admin", "slashes_merged"),
    ("/x//admin/y", ""),
    ("/;x/admin", "combined"),
    ("/admin;x", "semicolon_cut"),
    ("/admin%3Bx", "combined"),
    ("/x/..;/admin", "semicolon_cut"),
    ("/ADMIN", "lower_case"),
    ("/%41dmin", "combined"),
    ("/admin.", "trailing_dot_or_space_cut"),
    ("/admin%20", "trailing_dot_or_space_cut"),
    ("/admin%20.%20/x", "trailing_dot_or_space_cut"),
    ("/x/..%20/admin", "trailing_dot_or_space_cut"),
    ("/%EF%BD%81dmin", "nfkc"),
    ("/%EF%BC%8Fadmin", "combined"),
    ("/x/%EF%BC%8E%EF%BC%8E%EF%BC%8Fadmin", "nfkc"),
    ("/x%EF%BC%BC..%EF%BC%BCadmin", "backslash_as_slash"),
    ("/%E2%84%AA/..%EF%BC%8Fadmin", "nfkc"),
    ("/reports/a.", "lower_case"),
    ("/REPORTS/a", "lower_case"),
    ("/Reports/A/", ""),
    ("/api/V1/x", "lower_case"),
    ("/Api/v1/x;y", "lower_case"),
];

/// The same where a reading does several things, or one that is seldom thought of.
const SEVERAL_STEPS: &[(&str, &str)] = &[
    // A decoded `?` or `#` cuts the path.
    ("/admin%3fx", "query_cut"),
    ("/admin%23x", "query_cut"),
    ("/admin%3F", "query_cut"),
    ("/admin%253Fx", "query_cut"),
    ("/admin%2523x", "query_cut"),
    ("/admin%3F/../y", "query_cut"),
    ("/admin%3B%3Fx", "combined"),
    ("/admin.%3Fx", "combined"),
    ("/Admin%3Fx", "combined"),
    ("/%2561dmin%3Fx", "query_cut"),
    ("/admin%EF%BC%9Fx", "combined"),
    ("/admin%EF%BC%83x", "combined"),
    ("/%61dmin%3F", "query_cut"),
    ("/x%3F/admin", ""),
    ("/x%23y", ""),
    // Decoded twice, and then more.
    ("/%2561dmin%EF%BC%9Bx", "combined"),
    ("/%2561dmin%25EF%25BC%259Bx", "combined"),
    ("/%25EF%25BD%2581dmin", "combined"),
    ("/x%25EF%25BC%25BC..%25EF%25BC%25BCadmin", "combined"),
    ("/%2561dmin%253Bx", "combined"),
    ("/%2561dmin%EF%BC%BCx", "combined"),
    ("/%EF%BD%81dmin%3Bx%EF%BC%8Fy", "combined"),
    ("/x%EF%BC%8F%EF%BC%8E%EF%BC%8E%EF%BC%8F%2561dmin", "combined"),
    ("/%EF%BC%8561dmin", "combined"),
    ("/x/%EF%BC%852e%EF%BC%852e/admin", "combined"),
    ("/%25u0061dmin", "decoded_twice"),
    ("/%25uFF41dmin", "combined"),
    // An authority that shows only after something else.
    ("/;//admin", "combined"),
    ("/;/h/admin", "authority"),
    ("/%20//h/admin", "authority"),
    ("/%20/h/admin", "authority"),
    ("/./h/admin", "authority"),
    ("/x/..//h/admin", "authority"),
    ("/x/..;//h/admin", "authority"),
    ("/%EF%BC%8Fh/admin", "authority"),
    ("//h/%61dmin", "authority"),
    ("//h//admin", "authority"),
    ("///h/admin", "authority"),
    ("//h/x/../admin", "authority"),
    ("//h/admin%3Fx", "authority"),
    ("//h;x/ADMIN", "authority"),
    ("//h/a//../admin", "authority"),
    ("//h/a//../b", ""),
    // Letters that share a case.
    ("/adm%C4%B1n", "combined"),
    ("/adm%C4%B0n", "combined"),
    ("/Report%C5%BF/x", "combined"),
    ("/%C4%B1/x", ""),
    // Invisible characters.
    ("/adm%C2%ADin", "nfkc"),
    ("/adm%E2%80%8Bin", "nfkc"),
    ("/admin%E2%80%8C", "nfkc"),
    ("/%E2%80%8Dadmin", "nfkc"),
    ("/admin%E2%81%A0/x", "nfkc"),
    ("/%EF%BB%BFadmin", "nfkc"),
    ("/a%EF%B8%8Fdmin", "nfkc"),
    ("/x/.%E2%80%8B./admin", "nfkc"),
    ("/adm%25C2%25ADin", "combined"),
    ("/admin%C2%A0", "combined"),
    ("/admin%E2%80%A8", "combined"),
    ("/admin%C2%85", "combined"),
    // What looks like a slash or dots.
    ("/x%E2%88%95..%E2%88%95admin", "backslash_as_slash"),
    ("/admin%E2%81%84x", "backslash_as_slash"),
    ("/x%E2%88%96..%E2%88%96admin", "backslash_as_slash"),
    ("/x%C2%A5..%C2%A5admin", "backslash_as_slash"),
    ("/x/%E2%80%A5/admin", "nfkc"),
    ("/x/%E2%80%A4%E2%80%A4/admin", "nfkc"),
    ("/x/%EF%BC%8E%EF%BC%8E/admin", "nfkc"),
    ("/x/.;/../admin", "semicolon_cut"),
    ("/x/%E2%80%A5;/admin", "combined"),
    // One lower-case spelling beside a pattern with capitals.
    ("/reports/x", "lower_case"),
    ("/reports", ""),
    ("/reports/x/y", ""),
];

#[test]
fn r503_a_reading_that_meets_other_access_is_refused_and_named() {
    let table = guarded();
    for &(path, view) in ONE_STEP.iter().chain(SEVERAL_STEPS) {
        match view {
            "" => assert!(find(&table, "", path).is_ok(), "{path}"),
            view => ambiguous(&table, path, view),
        }
    }
}

#[test]
fn r503_letters_that_nobody_sees_hide_nothing() {
    let table = guarded();
    let beside = |letter: char| {
        let mut bytes = [0; 4];
        let encoded = letter.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}"));
        format!("/ad{}min/x", encoded.collect::<String>())
    };
    // The first and the last of each range of Default_Ignorable_Code_Point.
    for letter in
        "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}\u{180f}\u{200b}\u{200f}\
                   \u{202a}\u{202e}\u{2060}\u{206f}\u{3164}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\
                   \u{fff8}\u{1bca0}\u{1bca3}\u{1d173}\u{1d17a}\u{e0000}\u{e0001}\u{e0fff}"
            .chars()
    {
        ambiguous(&table, &beside(letter), "nfkc");
    }
    for letter in "\u{ae}\u{350}\u{2010}\u{fff9}\u{1d172}\u{1d17b}\u{e1000}\u{e9}".chars() {
        finds(&table, "", &beside(letter), "/**");
    }
}

#[test]
fn r503_a_route_that_only_observes_is_no_way_around_one_that_enforces() {
    let observed = |path| Route { insecure_observe: true, ..route(&[], &[], path, scoped("read")) };
    let enforced = |path| route(&[], &[], path, scoped("read"));
    let passing = |path| Route {
        preflight: crate::decide::policy::Preflight::Pass,
        ..route(&[], &[], path, scoped("read"))
    };
    let path = "/new/..;/old/a";
    ambiguous(&table([observed("/new/**"), enforced("/old/**")]), path, "semicolon_cut");
    ambiguous(&table([passing("/new/**"), enforced("/old/**")]), path, "semicolon_cut");
    // The other way round nothing is gained, and among equals nothing differs.
    finds(&table([enforced("/new/**"), observed("/old/**")]), "", path, "/new/**");
    finds(&table([observed("/new/**"), observed("/old/**")]), "", path, "/new/**");
    finds(&table([observed("/new/**"), enforced("/old/**")]), "", "/new/a", "/new/**");
}

#[test]
fn contract_which_route_a_host_bound_route_that_only_observes_is_a_mistake() {
    let bound = |is_observed| Route {
        insecure_observe: is_observed,
        ..route(&["a.example"], &[], "/**", scoped("read"))
    };
    let hostless = |is_observed| Route {
        insecure_observe: is_observed,
        ..route(&[], &[], "/**", scoped("read"))
    };
    assert_eq!(mistakes([bound(true), hostless(false)]), [(0, 1)]);
    assert_eq!(mistakes([bound(true), hostless(true)]), []);
    assert_eq!(mistakes([bound(false), hostless(true)]), []);
    assert_eq!(mistakes([bound(false), hostless(false)]), []);
}

#[test]
fn r503_a_path_whose_readings_all_meet_the_same_access_passes() {
    let table = guarded();
    for path in [
        "/",
        "/public//x",
        "/public/A;b=1/c.%20",
        "/admin/A//B;c",
        "/admin/x/../y",
        "/Files/Caf%C3%A9%20",
        "/a/b/..",
        "/.well-known/x",
        "/x/%E2%84%A2",
        "/admin/%2525",
        "/Reports/a%20b",
        "/public/caf%C3%A9",
        "/files/A%20b.txt",
        "/Foo/Bar",
        "/x%3Fy",
        "/x%23y",
        "/a+b",
        "/c++/x",
        "/v1.0/x",
        "/100%25",
        "/u/ada.lovelace@example.com",
        "/u/3F2504E0-4F89-11D3-9A0C-0305E82C3301",
        "/p/x;color=red;size=L/y",
        "/%E2%9D%A4%EF%B8%8F",
        "/1%C2%BD",
        "/stra%C3%9Fe",
        "/%E5%83%B9%E6%A0%BC/%C2%A5100",
        "/api/v1/items/A%20b;v=1%3Fx",
        "/admin/what%3F",
    ] {
        assert!(find(&table, "", path).is_ok(), "{path}: {:?}", find(&table, "", path));
    }
}

#[test]
fn r503_a_reading_that_leads_nowhere_is_no_other_access() {
    let table = table([route(&[], &[], "/a/*/c", scoped("read"))]);
    for path in ["/a/%20/c", "/a/;/c", "/a/B./c"] {
        finds(&table, "", path, "/a/*/c");
    }
    // But one that is cut short leads to what is denied when it is asked for directly.
    ambiguous(&table, "/a/b%3Fx/c", "query_cut");
}

#[test]
fn r503_dots_cut_from_a_dot_segment_leave_an_empty_one() {
    let table = table([
        route(&[], &[], "/*/*/**", scoped("read")),
        route(&[], &[], "/**", Access::Anonymous),
    ]);
    finds(&table, "", "/a/b/c", "/*/*/**");
    ambiguous(&table, "/a/./c", "trailing_dot_or_space_cut");
}

#[test]
fn r503_patterns_that_a_reading_makes_equal_are_all_asked() {
    let table = table([
        route(&[], &[], "/API/*", scoped("a")),
        route(&[], &[], "/api/**", scoped("b")),
        route(&[], GET, "/x/Y", scoped("a")),
        route(&[], &[Method::POST], "/x/y", scoped("b")),
    ]);
    for path in ["/API/x", "/api/x", "/api/X", "/api/x;"] {
        ambiguous(&table, path, "lower_case");
    }
    // The route it would meet does not take the method.
    finds(&table, "", "/x/Y", "/x/Y");
}

#[test]
fn r503_a_pattern_that_is_another_under_a_reading_is_met_by_ordinary_paths() {
    let beside = |pattern: &str| {
        table([
            route(&[], &[], "/**", Access::Anonymous),
            route(&[], &[], pattern, scoped("admin")),
        ])
    };
    for (pattern, path, view) in [
        ("/Upper/**", "/upper/x", "lower_case"),
        ("/Upper/**", "/upper", "lower_case"),
        ("/a/Upper", "/a/upper", "lower_case"),
        ("/a;v=1/**", "/a/x", "semicolon_cut"),
        ("/a./**", "/a/x", "trailing_dot_or_space_cut"),
        ("/a%3Fb/**", "/a/x", "query_cut"),
        ("/%61/**", "/a/x", "decoded_once"),
        ("/%2561/**", "/a/x", "decoded_twice"),
        ("/\u{ff41}/**", "/a/x", "nfkc"),
        ("/a\u{ad}/**", "/a/x", "nfkc"),
        ("/\u{131}/**", "/i/x", "combined"),
        ("/\u{ff21}/**", "/a/x", "combined"),
    ] {
        ambiguous(&beside(pattern), path, view);
    }
    for (pattern, path) in [
        ("/Upper/**", "/uppe/x"),
        ("/Upper/x", "/upper/y"),
        ("/caf\u{e9}/**", "/cafe/x"),
        ("/a%20b/**", "/a/x"),
    ] {
        finds(&beside(pattern), "", path, "/**");
    }
    // Both named: it is still unknown which of them the upstream takes.
    let both = table([
        route(&[], &[], "/Upper/**", scoped("admin")),
        route(&[], &[], "/upper/**", Access::Anonymous),
    ]);
    ambiguous(&both, "/upper/x", "lower_case");
    ambiguous(&both, "/Upper/x", "lower_case");
    let equal = matching(&[("", "/Upper/**"), ("", "/upper/**")]);
    finds(&equal, "", "/upper/x", "/upper/**");
    finds(&equal, "", "/Upper/x", "/Upper/**");
}

#[test]
fn r504_a_path_cut_at_a_question_mark_leads_to_a_route() {
    let table = matching(&[("", "/users/*/avatar"), ("", "/a%3Fb")]);
    finds(&table, "", "/users/bob/avatar", "/users/*/avatar");
    misses(&table, "", "/users/bob/avatar%3F");
    finds(&table, "", "/a%3Fb", "/a%3Fb");
    ambiguous(&table, "/users/bob%3F/avatar", "query_cut");
    ambiguous(&table, "/users/bob%23/avatar", "query_cut");
}

#[test]
fn r501_an_encoded_slash_is_refused_unless_the_route_takes_it() {
    let mut takes = route(&[], GET, "/files/*", scoped("files"));
    takes.insecure_path = InsecurePath { encoded_slash: true, ..InsecurePath::default() };
    let table = table([
        takes,
        route(&[], &[], "/files/*/meta", scoped("meta")),
        route(&[], &[], "/api/**", scoped("read")),
    ]);
    for path in ["/api/a%2Fb", "/api/a%2fb", "/nowhere/%2F"] {
        assert_eq!(find(&table, "", path), Err(RouteMiss::EncodedSlash), "{path}");
    }
    finds(&table, "", "/files/a%2Fb", "/files/*");
    ambiguous(&table, "/files/a%2Fmeta", "decoded_once");
    ambiguous(&table, "/files/..%2f..%2Fapi", "decoded_once");
    let path = CanonicalPath::parse(b"/files/a%2Fb").unwrap();
    let miss = table.find(None, &Method::POST, &path).unwrap_err();
    assert_eq!(miss, RouteMiss::Method { allow: "GET, HEAD".to_owned() });
}

#[test]
fn r501_an_encoded_dot_in_a_name_is_read_as_a_dot_too() {
    let table = table([
        route(&[], &[], "/v1.2/**", scoped("admin")),
        route(&[], &[], "/**", scoped("read")),
    ]);
    finds(&table, "", "/docs/a%2Eb", "/**");
    ambiguous(&table, "/v1%2E2/x", "decoded_once");
    ambiguous(&table, "/v1.2%2E/x", "combined");
}

#[test]
fn r501_an_encoded_slash_is_taken_for_the_method_whose_route_takes_it() {
    let mut takes = route(&[], GET, "/files/*", scoped("files"));
    takes.insecure_path = InsecurePath { encoded_slash: true, ..InsecurePath::default() };
    let table = table([takes, route(&[], &[Method::POST], "/files/*", scoped("files"))]);
    let path = CanonicalPath::parse(b"/files/a%2Fb").unwrap();
    assert!(table.find(None, &Method::GET, &path).is_ok());
    let miss = table.find(None, &Method::POST, &path).unwrap_err();
    assert_eq!(miss, RouteMiss::EncodedSlash);
    let plain = CanonicalPath::parse(b"/files/a").unwrap();
    assert!(table.find(None, &Method::POST, &plain).is_ok());
}

#[test]
fn contract_further_route_keys_insecure_path_spares_one_reading_only() {
    let mut lenient = route(&[], &[], "/**", Access::Anonymous);
    lenient.insecure_path =
        InsecurePath { double_slash: true, semicolon: true, encoded_slash: false };
    let table = table([lenient, route(&[], &[], "/admin/**", scoped("admin"))]);
    for path in ["//admin", "///admin", "/;/admin", "/admin;x", "//h/admin", "/;/h/admin"] {
        finds(&table, "", path, "/**");
    }
    ambiguous(&table, "/ADMIN", "lower_case");
    ambiguous(&table, "/admin/../x", "dot_segments");
}

#[test]
fn r503_what_is_too_long_to_read_in_every_way_is_refused() {
    let nasty =
        format!("/x{}", "/A.;x=%C3%89%20//./b%2525aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(40));
    let path = CanonicalPath::parse(nasty.as_bytes()).unwrap();
    assert!(matches!(guarded().find(None, &Method::GET, &path), Err(RouteMiss::Ambiguous { .. })));
    // Length alone is no reason.
    let long = format!("/x/{}", "Ab%20".repeat(1_600));
    finds(&guarded(), "", &long, "/**");
    // Nor is what patterns can be read as, for a path that has one reading.
    let table = table([
        route(&[], &[], "/A;v=1/caf\u{e9}./%2561%3Fx", scoped("read")),
        route(&[], &[], "/**", Access::Anonymous),
    ]);
    finds(&table, "", &format!("/x/{}", "ab/".repeat(250)), "/**");
    finds(&table, "", &format!("/x/{}", "a".repeat(8_000)), "/**");
}

const SEGMENTS: &[&str] =
    &["a", "b", "A", "a;v", "b.", "%C3%A9", "%61", "i", "a%3Fb", "%EF%BD%81", "a%C2%AD"];

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![4 => prop::sample::select(SEGMENTS), 1 => Just("*")];
    (prop::collection::vec(segment, 0..3), any::<bool>()).prop_map(|(segments, is_deep)| {
        let mut path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if is_deep {
            path.push_str("/**");
        }
        if path.is_empty() { "/".to_owned() } else { path }
    })
}

/// Routes without ties: of two that tie, the later is left out.
fn route_set() -> impl Strategy<Value = Vec<Arc<Route>>> {
    let host = prop::sample::select(vec!["", "", "", "h.test", "*.test"]);
    let methods = prop::sample::select(vec![vec![], vec![Method::GET], vec![Method::POST]]);
    let access = prop::sample::select(vec!["", "one", "two"]);
    let one = (host, pattern(), methods, access).prop_map(|(host, path, methods, access)| {
        let hosts = if host.is_empty() { vec![] } else { vec![host] };
        let access = if access.is_empty() { Access::Anonymous } else { scoped(access) };
        Arc::new(route(&hosts, &methods, &path, access))
    });
    prop::collection::vec(one, 1..8).prop_map(|routes| {
        let mut kept: Vec<Arc<Route>> = Vec::new();
        for one in routes {
            kept.push(one);
            if RouteTable::new(kept.clone(), true).is_err() {
                kept.pop();
            }
        }
        kept
    })
}

const ATOMS: &[&str] = &[
    "/",
    "/",
    "/",
    "/",
    "a",
    "b",
    "A",
    "B",
    "a",
    "b",
    "//",
    "/./",
    "/../",
    ".",
    "..",
    ";",
    ";v",
    "%20",
    "%61",
    "%41",
    "%C3%A9",
    "%c3%89",
    "%2561",
    "%2f",
    "%5c",
    "%2e%2e",
    "%252f",
    "%00",
    "%EF%BC%8F",
    "%EF%BC%8E",
    "%EF%BC%BC",
    "%EF%BD%81",
    "%3B",
    "%25",
    "e%CC%81",
    "\\",
    "#",
    "%3F",
    "%23",
    "%253F",
    "%EF%BC%9F",
    "%EF%BC%9B",
    "%EF%BC%85",
    "%25EF%25BD%2581",
    "%C2%AD",
    "%E2%80%8B",
    "%C4%B1",
    "%C4%B0",
    "%E2%88%95",
    "%C2%A5",
    "%C2%A0",
    "%E2%80%A5",
    "%25u0061",
];

/// Segments that patterns have, with something nasty before or after some of them.
fn nasty_path() -> impl Strategy<Value = String> {
    let atom = || prop_oneof![2 => Just(""), 1 => prop::sample::select(ATOMS)];
    let segment = prop_oneof![3 => prop::sample::select(SEGMENTS), 1 => Just("")];
    let decorated = (atom(), segment, atom())
        .prop_map(|(before, segment, after)| format!("/{before}{segment}{after}"));
    prop::collection::vec(decorated, 1..5).prop_map(|segments| segments.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r503_what_the_fuzz_target_asks_holds(path in nasty_path(), bytes in any::<Vec<u8>>()) {
        let oracle = Oracle::new(oracle::sample_table());
        oracle.exercise(path.as_bytes());
        oracle.exercise(&bytes);
    }

    #[test]
    fn r503_the_table_finds_what_the_naive_matcher_finds_and_admits_no_ambiguity(
        routes in route_set(),
        paths in prop::collection::vec(nasty_path(), 12),
        insecure in any::<[bool; 3]>(),
        ways in any::<[u16; 4]>(),
    ) {
        let [encoded_slash, double_slash, semicolon] = insecure;
        let insecure_path = InsecurePath { encoded_slash, double_slash, semicolon };
        let lenient = routes.iter().map(|one| {
            let hosts: Vec<&str> = one.hosts.iter().map(HostPattern::as_str).collect();
            let methods = match &one.methods {
                Methods::Any => vec![],
                Methods::Only(methods) => methods.clone(),
            };
            let copy = route(&hosts, &methods, one.path.as_str(), one.access.clone());
            Arc::new(Route { insecure_path, ..copy })
        });
        let lenient = Oracle::new(RouteTable::new(lenient.collect(), true).unwrap());
        let strict = Oracle::new(RouteTable::new(routes, true).unwrap());
        let hosts = [None, Some("h.test"), Some("x.test"), Some("other")];
        for path in &paths {
            strict.check(&hosts, &Method::GET, path.as_bytes(), &ways);
            lenient.check(&hosts, &Method::GET, path.as_bytes(), &ways);
        }
    }
}
