//! Integration tests: the public API, one module per area, in one binary.
//!
//! They pass side by side in one process. What must not happen in the tests' own process,
//! such as a stack overflow, runs this binary again as a child (see `switch/overflow.rs`).

mod switch;
