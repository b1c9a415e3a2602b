//! What to supervise, and how.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::supervisor::Supervisor;
use crate::sync::supervisor::error::SupervisorError;
use crate::sync::supervisor::restart::Backoff;

/// Whom a supervisor restarts when a child has to be.
///
/// Siblings that are restarted along start also if they had finished before, unless they
/// are [`Restart::Temporary`]: that is Erlang/OTP's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The child alone: children that do not need each other.
    OneForOne,
    /// All: the others are killed, in reverse order, and all are started again.
    OneForAll,
    /// The child and those after it, which may have been built on it.
    RestForOne,
}

/// When a child is started again after its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always, also if it returned `Ok`.
    #[default]
    Permanent,
    /// If it failed: an `Err`, a panic, or a kill from outside.
    Transient,
    /// Never; not with its siblings either.
    Temporary,
}

/// What a child may return: nothing, or a `Result` whose error prints.
///
/// ```
/// use greenloop::sync::ChildResult;
///
/// assert_eq!(().failure(), None);
/// assert_eq!(Err::<(), _>("no route").failure().as_deref(), Some("no route"));
/// ```
pub trait ChildResult {
    /// The text of its failure, if it is one.
    fn failure(self) -> Option<String>;
}

impl ChildResult for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> ChildResult for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// One child of a supervisor: its name, what it runs, when it is started again.
///
/// ```
/// use greenloop::sync::{ChildSpec, Restart, Strategy, SupervisorSpec};
///
/// // It ends well, and so is not started again.
/// let job = ChildSpec::new("job", || Ok::<_, greenloop::Error>(())).restart(Restart::Transient);
/// SupervisorSpec::new(Strategy::OneForOne).child(job).run()?;
/// # Ok::<(), greenloop::sync::SupervisorError>(())
/// ```
#[derive(Clone)]
pub struct ChildSpec {
    pub(super) name: Arc<str>,
    pub(super) restart: Restart,
    pub(super) run: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl ChildSpec {
    /// A permanent child that runs `f`, in a greenlet of that name, at every start.
    ///
    /// `f` may run a supervisor of its own: see [`SupervisorSpec::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{ChildSpec, Restart};
    ///
    /// let ticker = ChildSpec::new("ticker", || greenloop::sleep(std::time::Duration::MAX));
    /// let ticker = ticker.restart(Restart::Transient);
    /// ```
    pub fn new<F, R>(name: impl Into<String>, f: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: ChildResult,
    {
        Self {
            name: name.into().into(),
            restart: Restart::default(),
            run: Arc::new(move || f().failure()),
        }
    }

    /// Sets when it is started again. Default: [`Restart::Permanent`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}

/// The children of a supervisor, in the order in which they start, and its rules.
///
/// See [`Supervisor`].
///
/// ```
/// use greenloop::sync::{Backoff, ChildSpec, Strategy, SupervisorSpec};
/// use std::time::Duration;
///
/// // The reader needs the connection: where that fails, both start again.
/// let supervisor = SupervisorSpec::new(Strategy::RestForOne)
///     .restarts_max(2, Duration::from_secs(60))
///     .backoff(Backoff::NONE)
///     .grace(Duration::from_secs(1))
///     .child(ChildSpec::new("connection", || Err::<(), _>("refused")))
///     .child(ChildSpec::new("reader", || greenloop::sleep(Duration::MAX)))
///     .start();
/// let error = supervisor.wait().unwrap_err();
/// assert_eq!((error.child(), error.failure()), (Some("connection"), Some("refused")));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SupervisorSpec {
    pub(super) strategy: Strategy,
    pub(super) restarts_max: usize,
    pub(super) within: Duration,
    pub(super) backoff: Backoff,
    pub(super) grace: Duration,
    pub(super) children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// No children, and the default rules.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            restarts_max: 3,
            within: Duration::from_secs(5),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            grace: Duration::from_secs(5),
            children: Vec::new(),
        }
    }

    /// Adds a child, which starts after those before it and is stopped before them.
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Gives up when more than `count` restarts were needed within the last `within`.
    ///
    /// Default: 3 within 5 s. A restart of several children for one failure counts once.
    /// With a count of 0 the first failure is the last; a `within` of zero sets no limit.
    pub fn restarts_max(mut self, count: usize, within: Duration) -> Self {
        self.restarts_max = count;
        self.within = within;
        self
    }

    /// Waits so long before a restart. Default: 100 ms, doubling up to 5 s.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Gives a child that was killed so long to end. Default: 5 s.
    ///
    /// A kill here is a level, not a signal: every blocking call of the child fails from
    /// then on, outside of [`shield`](crate::shield). There is nothing harder to follow it
    /// with. A child that has not ended in time, because it computes or is shielded, is left
    /// behind, and named in the error.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts a greenlet that supervises the children.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// As [`spawn`](crate::spawn), if too many greenlets are alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{ChildSpec, ChildState, Restart, Strategy, SupervisorSpec};
    ///
    /// let once = ChildSpec::new("once", || ()).restart(Restart::Temporary);
    /// let supervisor = SupervisorSpec::new(Strategy::OneForOne).child(once).start();
    /// supervisor.wait()?; // no child is left to run
    /// assert_eq!(supervisor.children()[0].state, ChildState::Finished);
    /// # Ok::<(), greenloop::sync::SupervisorError>(())
    /// ```
    #[track_caller]
    pub fn start(self) -> Supervisor {
        Supervisor::start(self)
    }

    /// Supervises the children in the current greenlet, until there is nothing left to run:
    /// a child of one supervisor may call this, which nests them.
    ///
    /// However it ends, the children are stopped before, in reverse order.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Too many restarts were needed, or a child did not end in its grace; the caller was
    /// killed or timed out.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{ChildSpec, Restart, Strategy, SupervisorSpec};
    ///
    /// let once = |name| ChildSpec::new(name, || ()).restart(Restart::Transient);
    /// let inner = move || {
    ///     let spec = SupervisorSpec::new(Strategy::OneForAll);
    ///     spec.child(once("a")).child(once("b")).run()
    /// };
    /// let spec = SupervisorSpec::new(Strategy::OneForOne);
    /// spec.child(ChildSpec::new("inner", inner).restart(Restart::Transient)).run()?;
    /// # Ok::<(), greenloop::sync::SupervisorError>(())
    /// ```
    #[track_caller]
    pub fn run(self) -> Result<(), SupervisorError> {
        super::run::run(self)
    }
}
