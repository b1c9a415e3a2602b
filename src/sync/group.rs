//! Greenlets that are joined and killed together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Greenlet, Handle, JoinError};
use crate::runtime::reason::Wait;
use crate::runtime::spawn::SpawnError;
use crate::runtime::watch::{Waitable, WatchId, Watcher};
use crate::sync::members::{Members, Place};

/// Any number of greenlets, to be joined and killed together.
///
/// A member leaves by itself when it ends, before anybody who waits for its end goes on: a
/// greenlet that was joined is no member any more. Dropping the group detaches its members;
/// they run on. Where they must not, use a [`scope`](crate::sync::scope()).
///
/// # Examples
///
/// ```
/// use greenloop::sync::{Event, Group};
///
/// let (group, go) = (Group::new(), Event::new());
/// for _ in 0..3 {
///     let go = go.clone();
///     group.spawn(move || go.wait());
/// }
/// assert_eq!(group.len(), 3);
/// go.set();
/// group.join()?;
/// assert!(group.is_empty());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.pool.Group`; its `map` family is on [`Pool`](crate::sync::Pool).
#[derive(Clone)]
pub struct Group {
    members: Arc<Members>,
}

impl Group {
    /// A group without members.
    pub fn new() -> Self {
        Self {
            members: Members::new(usize::MAX, Wait::Group),
        }
    }

    /// Starts `f` in a new greenlet that is a member from its first instruction on.
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
    /// use greenloop::sync::Group;
    ///
    /// let group = Group::new();
    /// let members = [1, 2, 3].map(|n| group.spawn(move || n * n));
    /// group.join()?;
    /// assert_eq!(members.map(|member| member.join().unwrap()), [1, 4, 9]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Group.spawn(f)`.
    #[track_caller]
    pub fn spawn<T, F>(&self, f: F) -> Greenlet<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_spawn(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts `f` in a new greenlet that is a member, or says why it cannot be started.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// As [`try_spawn`](crate::try_spawn).
    #[track_caller]
    pub fn try_spawn<T, F>(&self, f: F) -> Result<Greenlet<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.place().start(f)
    }

