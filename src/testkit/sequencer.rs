//! Blocks of several greenlets in a given order.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::kill::is_killed;
use crate::runtime::park::{self, WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::util::lock;

/// Makes blocks of several greenlets (or OS threads) run in the order of their numbers.
///
/// Block 0 runs at once; block *n* when the blocks before it have ended. The order holds
/// with any number of workers, so a test can bring about the one interleaving it is about.
///
/// A sequence whose order cannot be kept is broken: a waiter was killed or timed out, or a
/// block panicked or was killed. Then everybody who waits in it, now or later, gets an
/// error instead of waiting for ever. A greenlet that never comes to its number is not
/// noticed: put a [`Timeout`](crate::Timeout) around the whole.
///
/// # Examples
///
/// ```
/// use greenloop::testkit::Sequencer;
/// use std::sync::{Arc, Mutex};
///
/// let seq = Sequencer::new();
/// let order = Arc::new(Mutex::new(Vec::new()));
/// let greenlets = [[2, 3], [0, 4], [1, 5]].map(|own| {
///     let (seq, order) = (seq.clone(), order.clone());
///     greenloop::spawn(move || {
///         for number in own {
///             let _turn = seq.at(number)?;
///             order.lock().unwrap().push(number);
///         }
///         Ok::<_, greenloop::Error>(())
///     })
/// });
/// for greenlet in greenlets {
///     greenlet.join().unwrap()?;
/// }
/// assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none; trio's `trio.testing.Sequencer` is the model, which does not notice a
/// block that fails.
#[derive(Clone, Default)]
pub struct Sequencer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The block that may run.
    next: usize,
    claimed: BTreeSet<usize>,
    /// Which block broke the order, and how.
    broken: Option<(usize, &'static str)>,
    line: WaitList,
}

/// The right to run a block of a [`Sequencer`]; the next block begins when it is dropped.
#[must_use = "the block ends when it is dropped"]
pub struct Turn {
    sequence: Sequencer,
    number: usize,
}

impl Sequencer {
    /// A sequence that begins with block 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the blocks before `number` have ended.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it is this block's turn.
    ///
    /// # Errors
    /// The number was asked for before; the sequence is broken. Cancelled, when the caller
    /// was killed; timeout, when a [`Timeout`](crate::Timeout) passed: both break the
    /// sequence for the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testkit::Sequencer;
    ///
    /// let seq = Sequencer::new();
    /// drop(seq.at(0)?);
    /// let error = seq.at(0).unwrap_err();
    /// assert_eq!(error.to_string(), "block 0 of the sequence was asked for twice");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn at(&self, number: usize) -> Result<Turn> {
        if !lock(&self.0).claimed.insert(number) {
            return Err(Error::message(format!(
                "block {number} of the sequence was asked for twice"
            )));
        }
        let waited = park::check(Deadline::NEVER).and_then(|()| {
            wait_for(
                &self.0,
                |state| &mut state.line,
                Wait::Event,
                Deadline::NEVER,
                |state| state.look(number),
            )
        });
        match waited {
            Ok(Ok(())) => Ok(Turn {
                sequence: self.clone(),
                number,
            }),
            Ok(Err(broken)) => Err(broken),
            Err(interrupted) => {
                self.change(|state| state.break_at(number, "gave up waiting"));
                Err(interrupted)
            }
        }
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0);
        f(&mut state);
        state.line.wake_all();
    }
}

impl State {
    fn look(&self, number: usize) -> Option<Result<()>> {
        if let Some((block, how)) = self.broken {
            let text = format!("the sequence is broken: block {block} {how}");
            return Some(Err(Error::message(text)));
        }
        (self.next == number).then_some(Ok(()))
    }

    fn break_at(&mut self, number: usize, how: &'static str) {
        self.broken.get_or_insert((number, how));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let number = self.number;
        self.sequence.change(|state| {
            if std::thread::panicking() {
                state.break_at(number, "panicked");
            } else if is_killed() {
                state.break_at(number, "was killed");
            } else {
                state.next = number + 1;
            }
        });
    }
}

impl fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("Sequencer")
            .field("next", &state.next)
            .field("waiting", &state.line.len())
            .field("broken", &state.broken)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turn({})", self.number)
    }
}
