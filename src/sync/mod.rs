//! Greenlets (and OS threads) waiting for each other.
//!
//! Every type here is a cheap handle on shared state (`Clone`), works between greenlets and
//! plain OS threads alike, and is built on one primitive, the runtime's parker. What a
//! waker gives (a permit, an item) either reaches a waiter or stays: a waiter that is
//! killed or timed out consumes nothing.
//!
//! Descriptors do not belong here (see `net`), nor anything that knows about connections.

mod event;
mod fallible;
mod group;
mod members;
mod pool;
mod pool_stream;
mod queue;
mod scope;
mod semaphore;
mod supervisor;
mod wait;
mod waiters;

pub use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
pub use event::Event;
pub use fallible::{TryScope, TryScopedGreenlet, try_scope};
pub use group::Group;
pub use pool::{Pool, PoolFull};
pub use pool_stream::PoolStream;
pub use queue::{PutError, Queue};
pub use scope::{Scope, ScopedGreenlet, scope};
pub use semaphore::{Permit, Semaphore};
pub use supervisor::{
    Backoff, ChildResult, ChildSpec, ChildState, ChildStatus, Restart, Strategy, Supervisor,
    SupervisorError, SupervisorSpec,
};
pub use wait::{
    AsCompleted, StillAlive, as_completed, join_all, join_some, kill_all, try_join_all, wait_all,
    wait_any, wait_any_timeout, wait_some,
};