    /// Makes a greenlet a member, until it ends or is discarded.
    ///
    /// Nothing happens if it is one, or has ended.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Group;
    ///
    /// let group = Group::new();
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(std::time::Duration::MAX));
    /// group.add(&greenlet);
    /// assert!(group.contains(&greenlet));
    /// group.kill()?;
    /// assert!(greenlet.is_ready());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Group.add(greenlet)`.
    pub fn add(&self, greenlet: &Handle) {
        if !self.members.contains(greenlet) {
            self.place().take(greenlet);
        }
    }

    /// Lets a member go, which runs on; false if it is none.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Group;
    /// use std::time::Duration;
    ///
    /// let group = Group::new();
    /// let members = [0, 1].map(|_| group.spawn(|| greenloop::sleep(Duration::MAX)));
    /// assert!(group.discard(&members[1]));
    /// group.kill()?;
    /// assert!(members[0].is_ready() && !members[1].is_ready());
    /// # members[1].kill();
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Group.discard(greenlet)`.
    pub fn discard(&self, greenlet: &Handle) -> bool {
        self.members.discard(greenlet)
    }

    /// The number of members.
    ///
    /// gevent: `len(group)`.
    pub fn len(&self) -> usize {
        self.members.with(|state| state.taken())
    }

    /// Tells whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether a greenlet is a member.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Group;
    /// use std::time::Duration;
    ///
    /// let group = Group::new();
    /// let member = group.spawn(|| greenloop::sleep(Duration::MAX));
    /// assert!(group.contains(&member));
    /// member.kill_and_wait(None)?;
    /// assert!(!group.contains(&member));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `greenlet in group`.
    pub fn contains(&self, greenlet: &Handle) -> bool {
        self.members.contains(greenlet)
    }

    /// The members at this moment, oldest first.
    ///
    /// gevent: `iter(group)`, which fails if the group changes meanwhile.
    pub fn members(&self) -> Vec<Handle> {
        self.members.handles()
    }

    /// Waits until the group has no members, as long as it takes.
    ///
    /// One moment without members is enough, also if others came since.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out, or is a member itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Group;
    ///
    /// let group = Group::new();
    /// for _ in 0..3 {
    ///     group.spawn(|| greenloop::yield_now());
    /// }
    /// group.join()?;
    /// assert!(group.is_empty());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Group.join()`.
    #[track_caller]
    pub fn join(&self) -> Result<()> {
        self.members.wait_empty(Deadline::NEVER).map(drop)
    }

    /// Waits at most `limit` until the group has no members; false if it always had some.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::join`]; `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Group;
    /// use std::time::Duration;
    ///
    /// let group = Group::new();
    /// let member = group.spawn(|| greenloop::sleep(Duration::MAX));
    /// assert!(!group.join_timeout(Duration::from_millis(2))?);
    /// member.kill_and_wait(None)?;
    /// assert!(group.join_timeout(Duration::ZERO)?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Group.join(timeout=limit)`.
    #[track_caller]
    pub fn join_timeout(&self, limit: Duration) -> Result<bool> {
        self.join_deadline(limit.into())
    }

    /// Waits until the group has no members or `limit` has come; false if it always had
    /// some.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::join`]; `limit` itself is no error.
    #[track_caller]
    pub fn join_deadline(&self, limit: Deadline) -> Result<bool> {
        self.members.wait_empty(limit)
    }

    /// Waits until the group has no members, or for the first of them to fail.
    ///
    /// A member that failed before the call counts, if no call was told of one yet. One
    /// that the group killed has not failed. The others run on; [`Group::kill`] them if
    /// they should not.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The first failure: a panic (its payload is the text), or a kill from outside. Or the
    /// caller was killed or timed out, or is a member itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Group;
    ///
    /// let group = Group::new();
    /// group.spawn(|| greenloop::sleep(std::time::Duration::MAX));
    /// group.spawn(|| panic!("oops"));
    /// let error = group.try_join().unwrap_err();
    /// assert_eq!(error.to_string(), "greenlet panicked: oops");
    /// group.kill()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Group.join(raise_error=True)`, which waits for all first and knows only
    /// those that are members when it is called.
    #[track_caller]
    pub fn try_join(&self) -> Result<(), JoinError> {
        self.members.wait_empty_or_failed()
    }

    /// Kills all members, those that come meanwhile included, and waits until nobody is
    /// left.
    ///
    /// Each is killed once. A member that calls this is killed as well, and learns of it
    /// from this call.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out; the members stay killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Group;
    ///
    /// let group = Group::new();
    /// let members: Vec<_> = (0..3)
    ///     .map(|_| group.spawn(|| greenloop::sleep(std::time::Duration::MAX)))
    ///     .collect();
    /// group.kill()?;
    /// assert!(members.iter().all(|member| member.is_ready()));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Group.kill()`.
    #[track_caller]
    pub fn kill(&self) -> Result<()> {
        self.members.kill(Deadline::NEVER).map(drop)
    }

    /// Like [`Group::kill`], waiting at most `limit`; false if somebody was left.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::kill`]; `limit` itself is no error.
    ///
    /// gevent: `Group.kill(timeout=limit)`.
    #[track_caller]
    pub fn kill_timeout(&self, limit: Duration) -> Result<bool> {
        self.kill_deadline(limit.into())
    }

    /// Like [`Group::kill`], waiting until `limit`; false if somebody was left.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Group::kill`]; `limit` itself is no error.
    #[track_caller]
    pub fn kill_deadline(&self, limit: Deadline) -> Result<bool> {
        self.members.kill(limit)
    }

    fn place(&self) -> Place {
        let place = self.members.try_reserve();
        place.unwrap_or_else(|| unreachable!("a group has no limit"))
    }
}

impl Default for Group {
    fn default() -> Self {
        Self::new()
    }
}

/// Those that are members when it begins.
impl IntoIterator for &Group {
    type Item = Handle;
    type IntoIter = std::vec::IntoIter<Handle>;

    fn into_iter(self) -> Self::IntoIter {
        self.members().into_iter()
    }
}

/// Greenlets from an iterator become members.
impl Extend<Handle> for Group {
    fn extend<I: IntoIterator<Item = Handle>>(&mut self, greenlets: I) {
        greenlets
            .into_iter()
            .for_each(|greenlet| self.add(&greenlet));
    }
}

impl FromIterator<Handle> for Group {
    fn from_iter<I: IntoIterator<Item = Handle>>(greenlets: I) -> Self {
        let mut group = Self::new();
        group.extend(greenlets);
        group
    }
}

/// Ready when it has no members.
impl Waitable for Group {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        self.members.with(|state| {
            let is_ready = state.taken() == 0;
            state.when_empty.add(watcher, is_ready)
        })
    }

    fn unwatch(&self, id: WatchId) {
        self.members.with(|state| state.when_empty.remove(id));
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("len", &self.len()).finish()
    }
}
