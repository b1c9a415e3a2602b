//! The guide: a chapter per theme, every program in it compiled and run with the tests.
//!
//! The same texts stand in the repository under `docs/`.

#[doc = include_str!("../docs/spawn-and-join.md")]
pub mod spawn_and_join {}

#[doc = include_str!("../docs/kill-and-timeout.md")]
pub mod kill_and_timeout {}

#[doc = include_str!("../docs/servers.md")]
pub mod servers {}
