//! HTTP as a server.
//!
//! So far only `minihttp`, behind the feature of that name: the engine that the tour and the
//! benches download from.

#[cfg(feature = "minihttp")]
pub mod minihttp;
