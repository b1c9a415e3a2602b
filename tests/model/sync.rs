//! Floor 2 as the models see it: all of it is the product's own.

#[path = "../../src/sync/queue/mod.rs"]
pub(crate) mod queue;
#[path = "../../src/sync/semaphore.rs"]
pub(crate) mod semaphore;
#[path = "../../src/sync/waiters.rs"]
pub(crate) mod waiters;

// `may::sync`, which is `crate::sync` here.
pub(crate) use crate::engine::Blocker;

#[path = "naive.rs"]
mod naive;
