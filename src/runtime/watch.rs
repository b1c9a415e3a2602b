//! Waiting for several things at once: what is watched tells a [`Crowd`], which one
//! greenlet waits on.
//!
//! Nothing is taken from what is watched. A watch only says that it was ready at some
//! moment, as gevent's links do; who wants an item or a permit takes it afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, WaitList, current};
use crate::runtime::reason::Wait;
use crate::runtime::relay;
use crate::util::lock;
use crate::util::sync::Mutex;

/// What [`wait_any`](crate::wait_any) and its family can wait for.
///
/// A type of your own becomes waitable by passing both calls on to something inside it
/// that is (an [`Event`](crate::sync::Event), say), or by keeping [`Watchers`].
///
/// # Examples
///
/// ```
/// use greenloop::sync::{Event, WatchId, Waitable, Watcher};
///
/// struct Door {
///     opened: Event,
/// }
///
/// impl Waitable for Door {
///     fn watch(&self, watcher: Watcher) -> Option<WatchId> {
///         self.opened.watch(watcher)
///     }
///     fn unwatch(&self, id: WatchId) {
///         self.opened.unwatch(id);
///     }
/// }
///
/// let door = Door { opened: Event::new() };
/// door.opened.set();
/// assert_eq!(greenloop::wait_any(&[&door])?, 0);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: any object with `rawlink` and `unlink`.
pub trait Waitable {
    /// Has `watcher` told as soon as this is ready: now (then there is no id to take the
    /// watch back by), or later, once.
    fn watch(&self, watcher: Watcher) -> Option<WatchId>;

    /// Takes a watch back. It does not matter if it has been told.
    fn unwatch(&self, id: WatchId);
}

impl<W: Waitable + ?Sized> Waitable for &W {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        (**self).watch(watcher)
    }

    fn unwatch(&self, id: WatchId) {
        (**self).unwatch(id);
    }
}

/// One watch on something [`Waitable`].
pub struct Watcher {
    crowd: Arc<Mutex<State>>,
    index: usize,
}

/// Names a watch, to take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchId(u64);

impl Watcher {
    /// Tells whoever waits that what is watched is ready.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{WatchId, Waitable, Watcher};
    ///
    /// /// Always ready.
    /// struct Now;
    ///
    /// impl Waitable for Now {
    ///     fn watch(&self, watcher: Watcher) -> Option<WatchId> {
    ///         watcher.tell();
    ///         None
    ///     }
    ///
    ///     fn unwatch(&self, _: WatchId) {}
    /// }
    ///
    /// assert_eq!(greenloop::wait_any(&[&Now])?, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn tell(self) {
        let mut crowd = lock(&self.crowd);
        crowd.ready.push_back(self.index);
        crowd.line.wake_one();
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watcher({})", self.index)
    }
}

/// The watches on one thing, in order of arrival.
///
/// ```
/// use greenloop::sync::{WatchId, Waitable, Watcher, Watchers};
/// use std::sync::{Arc, Mutex};
///
/// /// Ready when it has counted down to zero.
/// #[derive(Clone)]
/// struct Countdown(Arc<Mutex<(u32, Watchers)>>);
///
/// impl Countdown {
///     fn tick(&self) {
///         let (left, watchers) = &mut *self.0.lock().unwrap();
///         *left -= 1;
///         if *left == 0 {
///             watchers.tell_all();
///         }
///     }
/// }
///
/// impl Waitable for Countdown {
///     fn watch(&self, watcher: Watcher) -> Option<WatchId> {
///         let (left, watchers) = &mut *self.0.lock().unwrap();
///         watchers.add(watcher, *left == 0)
///     }
///
///     fn unwatch(&self, id: WatchId) {
///         self.0.lock().unwrap().1.remove(id);
///     }
/// }
///
/// let countdown = Countdown(Arc::new(Mutex::new((2, Watchers::new()))));
/// let ticking = countdown.clone();
/// greenloop::spawn(move || (ticking.tick(), ticking.tick()));
/// assert_eq!(greenloop::wait_any(&[&countdown])?, 0);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Watchers {
    list: BTreeMap<u64, Watcher>,
    next: u64,
}

impl Watchers {
    /// None.
    pub const fn new() -> Self {
        Self {
            list: BTreeMap::new(),
            next: 0,
        }
    }

