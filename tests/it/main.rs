//! The program from the outside: one binary, one module per subject.
//!
//! Every test starts its own sidecar on Unix sockets or a free port, and speaks to it with bytes
//! of its own. Names begin with the requirement (`r602_`) or the heading of the contract.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// The fuzz targets name the fuzzer's crate; here it is us.
extern crate self as libfuzzer_sys;

/// Makes a function of a fuzz target, in place of the fuzzer's macro of that name.
macro_rules! function_of {
    (|$data:ident: &[u8]| $body:expr) => {
        pub fn run($data: &[u8]) {
            $body
        }
    };
}
pub(crate) use function_of as fuzz_target;

mod streams;
mod support;

mod admin;
mod again;
mod answers;
mod api_keys;
mod attack;
mod browser;
mod cli;
mod connections;
mod cors;
mod demo;
mod docs;
mod exchange;
mod explained;
mod failed_credentials;
mod fuzz_corpus;
mod identity;
mod introspection;
mod issuer_account;
mod issuer_commands;
mod issuer_endpoints;
mod issuer_flows;

mod issuer_people;
mod issuer_routes;
mod issuer_secrets;
mod issuer_store;
mod jwks;
mod jwt;
mod lifecycle;
mod limits;
mod observe;
mod policy;
mod proxy_protocol;
mod proxying;
mod reload;
mod reload_fire;
mod requirements;
mod revocation;
mod safe_store;
mod secrets;
mod sign_in_app;
mod strangers;
mod tidy;
mod tls;
mod tls_clients;
mod tls_upstream;
mod token_places;
mod transfers;
mod twins;
