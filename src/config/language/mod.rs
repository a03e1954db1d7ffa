//! The configuration language: YAML with positions, checked against tables of sections and keys.
//!
//! Owns text to values and the form of a mistake. Never knows what a key means.

pub mod expand;
pub mod mistake;
pub mod node;
pub mod report;
pub mod suggest;
pub mod walk;
pub mod yaml;
