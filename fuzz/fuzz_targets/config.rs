//! Reads arbitrary bytes as a configuration: it never panics, and a refusal says at least one
//! thing, in one line each.

#![no_main]

use std::path::Path;

use gatepost::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let environment = |name: &str| (name == "HOST").then(|| "127.0.0.1".to_owned());
    match Config::parse_bytes(Path::new("fuzz.yaml"), data, &environment) {
        Ok(config) => assert!(!config.startup.listeners.is_empty(), "it would listen nowhere"),
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a reason");
            for mistake in mistakes {
                assert!(!mistake.to_string().contains('\n'), "a mistake is one line: {mistake}");
            }
        }
    }
});
