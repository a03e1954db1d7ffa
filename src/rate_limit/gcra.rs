//! The generic cell rate algorithm, as arithmetic.
