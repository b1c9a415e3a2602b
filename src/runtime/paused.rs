//! Greenlets that were made and not started.

use std::fmt;
use std::ops::Deref;

use crate::runtime::greenlet::{Greenlet, Handle};

/// A greenlet that begins when it is told to; see
/// [`Builder::paused`](crate::Builder::paused).
///
/// Links can be added and handles given away before. Killed, or dropped without having
/// been started, it never runs, and those who wait for it see it killed.
#[must_use = "dropped without a start, it is killed"]
pub struct Paused<T>(Greenlet<T>);

impl<T> Paused<T> {
    pub(crate) fn new(greenlet: Greenlet<T>) -> Self {
        Self(greenlet)
    }

    /// Starts it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let paused = greenloop::Builder::new().paused(|| ())?;
    /// paused.on_ok(move || tell.send("ended").unwrap()); // nothing can be missed
    /// paused.start();
    /// assert_eq!(told.recv().unwrap(), "ended");
    /// # Ok::<(), greenloop::SpawnError>(())
    /// ```
    ///
    /// gevent: `Greenlet.start()`; a second one does nothing there and cannot be written
    /// here.
    pub fn start(self) -> Greenlet<T> {
        self.0.task().begin();
        self.0.share()
    }
}

/// What can be asked of a handle can be asked before the start.
impl<T> Deref for Paused<T> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0
    }
}

impl<T> Drop for Paused<T> {
    fn drop(&mut self) {
        if !self.is_started() {
            self.kill();
        }
    }
}

impl<T> fmt::Debug for Paused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Paused({})", self.task().title())
    }
}
