//! What a greenlet waits on, and who can end that: for dumps and the deadlock report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes [`Wait`] with the words of each variant and whether such a wait needs another
/// greenlet (or OS thread) of this program to end it.
macro_rules! waits {
    ($($name:ident, $words:literal, $by_others:literal;)+) => {
        /// What a greenlet waits on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Wait { $($name),+ }

        impl Wait {
            const ALL: &[Self] = &[$(Self::$name),+];

            /// The words of the dump.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $words),+ }
            }

            /// Tells whether only others of this program can end such a wait: neither the
            /// system nor time will. A limit of the wait is a question of its own.
            pub(crate) const fn is_up_to_others(self) -> bool {
                match self { $(Self::$name => $by_others),+ }
            }
        }
    };
}

waits! {
    Nothing, "running", false;
    Start, "its first turn", false;
    Turn, "its next turn", false;
    Sleep, "sleep", false;
    Read, "read", false;
    Write, "write", false;
    Accept, "accept", false;
    Connect, "connect", false;
    Resolve, "name resolution", false;
    Lane, "blocking lane", false;
    Future, "future", false;
    Signal, "signal", false;
    Child, "child process", false;
    Join, "join", true;
    Any, "the first of several", true;
    Event, "event", true;
    AsyncResult, "async result", true;
    Semaphore, "semaphore", true;
    Mutex, "mutex", true;
    RwLock, "rwlock", true;
    RLock, "rlock", true;
    Condvar, "condvar", true;
    Barrier, "barrier", true;
    Done, "wait group", true;
    Queue, "queue", true;
    QueueJoin, "queue join", true;
    Channel, "channel", true;
    Memory, "in-memory stream", true;
    Broadcast, "broadcast channel", true;
    Group, "group", true;
    Pool, "pool", true;
    Drain, "drain", true;
    Paused, "its start", true;
}

impl Wait {
    pub(crate) fn from_u8(n: u8) -> Self {
        Self::ALL
            .get(usize::from(n))
            .copied()
            .unwrap_or(Self::Nothing)
    }
}

/// Who can end a wait, as far as that is known.
#[derive(Clone, Debug, Default)]
pub(crate) enum Whom {
    #[default]
    Anyone,
    /// The greenlet of this number, by ending.
    Greenlet(u64),
    /// Whoever holds a lock: its number, 0 while nobody does. Shared with the lock, so
    /// that it stays true when the lock goes from hand to hand.
    Holder(Arc<AtomicU64>),
}

impl Whom {
    /// The greenlet's number, if it is known.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Self::Anyone => None,
            Self::Greenlet(id) => Some(*id),
            Self::Holder(id) => Some(id.load(Ordering::Relaxed)).filter(|id| *id != 0),
        }
    }
}
