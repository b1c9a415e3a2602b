//! Every message to everyone who listens.

mod state;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::wait_for;
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher};
use crate::sync::queue::PutError;
use crate::sync::waiters::begin;
use crate::util::lock;
use state::{State, closed};

/// The sending side: every [`Subscriber`] gets every message sent after it subscribed.
///
/// Sending never waits. A message is kept until all who subscribed before it have got it,
/// but at most the last `capacity` are: a subscriber that falls behind loses the oldest
/// ones, and its next `get` says how many, with [`Error::lagged`](crate::Error::lagged).
///
/// It is a handle that is cloned for everyone who sends. When the last one is dropped the
/// channel is closed, for nobody could send any more.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Broadcast;
///
/// let news = Broadcast::new(16);
/// let readers: Vec<_> = (0..3)
///     .map(|_| {
///         let mut news = news.subscribe();
///         greenloop::spawn(move || (news.get().unwrap(), news.get().unwrap()))
///     })
///     .collect();
/// news.send("hello")?;
/// news.send("world")?;
/// for reader in readers {
///     assert_eq!(reader.join().unwrap(), ("hello", "world"));
/// }
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none; a list of queues, or an `Event` that is set and cleared.
pub struct Broadcast<T> {
    sender: Arc<Sender<T>>,
}

/// What all handles of the sending side share; the channel is closed with it.
struct Sender<T>(Arc<Mutex<State<T>>>);

/// The receiving side of one listener. Dropping it ends the subscription.
///
/// gevent: none.
pub struct Subscriber<T> {
    state: Arc<Mutex<State<T>>>,
    /// The number of the message that comes next.
    next: u64,
}

impl<T> Broadcast<T> {
    /// A channel that keeps at most `capacity` messages, without subscribers.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a broadcast channel keeps at least a message");
        let state = Arc::new(Mutex::new(State::new(capacity)));
        Self {
            sender: Arc::new(Sender(state)),
        }
    }

    /// Sends `message` to all who are subscribed now, and tells how many they are. Without
    /// any it is dropped.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// Closed; the message comes back in the error.
    ///
    /// # Examples
    ///
    /// A slow subscriber is told what it lost:
    ///
    /// ```
    /// use greenloop::sync::Broadcast;
    ///
    /// let ticks = Broadcast::new(2);
    /// let mut slow = ticks.subscribe();
    /// for n in 0..5 {
    ///     assert_eq!(ticks.send(n)?, 1);
    /// }
    /// assert_eq!(slow.get().unwrap_err().lagged(), Some(3));
    /// assert_eq!((slow.get()?, slow.get()?), (3, 4));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn send(&self, message: T) -> Result<usize, PutError<T>> {
        // What falls out of the ring is dropped after the guard.
        let _lost;
        let mut state = lock(&self.sender.0);
        if state.closed {
            return Err(PutError::new(message, closed()));
        }
        if state.subscribers > 0 {
            _lost = state.append(Arc::new(message));
        }
        // Otherwise dropped as a parameter is, after the guard.
        Ok(state.subscribers)
    }

    /// Listens from now on.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Broadcast;
    ///
    /// let news = Broadcast::new(8);
    /// news.send("early")?; // to nobody
    /// let mut reader = news.subscribe();
    /// news.send("late")?;
    /// assert_eq!(reader.get()?, "late");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn subscribe(&self) -> Subscriber<T> {
        let state = self.sender.0.clone();
        let next = {
            let mut state = lock(&state);
            state.subscribers += 1;
            state.end()
        };
        Subscriber { state, next }
    }

    /// Takes no more messages; subscribers get those that are there and are then told that
    /// the channel is closed.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Broadcast;
    ///
    /// let news = Broadcast::new(8);
    /// let mut reader = news.subscribe();
    /// news.send("last")?;
    /// news.close();
    /// assert_eq!(news.send("too late").unwrap_err().into_item(), "too late");
    /// assert_eq!(reader.get()?, "last");
    /// assert!(reader.get().unwrap_err().is_closed());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn close(&self) {
        lock(&self.sender.0).close();
    }

    /// Tells whether [`Broadcast::close`] was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.sender.0).closed
    }

    /// The number of subscribers.
    pub fn subscribers(&self) -> usize {
        lock(&self.sender.0).subscribers
    }

    /// The number of messages that are kept for subscribers that have not got them.
    pub fn len(&self) -> usize {
        lock(&self.sender.0).ring.len()
    }

    /// Tells whether every subscriber has got every message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        lock(&self.0).close();
    }
}

