//! Any bytes as a configuration: a mistake with a place, or a configuration; never a panic.
#![no_main]

use std::path::Path;

use gatepost::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let environment = |name: &str| (name.len() < 4).then(|| name.repeat(3));
    if let Err(mistakes) = Config::parse_bytes(Path::new("fuzz.yaml"), bytes, &environment) {
        assert!(!mistakes.is_empty(), "a refusal says why");
        for mistake in mistakes {
            assert!(!mistake.to_string().contains('\n'), "one mistake is one line");
        }
    }
});
