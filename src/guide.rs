//! The guide: a chapter per theme, every program in it compiled and run with the tests.
//!
//! The same texts stand in the repository under `docs/`.

#[doc = include_str!("../docs/spawn-and-join.md")]
pub mod spawn_and_join {}

#[doc = include_str!("../docs/kill-and-timeout.md")]
pub mod kill_and_timeout {}

#[doc = include_str!("../docs/servers.md")]
pub mod servers {}

#[doc = include_str!("../docs/queues-and-pools.md")]
pub mod queues_and_pools {}

#[doc = include_str!("../docs/blocking-code.md")]
pub mod blocking_code {}

#[doc = include_str!("../docs/debugging.md")]
pub mod debugging {}

#[doc = include_str!("../docs/coming-from-gevent.md")]
pub mod coming_from_gevent {}
