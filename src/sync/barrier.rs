//! A point that several reach together.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, WaitList};
use crate::runtime::reason::Wait;
use crate::sync::waiters::begin;
use crate::util::lock;

/// A point at which a fixed number of greenlets and threads wait for each other.
///
/// The last one to arrive lets all pass, in order of arrival, and the next round begins.
///
/// All or none: a [`Barrier::wait`] that fails, because its caller was killed or timed
/// out, **breaks** the barrier. It could not be passed any more, so all who wait get an
/// error at once, for which [`Error::is_broken`](crate::Error::is_broken) holds, and so
/// does whoever comes later, until [`Barrier::reset`].
///
/// # Examples
///
/// ```
/// use greenloop::sync::Barrier;
///
/// let barrier = Barrier::new(3);
/// let greenlets: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = barrier.clone();
///         greenloop::spawn(move || barrier.wait())
///     })
///     .collect();
/// let mut leaders = 0;
/// for greenlet in greenlets {
///     leaders += usize::from(greenlet.join().unwrap()?.is_leader());
/// }
/// assert_eq!(leaders, 1);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `threading.Barrier` when patched. There a waiter that times out gets
/// `BrokenBarrierError`, too; here it gets its own timeout. There is no `action`: the
/// leader knows that it is the leader.
#[derive(Clone)]
pub struct Barrier {
    parties: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many wait in this round.
    arrived: usize,
    round: Round,
    line: WaitList,
    is_broken: bool,
}

/// How a round ended: true if all passed. Its waiters keep it, so that they find out, even
/// if the next round has begun.
type Round = Arc<OnceLock<bool>>;

impl Barrier {
    /// A barrier for `parties`.
    ///
    /// # Panics
    /// If `parties` is zero.
    pub fn new(parties: usize) -> Self {
        assert!(parties > 0, "a barrier waits for at least one");
        Self {
            parties,
            state: Arc::default(),
        }
    }

    /// Waits until all parties have arrived.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; either breaks the barrier for the others.
    /// Broken, when another one left, or the barrier was reset meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Barrier;
    ///
    /// let start = Barrier::new(2);
    /// let other = {
    ///     let start = start.clone();
    ///     greenloop::spawn(move || start.wait())
    /// };
    /// start.wait()?; // both are here
    /// other.join().unwrap()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Barrier.wait()`.
    #[track_caller]
    pub fn wait(&self) -> Result<BarrierWaitResult> {
        self.wait_deadline(Deadline::NEVER)
    }

    /// Waits at most `limit` until all parties have arrived.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Barrier::wait`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Barrier;
    /// use std::time::Duration;
    ///
    /// let barrier = Barrier::new(2);
    /// let alone = barrier.wait_timeout(Duration::from_millis(2));
    /// assert!(alone.unwrap_err().is_timeout());
    /// assert!(barrier.wait().unwrap_err().is_broken());
    /// barrier.reset();
    /// assert!(!barrier.is_broken());
    /// ```
    ///
    /// gevent: `Barrier.wait(timeout=limit)`.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<BarrierWaitResult> {
        self.wait_deadline(Deadline::after(limit))
    }

    /// Waits until all parties have arrived or `limit` has come.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Barrier::wait_timeout`].
    #[track_caller]
    pub fn wait_deadline(&self, limit: Deadline) -> Result<BarrierWaitResult> {
        if let Err(error) = begin() {
            self.abort();
            return Err(error);
        }
        let parker = Parker::new();
        let round = {
            let mut state = lock(&self.state);
            if state.is_broken {
                return Err(broken());
            }
            if state.arrived + 1 == self.parties {
                state.end_round(true);
                return Ok(BarrierWaitResult { is_leader: true });
            }
            state.arrived += 1;
            state.line.push(parker.unparker(), ());
            state.round.clone()
        };
        let waited = parker.park(Wait::Barrier, limit);
        let mut state = lock(&self.state);
        match (round.get(), waited) {
            // Even if a kill or a limit came at the same moment: all count on it.
            (Some(true), _) => Ok(BarrierWaitResult { is_leader: false }),
            (_, Err(error)) => {
                if round.get().is_none() {
                    state.end_round(false);
                    state.is_broken = true;
                }
                Err(error)
            }
            (_, Ok(())) => Err(broken()),
        }
    }

    /// Breaks the barrier: who waits gets an error, and who comes later, until
    /// [`Barrier::reset`].
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Barrier;
    ///
    /// let start = Barrier::new(2);
    /// start.abort(); // the other one cannot come
    /// assert!(start.wait().unwrap_err().is_broken());
    /// ```
    ///
    /// gevent: `Barrier.abort()`.
    pub fn abort(&self) {
        let mut state = lock(&self.state);
        state.end_round(false);
        state.is_broken = true;
    }

    /// Makes the barrier whole and empty; who waits gets an error.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Barrier;
    ///
    /// let start = Barrier::new(1);
    /// start.abort();
    /// start.reset();
    /// assert!(start.wait()?.is_leader());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Barrier.reset()`.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.end_round(false);
        state.is_broken = false;
    }

    /// Tells whether one has left and nobody can pass.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `Barrier.broken`.
    pub fn is_broken(&self) -> bool {
        lock(&self.state).is_broken
    }

    /// How many it waits for.
    ///
    /// gevent: `Barrier.parties`.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// The number of greenlets and threads that have arrived and wait.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// gevent: `Barrier.n_waiting`.
    pub fn waiting(&self) -> usize {
        lock(&self.state).arrived
    }
}

impl State {
    /// Tells all who have arrived how it ended, and begins anew.
    fn end_round(&mut self, all_pass: bool) {
        // The first outcome stands; a round is ended once, and then replaced.
        let _ = std::mem::take(&mut self.round).set(all_pass);
        self.arrived = 0;
        self.line.wake_all();
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &state.arrived)
            .field("broken", &state.is_broken)
            .finish()
    }
}

/// What [`Barrier::wait`] says to one who has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl BarrierWaitResult {
    /// Tells whether the caller was the last to arrive: true for one in each round.
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Broken("barrier"))
}
