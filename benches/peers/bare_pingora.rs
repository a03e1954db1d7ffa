//! pingora without filters: the cost of proxying without authentication.
//!
//! Owns the baseline of `make bench-peers`: HTTP/1.1 in, one upstream, HTTP/1.1 out, on one thread,
//! with the allocator and without the modules, as in gatepost. Never looks at a request.

#![forbid(unsafe_code)]

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::Result;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As gatepost's default.
const UPSTREAM_POOL: usize = 128;

enum Bare {
    Tcp(SocketAddr),
    Unix(String),
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(match self {
            Self::Tcp(address) => HttpPeer::new(*address, false, String::new()),
            Self::Unix(path) => HttpPeer::new_uds(path, false, String::new())?,
        }))
    }
}

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bare_pingora IP:PORT IP:PORT|unix:PATH");
        std::process::exit(2);
    };
    let bare = match upstream.strip_prefix("unix:") {
        Some(path) => Bare::Unix(path.to_owned()),
        None => Bare::Tcp(upstream.parse().expect("the upstream is IP:PORT or unix:PATH")),
    };
    let settings = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        pid_file: String::new(),
        upgrade_sock: String::new(),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), bare);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
