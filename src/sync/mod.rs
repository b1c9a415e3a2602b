//! Greenlets (and OS threads) waiting for each other.
//!
//! Every type here works between greenlets and plain OS threads alike and is built on one
//! primitive, the runtime's parker. Most are cheap handles on shared state (`Clone`);
//! [`Mutex`], [`RwLock`] and [`Condvar`] have the shape of std's, which is shared by
//! reference or in an `Arc`. What a waker gives (a permit, an item, a lock) either reaches
//! a waiter or stays: a waiter that is killed or timed out consumes nothing.
//!
//! A lock's guard may be held while its greenlet waits, and then goes with it to another
//! OS thread: that is what tells these locks from std's.
//!
//! Descriptors do not belong here (see `net`), nor anything that knows about connections.

mod async_result;
mod barrier;
mod bounded;
mod broadcast;
mod channel;
mod condvar;
mod event;
mod exclusive;
mod fallible;
mod group;
mod members;
mod mutex;
mod pool;
mod pool_stream;
pub mod queue;
mod rlock;
mod rwlock;
mod scope;
mod semaphore;
mod supervisor;
mod wait;
mod wait_group;
mod waiters;

pub use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
pub use async_result::{AsyncResult, ResultError, Setter};
pub use barrier::{Barrier, BarrierWaitResult};
pub use bounded::{BoundedPermit, BoundedSemaphore};
pub use broadcast::{Broadcast, Subscriber, SubscriberIter};
pub use channel::{Channel, ChannelIter};
pub use condvar::Condvar;
pub use event::Event;
pub use fallible::{TryScope, TryScopedGreenlet, try_scope};
pub use group::Group;
pub use mutex::{Mutex, MutexGuard};
pub use pool::{Pool, PoolFull};
pub use pool_stream::PoolStream;
pub use queue::{Job, LifoQueue, PriorityQueue, PutError, Queue};
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
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
pub use wait_group::{Pending, WaitGroup};
