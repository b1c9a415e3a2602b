//! Greenlets that are started again when they fail, after Erlang/OTP's supervisors.
//!
//! ```text
//!            start, in order                    end, as its restart rule says
//!   Waiting ────────────────► Running ──► Finished ────────────────► Waiting (back-off)
//!      ▲                         │                                     │
//!      │ restart of the strategy │ stop, in reverse order              │ too many restarts
//!      └───────────────────── Stopped, StillAlive ◄────────────────────┘ the supervisor ends
//! ```
//!
//! The rules are data (`spec`), whether and when to restart is arithmetic (`restart`), and
//! one loop in one greenlet does everything (`run`): children only report their ends.

mod error;
mod restart;
mod run;
mod spec;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::runtime::greenlet::Handle;
use crate::runtime::spawn::Builder;
use crate::runtime::watch::{Waitable, WatchId, Watcher};

pub use error::SupervisorError;
pub use restart::Backoff;
pub use spec::{ChildResult, ChildSpec, Restart, Strategy, SupervisorSpec};

/// A greenlet that starts others, and starts them again when they fail.
///
/// Children start in the order of the [`SupervisorSpec`] and are stopped in reverse order.
/// When one ends, its [`Restart`] rule says whether it starts again, the [`Strategy`] who
/// else does, the [`Backoff`] when. If too many restarts are needed within a time, the
/// supervisor gives up: it stops all children and ends with an error that names the child
/// and its last failure. So it does when its greenlet is killed. When there is no child
/// left to run, it ends well.
///
/// A restart waits until those that are stopped for it have ended: two of the same child
/// never run side by side. One that does not end in its grace makes the supervisor give up.
///
/// Dropping the handle lets it run on.
///
/// # Examples
///
/// ```
/// use greenloop::sync::{Backoff, ChildSpec, Restart, Strategy, SupervisorSpec};
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// static TRIES: AtomicUsize = AtomicUsize::new(0);
/// let flaky = || match TRIES.fetch_add(1, Ordering::Relaxed) {
///     0 | 1 => Err("not yet"),
///     _ => Ok(()),
/// };
/// let supervisor = SupervisorSpec::new(Strategy::OneForOne)
///     .backoff(Backoff::NONE)
///     .child(ChildSpec::new("flaky", flaky).restart(Restart::Transient))
///     .start();
/// supervisor.wait()?;
/// let child = &supervisor.children()[0];
/// assert_eq!(child.restarts, 2);
/// assert_eq!(child.last_failure.as_deref(), Some("not yet"));
/// # Ok::<(), greenloop::sync::SupervisorError>(())
/// ```
///
/// gevent: none; Erlang/OTP's `supervisor` is the model. Theirs stays when it has no
/// children left, because some may be added.
#[derive(Clone)]
pub struct Supervisor {
    greenlet: Handle,
    shared: Arc<run::Shared>,
}

/// A child at the moment it was asked for; see [`Supervisor::children`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildStatus {
    /// As in its spec.
    pub name: String,
    /// What it does.
    pub state: ChildState,
    /// How often it was started again, for a failure of its own or of a sibling.
    pub restarts: usize,
    /// The text of its latest failure, if it ever failed.
    pub last_failure: Option<String>,
    /// Its greenlet, while that lives.
    pub greenlet: Option<Handle>,
}

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// It will be started when its back-off is over.
    Waiting,
    /// It runs.
    Running,
    /// It has ended by itself and will not be started again.
    Finished,
    /// It was stopped by its supervisor.
    Stopped,
    /// Its supervisor killed it, and it did not end in time.
    StillAlive,
}

impl Supervisor {
    #[track_caller]
    fn start(spec: SupervisorSpec) -> Self {
        let shared = Arc::new(run::Shared::new(&spec));
        let greenlet = {
            let shared = shared.clone();
            let builder = Builder::new().name("supervisor");
            builder.spawn(move || run::run_shared(spec, &shared))
        };
        Self {
            greenlet: greenlet.handle(),
            shared,
        }
    }

    /// Waits until the supervisor has ended, as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// Why it ended, if it was neither stopped nor out of children;
    /// [`SupervisorError::is_wait_error`] if it was the caller who was killed or timed out.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{Backoff, ChildSpec, Strategy, SupervisorSpec};
    ///
    /// let supervisor = SupervisorSpec::new(Strategy::OneForOne)
    ///     .backoff(Backoff::NONE)
    ///     .child(ChildSpec::new("lost", || Err::<(), _>("no way")))
    ///     .start();
    /// let error = supervisor.wait().unwrap_err();
    /// assert_eq!((error.child(), error.failure()), (Some("lost"), Some("no way")));
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<(), SupervisorError> {
        let wait_error = |error| SupervisorError(error::Kind::Wait(Arc::new(error)));
        self.greenlet.wait().map_err(wait_error)?;
        self.shared.result()
    }

    /// Has it stop its children, in reverse order, and end; waits at most `limit` for that,
    /// if one is given. False if it has not ended by then.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// The caller was killed or timed out. The supervisor stops all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{ChildSpec, ChildState, Strategy, SupervisorSpec};
    ///
    /// let sleeper = ChildSpec::new("sleeper", || greenloop::sleep(std::time::Duration::MAX));
    /// let supervisor = SupervisorSpec::new(Strategy::OneForOne).child(sleeper).start();
    /// assert!(supervisor.stop(None)?);
    /// assert_eq!(supervisor.children()[0].state, ChildState::Stopped);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn stop(&self, limit: Option<Duration>) -> Result<bool> {
        self.shared.stop();
        self.greenlet.wait_deadline(limit.into())
    }

    /// The children at this moment, in the order of the spec.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{ChildSpec, ChildState, Strategy, SupervisorSpec};
    /// use std::time::Duration;
    ///
    /// let sleeper = || greenloop::sleep(Duration::MAX);
    /// let supervisor = SupervisorSpec::new(Strategy::OneForOne)
    ///     .child(ChildSpec::new("a", sleeper))
    ///     .child(ChildSpec::new("b", sleeper))
    ///     .start();
    /// supervisor.stop(None)?;
    /// let children = supervisor.children();
    /// let names: Vec<_> = children.iter().map(|child| child.name.as_str()).collect();
    /// assert_eq!(names, ["a", "b"]);
    /// assert!(children.iter().all(|child| child.state == ChildState::Stopped));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn children(&self) -> Vec<ChildStatus> {
        self.shared.children()
    }

    /// Its greenlet. Killing that stops the children as well.
    pub fn handle(&self) -> Handle {
        self.greenlet.clone()
    }
}

/// Ready when it has ended.
impl Waitable for Supervisor {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        self.greenlet.watch(watcher)
    }

    fn unwatch(&self, id: WatchId) {
        self.greenlet.unwatch(id);
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("children", &self.children())
            .finish_non_exhaustive()
    }
}
