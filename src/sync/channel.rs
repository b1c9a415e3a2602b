//! A hand-over in which both sides meet.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, Unparker};
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
use crate::sync::queue::PutError;
use crate::sync::waiters::{Waiters, begin};
use crate::util::lock;

/// A queue without room: a `put` returns only after a `get` has taken its item.
///
/// Waiters on both sides are served first come, first served. An item is never lost: a
/// getter that is killed or whose limit passes takes none, a putter either knows that its
/// item was taken or gets it back.
///
/// It is a handle that is cloned for everyone who uses it, on either side. Nothing ends by
/// dropping one: say [`Channel::close`].
///
/// # Examples
///
/// ```
/// use greenloop::sync::Channel;
///
/// let channel = Channel::new();
/// let other = {
///     let channel = channel.clone();
///     greenloop::spawn(move || channel.iter().collect::<Vec<_>>())
/// };
/// channel.put("hello")?; // it was taken
/// channel.put("world")?;
/// channel.close();
/// assert_eq!(other.join().unwrap(), ["hello", "world"]);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.queue.Channel`, which has no `close`. There it is both empty and full at
/// all times; here these questions are not asked.
pub struct Channel<T> {
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    closed: bool,
    /// Waiting with empty slots; only while nobody puts.
    getters: Waiters<Handed<T>>,
    /// Waiting with full slots; only while nobody gets.
    putters: Waiters<T>,
    watchers: Watchers,
}

/// What a getter that waited finds.
struct Handed<T> {
    item: T,
    /// Waits until the getter has it.
    giver: Option<Unparker>,
}

impl<T> Channel<T> {
    /// A channel that nobody waits at.
    pub fn new() -> Self {
        let state = State {
            closed: false,
            getters: Waiters::new(),
            putters: Waiters::new(),
            watchers: Watchers::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Hands `item` over, waiting for someone to take it as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; closed, when the channel is. The item comes back
    /// in the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Channel;
    ///
    /// let channel = Channel::new();
    /// let taker = {
    ///     let channel = channel.clone();
    ///     greenloop::spawn(move || channel.get())
    /// };
    /// channel.put("item")?; // comes back when it was taken
    /// assert_eq!(taker.join().unwrap()?, "item");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Channel.put(item)`.
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::NEVER)
    }

