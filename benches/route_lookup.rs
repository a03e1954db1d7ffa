//! What one route look-up costs, and that it does not grow with the number of routes.

#![expect(clippy::unwrap_used, reason = "the routes are constants")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gatepost::decide::policy::upstream::{Timeouts, Upstream, UpstreamAddress};
use gatepost::decide::policy::{
    Access, HostPattern, Methods, PathPattern, Requirement, Route, RouteTable,
};
use gatepost::decide::request::credential::CredentialKind;
use gatepost::decide::request::path::CanonicalPath;
use gatepost::decide::scope::ScopeSet;
use http::Method;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// Four shapes in turn: a literal, a `*`, a `/**`, and a literal of one host.
fn routes(count: usize) -> Vec<Arc<Route>> {
    let upstream = Arc::new(Upstream {
        name: "app".into(),
        index: 0,
        address: UpstreamAddress::Tcp { host: "127.0.0.1".into(), port: 3000 },
        tls: false,
        timeouts: Timeouts::all(Duration::from_secs(30)),
    });
    let shape = |index: usize| match index % 4 {
        0 => (None, format!("/api/v1/service{index}/items")),
        1 => (None, format!("/api/v1/service{index}/*/detail")),
        2 => (None, format!("/files/area{index}/**")),
        _ => (Some("app.example.com"), format!("/tenant/t{index}/orders")),
    };
    (0..count)
        .map(|index| {
            let (host, path) = shape(index);
            let access = scoped(if index % 2 == 0 { "read" } else { "write" });
            let path = PathPattern::parse(&path).unwrap();
            Arc::new(Route {
                index,
                hosts: host.into_iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
                methods: Methods::Only(vec![Method::GET, Method::POST]),
                ..Route::bare(path, access, Arc::clone(&upstream))
            })
        })
        .collect()
}

fn scoped(scope: &str) -> Access {
    Access::Authenticated(Requirement {
        credentials: vec![CredentialKind::Jwt, CredentialKind::ApiKey],
        issuers: None,
        scopes: ScopeSet::parse(scope).unwrap(),
        any_scope: ScopeSet::default(),
        claims: Vec::new(),
        certificate: None,
    })
}

fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route_lookup");
    for size in SIZES {
        let table = RouteTable::new(routes(size), false).unwrap();
        for (name, path) in [
            ("literal", "/api/v1/service4/items"),
            ("star", "/api/v1/service5/4711/detail"),
            ("deep", "/files/area6/a/b/c/d/e.txt"),
            ("host", "/tenant/t7/orders"),
            ("miss", "/nowhere/at/all"),
            ("upper_case", "/files/area6/AbCdEf"),
            ("encoded", "/files/area6/a%20b"),
        ] {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let path = CanonicalPath::parse(black_box(path.as_bytes())).unwrap();
                    black_box(table.find(Some("app.example.com"), &Method::GET, &path).is_ok())
                });
            });
        }
    }
    // The dearest path that is accepted: long, and everything in it can be read in two ways.
    let nasty = "/A.;x=%C3%89%20%EF%BD%81aaaaaaaaaaa//b%2525".repeat(50);
    let table = RouteTable::new(routes(1_000), false).unwrap();
    group.bench_function("nasty", |bencher| {
        bencher.iter(|| {
            let path = format!("/files/area6/a{}", black_box(&nasty));
            let path = CanonicalPath::parse(path.as_bytes()).unwrap();
            black_box(table.find(None, &Method::GET, &path).is_ok())
        });
    });
    group.finish();
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route_table_build");
    group.sample_size(10);
    let plain = routes(10_000);
    // The dearest check for contradictions: every host-bound pattern, each with a demand of its
    // own, meets every hostless one, and only the methods say that there is nothing to report.
    let tenants = routes(10_000).into_iter().map(|route| {
        let route = Arc::into_inner(route).unwrap();
        if route.index % 2 == 0 {
            return Arc::new(Route { methods: Methods::Only(vec![Method::POST]), ..route });
        }
        let host = HostPattern::parse(&format!("t{}.example.com", route.index)).unwrap();
        Arc::new(Route {
            hosts: vec![host],
            path: PathPattern::parse("/**").unwrap(),
            methods: Methods::Only(vec![Method::GET]),
            access: scoped(&format!("tenant{}", route.index)),
            ..route
        })
    });
    let tenants: Vec<_> = tenants.collect();
    for (name, routes) in [("plain", &plain), ("tenants", &tenants)] {
        group.bench_function(BenchmarkId::new(name, routes.len()), |bencher| {
            bencher.iter(|| RouteTable::new(black_box(routes.clone()), false).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, look_up, build);
criterion_main!(benches);