    /// Keeps `watcher` until the next [`Watchers::tell_all`], or tells it now if
    /// `is_ready`: what [`Waitable::watch`] returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{WatchId, Waitable, Watcher, Watchers};
    /// use std::sync::Mutex;
    ///
    /// /// Ready from the start.
    /// struct Open(Mutex<Watchers>);
    ///
    /// impl Waitable for Open {
    ///     fn watch(&self, watcher: Watcher) -> Option<WatchId> {
    ///         self.0.lock().unwrap().add(watcher, true)
    ///     }
    ///
    ///     fn unwatch(&self, id: WatchId) {
    ///         self.0.lock().unwrap().remove(id);
    ///     }
    /// }
    ///
    /// let open = Open(Mutex::new(Watchers::new()));
    /// assert_eq!(greenloop::wait_any(&[&open])?, 0);
    /// assert!(open.0.lock().unwrap().is_empty()); // told, and so not kept
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn add(&mut self, watcher: Watcher, is_ready: bool) -> Option<WatchId> {
        if is_ready {
            watcher.tell();
            return None;
        }
        self.next += 1;
        self.list.insert(self.next, watcher);
        Some(WatchId(self.next))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets a watch.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{WatchId, Waitable, Watcher, Watchers};
    /// use std::sync::Mutex;
    /// use std::time::Duration;
    ///
    /// /// Never ready.
    /// struct Never(Mutex<Watchers>);
    ///
    /// impl Waitable for Never {
    ///     fn watch(&self, watcher: Watcher) -> Option<WatchId> {
    ///         self.0.lock().unwrap().add(watcher, false)
    ///     }
    ///
    ///     fn unwatch(&self, id: WatchId) {
    ///         self.0.lock().unwrap().remove(id);
    ///     }
    /// }
    ///
    /// let never = Never(Mutex::new(Watchers::new()));
    /// assert_eq!(greenloop::wait_any_timeout(&[&never], Duration::from_millis(2))?, None);
    /// assert!(never.0.lock().unwrap().is_empty()); // nothing is left behind
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn remove(&mut self, id: WatchId) {
        self.list.remove(&id.0);
    }

    /// Tells all, in order; they are forgotten with it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::{WatchId, Waitable, Watcher, Watchers};
    /// use std::sync::{Arc, Mutex};
    ///
    /// #[derive(Clone)]
    /// struct Bell(Arc<Mutex<Watchers>>);
    ///
    /// impl Waitable for Bell {
    ///     fn watch(&self, watcher: Watcher) -> Option<WatchId> {
    ///         self.0.lock().unwrap().add(watcher, false)
    ///     }
    ///
    ///     fn unwatch(&self, id: WatchId) {
    ///         self.0.lock().unwrap().remove(id);
    ///     }
    /// }
    ///
    /// let bell = Bell(Arc::new(Mutex::new(Watchers::new())));
    /// let guest = greenloop::spawn({ let bell = bell.clone(); move || greenloop::wait_any(&[&bell]) });
    /// # while bell.0.lock().unwrap().is_empty() { std::thread::yield_now() }
    /// bell.0.lock().unwrap().tell_all(); // who comes later waits for the next time
    /// assert_eq!(guest.join().unwrap()?, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn tell_all(&mut self) {
        if self.list.is_empty() {
            return;
        }
        for (_, watcher) in std::mem::take(&mut self.list) {
            watcher.tell();
        }
    }
}

/// What one greenlet waits for at once. Dropping it takes every watch back.
pub(crate) struct Crowd<W: Waitable> {
    state: Arc<Mutex<State>>,
    /// Those that were not given back yet.
    watched: Vec<Option<(W, Option<WatchId>)>>,
}

#[derive(Default)]
struct State {
    /// The places of those that were told, in that order.
    ready: VecDeque<usize>,
    line: WaitList,
}

impl<W: Waitable> Crowd<W> {
    /// Watches all of `objects`.
    pub(crate) fn new(objects: impl IntoIterator<Item = W>) -> Self {
        let mut crowd = Self {
            state: Arc::default(),
            watched: Vec::new(),
        };
        for (index, object) in objects.into_iter().enumerate() {
            let watcher = Watcher {
                crowd: crowd.state.clone(),
                index,
            };
            // One at a time: if `watch` panics, those before it are taken back.
            let id = object.watch(watcher);
            crowd.watched.push(Some((object, id)));
        }
        crowd
    }

    /// The next one that is ready, and its place.
    ///
    /// # Errors
    /// A kill or a limit came first.
    #[track_caller]
    pub(crate) fn next(&mut self, limit: Deadline) -> Result<(usize, W)> {
        relay::tick(&current());
        loop {
            let next = park::wait_for(
                &self.state,
                |state| &mut state.line,
                Wait::Any,
                limit,
                |state| state.ready.pop_front(),
            )?;
            // A `Waitable` of somebody else's may tell twice.
            if let Some((object, _)) = self.watched[next].take() {
                return Ok((next, object));
            }
        }
    }

    /// How many are watched.
    pub(crate) fn len(&self) -> usize {
        self.watched.len()
    }
}

impl<W: Waitable> Drop for Crowd<W> {
    fn drop(&mut self) {
        for (object, id) in self.watched.iter().flatten() {
            if let Some(id) = id {
                object.unwatch(*id);
            }
        }
    }
}
