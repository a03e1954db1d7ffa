//! Tokens and key files from anywhere: never a panic, and never a yes the caller did not earn.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| gatepost::decide::jwt::fuzz::verify(bytes));
