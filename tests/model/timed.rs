//! shuttle's lock and condition variable, with time: a wait for a near moment takes until
//! then, one for a far moment lasts until it is notified.

use std::ops::{Deref, DerefMut};
use std::sync::LockResult;
use std::time::Duration;

use crate::runtime::clock;

/// Deadlines from here on never come; those before can come at any moment.
pub(crate) const FAR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    /// `None` only while a condition variable has it.
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
}

pub(crate) struct Condvar(shuttle::sync::Condvar);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(MutexGuard {
            held: Some(self.0.lock().unwrap()),
            mutex: self,
        })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("held")
    }
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    pub(crate) fn wait<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
    ) -> LockResult<MutexGuard<'a, T>> {
        let held = guard.held.take().expect("held");
        guard.held = Some(self.0.wait(held).unwrap());
        Ok(guard)
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        if limit >= FAR {
            return Ok((self.wait(guard).unwrap(), ()));
        }
        let end = clock::after(limit);
        let mutex = guard.mutex;
        drop(guard);
        // Whoever is to come first preempts here.
        clock::pass_until(end);
        Ok((mutex.lock().unwrap(), ()))
    }

    pub(crate) fn notify_one(&self) {
        if !crate::WITHOUT_NOTES.get() {
            self.0.notify_one();
        }
    }
}