    /// Hands `item` to someone who waits for one already.
    ///
    /// # Switching
    /// Never switches: when it returns, the getter is sure to have the item but may not
    /// have run yet.
    ///
    /// # Errors
    /// [`PutError::is_full`], when nobody waits, or closed; the item comes back in the
    /// error.
    ///
    /// gevent: `Channel.put_nowait(item)`, which raises `Full`.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PutError::new(item, closed()));
        }
        state.hand(item, None).map_err(|item| {
            let full = ErrorKind::Limit("nobody waits at the channel".into());
            PutError::new(item, Error::new(full))
        })
    }

    /// Hands `item` over, waiting at most `limit` for someone to take it.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Channel::put`]; timeout also when `limit` passed.
    ///
    /// gevent: `Channel.put(item, timeout=limit)`, which raises `Full`.
    #[track_caller]
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), PutError<T>> {
        self.put_deadline(item, Deadline::after(limit))
    }

    /// Hands `item` over, waiting until `limit` for someone to take it.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Channel::put`]; timeout also when `limit` passed. Someone who waits gets the
    /// item even if `limit` has passed already.
    #[track_caller]
    pub fn put_deadline(&self, item: T, limit: Deadline) -> Result<(), PutError<T>> {
        if let Err(error) = begin() {
            return Err(PutError::new(item, error));
        }
        let parker = Parker::new();
        let place = {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(PutError::new(item, closed()));
            }
            match state.hand(item, Some(parker.unparker())) {
                Ok(()) => None,
                Err(item) => {
                    let place = state.putters.join(&parker, Some(item));
                    state.watchers.tell_all();
                    Some(place)
                }
            }
        };
        let waited = parker.park(Wait::Channel, limit);
        // Without a place the item is in the hands of a getter that is about to run: a kill
        // or a limit in this moment changes nothing about that.
        let left = place.and_then(|place| lock(&self.state).putters.leave(&place));
        match left {
            None => Ok(()),
            Some(item) => {
                let error = waited.err().unwrap_or_else(closed);
                Err(PutError::new(item, error))
            }
        }
    }

    /// Takes an item, waiting for someone to put one as long as it takes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed; closed, when the channel is.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Channel;
    ///
    /// let channel = Channel::new();
    /// let putter = {
    ///     let channel = channel.clone();
    ///     greenloop::spawn(move || channel.put("item").is_ok())
    /// };
    /// assert_eq!(channel.get()?, "item");
    /// assert!(putter.join().unwrap());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Channel.get()`.
    #[track_caller]
    pub fn get(&self) -> Result<T> {
        self.get_deadline(Deadline::NEVER)
    }

    /// Takes the item of the first one that waits to put.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// Closed, when the channel is.
    ///
    /// gevent: `Channel.get_nowait()`, which raises `Empty`.
    pub fn try_get(&self) -> Result<Option<T>> {
        lock(&self.state).receive()
    }

    /// Takes an item, waiting at most `limit` for someone to put one.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Channel::get`]; timeout also when `limit` passed.
    ///
    /// gevent: `Channel.get(timeout=limit)`, which raises `Empty`.
    #[track_caller]
    pub fn get_timeout(&self, limit: Duration) -> Result<T> {
        self.get_deadline(Deadline::after(limit))
    }

    /// Takes an item, waiting until `limit` for someone to put one.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Channel::get`]; timeout also when `limit` passed. An item that is there is
    /// taken even if `limit` has passed already.
    #[track_caller]
    pub fn get_deadline(&self, limit: Deadline) -> Result<T> {
        begin()?;
        let (parker, place) = {
            let mut state = lock(&self.state);
            if let Some(item) = state.receive()? {
                return Ok(item);
            }
            let parker = Parker::new();
            let place = state.getters.join(&parker, None);
            (parker, place)
        };
        let waited = parker.park(Wait::Channel, limit);
        let got = lock(&self.state).getters.leave(&place);
        match (waited, got) {
            (_, Some(Handed { item, giver })) => {
                if let Some(giver) = giver {
                    giver.unpark();
                }
                Ok(item)
            }
            (Ok(()), None) => Err(closed()),
            (Err(error), None) => Err(error),
        }
    }

    /// Takes one item after the other, until the channel is closed.
    ///
    /// A kill, or the end of a [`Timeout`](crate::Timeout), ends the loop as well: the next
    /// call that waits reports it.
    ///
    /// # Switching
    /// Each step may switch to other greenlets.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Channel;
    ///
    /// let channel = Channel::new();
    /// let source = channel.clone();
    /// greenloop::spawn(move || {
    ///     for n in 1..=3 {
    ///         source.put(n)?;
    ///     }
    ///     source.close();
    ///     Ok::<_, greenloop::Error>(())
    /// });
    /// assert_eq!(channel.iter().sum::<i32>(), 6);
    /// ```
    ///
    /// gevent: `for item in channel`, which ends at an item that is `StopIteration`.
    pub fn iter(&self) -> ChannelIter<'_, T> {
        ChannelIter(Some(self))
    }

    /// Ends all hand-overs: putters, also those who wait, get their items back, getters are
    /// told that the channel is closed.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Channel;
    ///
    /// let channel = Channel::new();
    /// let putter = {
    ///     let channel = channel.clone();
    ///     greenloop::spawn(move || channel.put("item"))
    /// };
    /// channel.close();
    /// let refused = putter.join().unwrap().unwrap_err();
    /// assert_eq!(refused.into_item(), "item");
    /// assert!(channel.get().unwrap_err().is_closed());
    /// ```
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.getters.dismiss();
        state.putters.dismiss();
        state.watchers.tell_all();
    }

    /// Tells whether [`Channel::close`] was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// How many more wait to put than to get; negative if more wait to get.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Channel;
    ///
    /// let channel = Channel::<()>::new();
    /// assert_eq!(channel.balance(), 0);
    /// ```
    ///
    /// gevent: `Channel.balance`.
    pub fn balance(&self) -> isize {
        let state = lock(&self.state);
        state.putters.len().cast_signed() - state.getters.len().cast_signed()
    }
}

impl<T> State<T> {
    /// Hands `item` to the first getter that waits; back if there is none.
    fn hand(&mut self, item: T, giver: Option<Unparker>) -> Result<(), T> {
        let handed = self.getters.give(Handed { item, giver });
        handed.map_err(|handed| handed.item)
    }

    /// Takes the first waiting putter's item.
    fn receive(&mut self) -> Result<Option<T>> {
        if self.closed {
            return Err(closed());
        }
        Ok(self.putters.receive())
    }
}

/// The items of a channel as they come; see [`Channel::iter`].
#[must_use = "nothing is taken until it is asked"]
#[derive(Debug)]
pub struct ChannelIter<'a, T>(Option<&'a Channel<T>>);

impl<T> Iterator for ChannelIter<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        let item = self.0?.get().ok();
        if item.is_none() {
            self.0 = None;
        }
        item
    }
}

impl<T> FusedIterator for ChannelIter<'_, T> {}

impl<'a, T> IntoIterator for &'a Channel<T> {
    type Item = T;
    type IntoIter = ChannelIter<'a, T>;

    fn into_iter(self) -> ChannelIter<'a, T> {
        self.iter()
    }
}

/// Ready when someone waits to put, or the channel is closed.
impl<T> Waitable for Channel<T> {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.state);
        let is_ready = state.putters.len() > 0 || state.closed;
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.state).watchers.remove(id);
    }
}

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Channel")
            .field("getting", &state.getters.len())
            .field("putting", &state.putters.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed("channel"))
}
