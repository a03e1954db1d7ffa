//! What one decision costs, by outcome: `Gate::admit` over a compiled configuration.
//!
//! `cargo bench --no-default-features --features mimalloc --bench gate_admit`, with the allocator
//! of the binary.

#[path = "support/gate.rs"]
mod gate;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn admit(c: &mut Criterion) {
    for name in gate::names() {
        let mut case = gate::case(name);
        let name = format!("admit/{name}");
        c.bench_function(&name, |b| b.iter(|| black_box(&mut case).decide()));
    }
}

criterion_group!(benches, admit);
criterion_main!(benches);
