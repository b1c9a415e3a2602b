//! The engine, as far as `park` names it: what `may` 0.3.51 does with a token, step by
//! step and with its memory orderings.
//!
//! The models say `extern crate self as may`, so `may::sync::Blocker` is this one.

use std::time::Duration;

use crate::util::sync::atomic::{AtomicBool, Ordering};
use crate::util::sync::{Condvar, Mutex};

/// `may::sync::Blocker`.
pub(crate) enum Blocker {
    Coroutine(Park),
    Thread(ThreadPark),
}

/// `may::park::Park`: one token, and the coroutine that waits for it.
pub(crate) struct Park {
    state: AtomicBool,
    /// `wait_co`: whether a stopped coroutine lies there. The engine swaps a pointer; the
    /// lock stands for that, and for the scheduler which runs what was taken out.
    stopped: Mutex<bool>,
    runs: Condvar,
}

/// `may::sync::blocking::ThreadPark`.
pub(crate) struct ThreadPark {
    token: Mutex<bool>,
    left: Condvar,
}

impl Blocker {
    pub(crate) fn new(_ignore_cancel: bool) -> Self {
        if coroutine::is_coroutine() {
            Self::Coroutine(Park {
                state: AtomicBool::new(false),
                stopped: Mutex::new(false),
                runs: Condvar::new(),
            })
        } else {
            Self::Thread(ThreadPark {
                token: Mutex::new(false),
                left: Condvar::new(),
            })
        }
    }

    pub(crate) fn park(&self, limit: Option<Duration>) -> Result<(), ()> {
        assert!(limit.is_none(), "the engine's timeouts are not used");
        match self {
            Self::Coroutine(park) => park.park(),
            Self::Thread(park) => park.park(),
        }
        Ok(())
    }

    pub(crate) fn unpark(&self) {
        match self {
            Self::Coroutine(park) => park.unpark(),
            Self::Thread(park) => park.unpark(),
        }
    }
}

impl Park {
    /// `Park::check_park`: a load and a plain store where a token is there.
    fn check(&self) -> bool {
        if self.state.load(Ordering::Acquire) {
            self.state.store(false, Ordering::Release);
            return false;
        }
        !self.state.swap(false, Ordering::AcqRel)
    }

    fn park(&self) {
        if !self.check() {
            return;
        }
        self.subscribe();
        self.check();
    }

    /// `Park::subscribe`: files the coroutine away, then looks at the token again.
    fn subscribe(&self) {
        let mut stopped = self.stopped.lock().unwrap();
        *stopped = true;
        if self.state.load(Ordering::Acquire) {
            *stopped = false;
        }
        while *stopped {
            stopped = self.runs.wait(stopped).unwrap();
        }
    }

    fn unpark(&self) {
        if !self.state.swap(true, Ordering::AcqRel) {
            let mut stopped = self.stopped.lock().unwrap();
            if *stopped {
                *stopped = false;
                self.runs.notify_one();
            }
        }
    }
}

impl ThreadPark {
    fn park(&self) {
        let mut token = self.token.lock().unwrap();
        while !*token {
            token = self.left.wait(token).unwrap();
        }
        *token = false;
    }

    fn unpark(&self) {
        let mut token = self.token.lock().unwrap();
        if !*token {
            *token = true;
            self.left.notify_one();
        }
    }
}

/// `may::coroutine`.
pub(crate) mod coroutine {
    use std::cell::Cell;

    crate::util::sync::thread_local! {
        static IS_COROUTINE: Cell<bool> = Cell::new(false);
    }

    pub(crate) fn is_coroutine() -> bool {
        IS_COROUTINE.with(Cell::get)
    }

    /// Makes the calling thread of the model a coroutine from now on.
    pub(crate) fn begin() {
        IS_COROUTINE.with(|is| is.set(true));
    }

    /// Runs `f` as something that may wake coroutines.
    pub(crate) fn as_worker(f: impl FnOnce()) {
        let before = IS_COROUTINE.with(|is| is.replace(true));
        f();
        IS_COROUTINE.with(|is| is.set(before));
    }

    pub(crate) fn yield_now() {
        crate::util::sync::thread::yield_now();
    }
}
