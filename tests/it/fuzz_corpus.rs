//! Every seed and every past finding of the fuzz targets, replayed without a fuzzer.
//!
//! The targets are compiled as they are, with [`crate::fuzz_target`] in the fuzzer's place. What
//! a fuzzer finds becomes a file in `fuzz/corpus/` before it becomes a fix.

use std::fs;

use crate::support::{files_below, root};

#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/client_auth.rs"]
mod client_auth;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/config.rs"]
mod config;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/credential.rs"]
mod credential;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/form.rs"]
mod form;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/forwarded.rs"]
mod forwarded;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/gate.rs"]
mod gate;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/headers.rs"]
mod headers;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/intents.rs"]
mod intents;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/introspection.rs"]
mod introspection;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/jwks.rs"]
mod jwks;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/jwt.rs"]
mod jwt;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/key_file.rs"]
mod key_file;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/path.rs"]
mod path;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/proxy_header.rs"]
mod proxy_header;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/redirect.rs"]
mod redirect;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/response.rs"]
mod response;
#[expect(unused_attributes, reason = "no_main is for the fuzzer")]
#[path = "../../fuzz/fuzz_targets/safe_store.rs"]
mod safe_store;

#[track_caller]
fn replay(target: &str, run: fn(&[u8])) {
    let seeds = files_below(&root().join("fuzz/corpus").join(target), "");
    assert!(!seeds.is_empty(), "fuzz/corpus/{target} has no seeds: add some");
    for seed in seeds {
        // Named before it runs: a panic in the target does not know its seed.
        println!("{}", seed.display());
        run(&fs::read(&seed).unwrap());
    }
}

#[test]
fn fuzz_client_auth_seeds() {
    replay("client_auth", client_auth::run);
}

#[test]
fn fuzz_config_seeds() {
    replay("config", config::run);
}

#[test]
fn fuzz_credential_seeds() {
    replay("credential", credential::run);
}

#[test]
fn fuzz_form_seeds() {
    replay("form", form::run);
}

#[test]
fn fuzz_proxy_header_seeds() {
    replay("proxy_header", proxy_header::run);
}

#[test]
fn fuzz_forwarded_seeds() {
    replay("forwarded", forwarded::run);
}

#[test]
fn fuzz_gate_seeds() {
    replay("gate", gate::run);
}

#[test]
fn fuzz_headers_seeds() {
    replay("headers", headers::run);
}

#[test]
fn fuzz_intents_seeds() {
    replay("intents", intents::run);
}

#[test]
fn fuzz_introspection_seeds() {
    replay("introspection", introspection::run);
}

#[test]
fn fuzz_jwks_seeds() {
    replay("jwks", jwks::run);
}

#[test]
fn fuzz_jwt_seeds() {
    replay("jwt", jwt::run);
}

#[test]
fn fuzz_key_file_seeds() {
    replay("key_file", key_file::run);
}

#[test]
fn fuzz_path_seeds() {
    replay("path", path::run);
}

#[test]
fn fuzz_response_seeds() {
    replay("response", response::run);
}

#[test]
fn fuzz_redirect_seeds() {
    replay("redirect", redirect::run);
}

#[test]
fn fuzz_safe_store_seeds() {
    replay("safe_store", safe_store::run);
}
