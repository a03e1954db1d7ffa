//! No path may be admitted whose other readings meet a route with other access, and the
//! table must find what a matcher that looks at every route finds. Needs the feature `fuzzing`.
#![no_main]

use std::sync::LazyLock;

use gatepost::decide::policy::oracle::{self, Oracle};
use libfuzzer_sys::fuzz_target;

static ORACLE: LazyLock<Oracle> = LazyLock::new(|| Oracle::new(oracle::sample_table()));

fuzz_target!(|data: &[u8]| ORACLE.exercise(data));
