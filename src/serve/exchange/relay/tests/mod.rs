//! Exchanges between two ends in memory, on a clock of their own.

mod deadlines;
mod exchanges;
mod rig;
