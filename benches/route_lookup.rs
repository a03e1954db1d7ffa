//! What one route look-up costs, and that it does not grow with the number of routes.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gatepost::credential::CredentialKind;
use gatepost::path::CanonicalPath;
use gatepost::policy::{
    Access, HostPattern, InsecurePath, Methods, PathPattern, Requirement, Route, RouteTable,
    Upgrade,
};
use gatepost::scope::ScopeSet;
use gatepost::upstream_settings::{Timeouts, Upstream, UpstreamAddress};
use http::Method;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// Four shapes in turn: a literal, a `*`, a `/**`, and a literal of one host.
fn routes(count: usize) -> Vec<Arc<Route>> {
    let upstream = Arc::new(Upstream {
        name: "app".into(),
        index: 0,
        address: UpstreamAddress::Tcp { host: "127.0.0.1".into(), port: 3000 },
        timeouts: Timeouts::default(),
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
            Arc::new(Route {
                index,
                name: path.as_str().into(),
                hosts: host.into_iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
                path: PathPattern::parse(&path).unwrap(),
                methods: Methods::Only(vec![Method::GET, Method::POST]),
                access: Access::Authenticated(Requirement {
                    credentials: vec![CredentialKind::Jwt, CredentialKind::ApiKey],
                    issuers: None,
                    scopes: ScopeSet::parse(if index % 2 == 0 { "read" } else { "write" }).unwrap(),
                    any_scope: ScopeSet::default(),
                    claims: Vec::new(),
                }),
                limits: Vec::new(),
                upstream: Arc::clone(&upstream),
                forward_credential: false,
                body_limit: None,
                timeouts: Timeouts::default(),
                upgrade: Upgrade::Denied,
                insecure_path: InsecurePath::default(),
                insecure_method_override: false,
            })
        })
        .collect()
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
    let nasty = "/files/A.;x=%C3%89%20//./b%2525".repeat(60);
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
    criterion.bench_function("route_table_build/10000", |bencher| {
        let routes = routes(10_000);
        bencher.iter(|| RouteTable::new(black_box(routes.clone()), false).is_ok());
    });
}

criterion_group!(benches, look_up, build);
criterion_main!(benches);