impl<T: Clone> Subscriber<T> {
    /// The next message, waiting for one as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// [`Error::lagged`](crate::Error::lagged), when messages were lost since the last call:
    /// the next call gives the oldest one that is left. Cancelled, when the greenlet was
    /// killed; timeout, when a [`Timeout`](crate::Timeout) passed; closed, when the channel
    /// is and there is no message left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Broadcast;
    ///
    /// let news = Broadcast::new(8);
    /// let mut reader = news.subscribe();
    /// let got = greenloop::spawn(move || reader.get());
    /// news.send("hello")?;
    /// assert_eq!(got.join().unwrap()?, "hello");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn get(&mut self) -> Result<T> {
        self.get_deadline(Deadline::NEVER)
    }

    /// The next message if there is one.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// [`Error::lagged`](crate::Error::lagged) or closed, as [`Subscriber::get`].
    pub fn try_get(&mut self) -> Result<Option<T>> {
        let look = lock(&self.state).read(&mut self.next);
        look.transpose().map(|message| message.map(own))
    }

    /// The next message, waiting at most `limit` for one to arrive.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Subscriber::get`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn get_timeout(&mut self, limit: Duration) -> Result<T> {
        self.get_deadline(Deadline::after(limit))
    }

    /// The next message, waiting for one to arrive until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Subscriber::get`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn get_deadline(&mut self, limit: Deadline) -> Result<T> {
        begin()?;
        let next = &mut self.next;
        let message = wait_for(
            &self.state,
            |state| &mut state.line,
            Wait::Broadcast,
            limit,
            |state| state.read(next),
        )?;
        message.map(own)
    }

    /// Gets one message after the other, until the channel is closed. Lost messages show up
    /// as errors in their place.
    ///
    /// A kill, or the end of a [`Timeout`](crate::Timeout), is the last item.
    ///
    /// # Switching
    /// Each step may switch to other greenlets.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Broadcast;
    ///
    /// let ticks = Broadcast::new(2);
    /// let mut slow = ticks.subscribe();
    /// for n in 0..5 {
    ///     ticks.send(n)?;
    /// }
    /// drop(ticks);
    /// let got: Vec<_> = slow.iter().map(|n| n.map_err(|e| e.lagged())).collect();
    /// assert_eq!(got, [Err(Some(3)), Ok(3), Ok(4)]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn iter(&mut self) -> SubscriberIter<'_, T> {
        SubscriberIter(Some(self))
    }
}

impl<T> Drop for Subscriber<T> {
    fn drop(&mut self) {
        // Dropped after the guard.
        let _unwanted = lock(&self.state).forget(self.next);
    }
}

/// A subscriber's own copy; the last one to ask gets the message itself.
fn own<T: Clone>(message: Arc<T>) -> T {
    Arc::try_unwrap(message).unwrap_or_else(|message| T::clone(&message))
}

/// The messages of a subscriber as they come; see [`Subscriber::iter`].
#[must_use = "nothing is taken until it is asked"]
#[derive(Debug)]
pub struct SubscriberIter<'a, T>(Option<&'a mut Subscriber<T>>);

impl<T: Clone> Iterator for SubscriberIter<'_, T> {
    type Item = Result<T>;

    #[track_caller]
    fn next(&mut self) -> Option<Result<T>> {
        let message = self.0.as_mut()?.get();
        if let Err(error) = &message {
            if error.lagged().is_none() {
                self.0 = None;
            }
            if error.is_closed() {
                return None;
            }
        }
        Some(message)
    }
}

impl<T: Clone> std::iter::FusedIterator for SubscriberIter<'_, T> {}

/// Ready when there is a message to get, or lost ones to be told of, or the channel is
/// closed.
impl<T> Waitable for Subscriber<T> {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_ready = self.next < state.end() || state.closed;
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lock(&self.sender.0).describe(f, "Broadcast")
    }
}

impl<T> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lock(&self.state).describe(f, "Subscriber")
    }
}
