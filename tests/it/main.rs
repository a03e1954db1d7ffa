//! The program from the outside: one binary, one module per subject.
//!
//! Every test starts its own sidecar on Unix sockets or a free port, and speaks to it with bytes
//! of its own. Names begin with the requirement (`r602_`) or the heading of the contract.

mod support;

mod admin;
mod answers;
mod api_keys;
mod cli;
mod demo;
mod fuzz_corpus;
mod identity;
mod jwt;
mod limits;
mod policy;
mod proxying;
mod reload;
mod secrets;
mod tidy;
