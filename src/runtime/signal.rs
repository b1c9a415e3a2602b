//! Signals as values: a greenlet waits for one as for anything else, or is started by one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use signal_hook::consts::SIGQUIT;
use signal_hook::iterator::{Handle as SignalHandle, Signals as SignalIterator};

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::dump;
use crate::runtime::park::{self, WaitList, wait_for};
use crate::runtime::procfs;
use crate::runtime::reason::Wait;
use crate::runtime::spawn::{Builder, start_if_needed};
use crate::runtime::threads::OwnThread;
use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
use crate::util::{discard, lock};

pub use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

/// Signals that the process gets from now on, as values.
///
/// While it lives, the signals named no longer do what they do by default (end the
/// process, mostly). Several can watch the same signal; each gets it. When the last one is
/// dropped, the signal has its default effect again.
///
/// # Examples
///
/// ```
/// use greenloop::signal::{SIGUSR1, Signals};
///
/// let signals = Signals::new(&[SIGUSR1])?;
/// # signal_hook::low_level::raise(SIGUSR1)?;
/// assert_eq!(signals.wait()?, SIGUSR1);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none; [`on`] is its `signal_handler`.
pub struct Signals(Arc<Inbox>);

/// Keeps a handler installed that [`on`] has installed.
#[must_use = "the handler is installed as long as this lives"]
pub struct Guard(Arc<Inbox>);

struct Inbox {
    signals: Vec<i32>,
    state: Mutex<State>,
    handler: Option<Arc<Handler>>,
}

struct Handler {
    /// `None` only while it is dropped.
    run: Option<Box<dyn Fn(i32) + Send + Sync>>,
    /// Its guard is dropped.
    closed: AtomicBool,
    /// For each signal, whether a greenlet was started for it that does not run yet.
    pending: Vec<AtomicBool>,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<i32>,
    waiters: WaitList,
    watchers: Watchers,
}

impl Signals {
    /// Watches `signals`.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// A number that is no signal, or one that cannot be caught (SIGKILL, SIGSTOP, and the
    /// faults such as SIGSEGV).
    pub fn new(signals: &[i32]) -> Result<Self> {
        Inbox::open(signals, None).map(Self)
    }

    /// Waits for the next one and gives its number.
    ///
    /// # Switching
    /// May switch to other greenlets, unless one has arrived.
    ///
    /// # Errors
    /// The caller was killed or timed out. A signal that arrives then stays for the next
    /// call.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::signal::{SIGHUP, SIGUSR1, Signals};
    ///
    /// let signals = Signals::new(&[SIGHUP, SIGUSR1])?;
    /// let waiter = greenloop::spawn({
    ///     let signals = Signals::new(&[SIGUSR1])?;
    ///     move || signals.wait()
    /// });
    /// # signal_hook::low_level::raise(SIGUSR1)?;
    /// assert_eq!(signals.wait()?, SIGUSR1);
    /// assert_eq!(waiter.join().unwrap()?, SIGUSR1); // each gets it
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<i32> {
        self.next(Deadline::NEVER)
    }

    /// Waits at most `limit` for the next one; `None` if none came.
    ///
    /// # Switching
    /// May switch to other greenlets, unless one has arrived.
    ///
    /// # Errors
    /// As [`Signals::wait`]; `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::signal::{SIGUSR2, Signals};
    /// use std::time::Duration;
    ///
    /// let signals = Signals::new(&[SIGUSR2])?;
    /// assert_eq!(signals.wait_timeout(Duration::from_millis(2))?, None);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<i32>> {
        self.wait_deadline(Deadline::after(limit))
    }

    /// Waits until `limit` for the next one; `None` if none came.
    ///
    /// # Switching
    /// May switch to other greenlets, unless one has arrived.
    ///
    /// # Errors
    /// As [`Signals::wait_timeout`].
    #[track_caller]
    pub fn wait_deadline(&self, limit: Deadline) -> Result<Option<i32>> {
        match self.next(limit) {
            Ok(signal) => Ok(Some(signal)),
            Err(e) if e.is_own_limit() => Ok(None),
            Err(e) => Err(e),
        }
    }

    #[track_caller]
    fn next(&self, limit: Deadline) -> Result<i32> {
        park::check(Deadline::NEVER)?;
        wait_for(
            &self.0.state,
            |state| &mut state.waiters,
            Wait::Signal,
            limit,
            |state| state.arrived.pop_front(),
        )
    }

    /// The next one if it has arrived.
    ///
    /// # Switching
    /// Never switches.
    pub fn try_wait(&self) -> Option<i32> {
        lock(&self.0.state).arrived.pop_front()
    }
}

/// Has each of `signals` run `handler` in a new greenlet, until the guard is dropped.
///
/// The handler may wait, and stays installed: the next signal starts it again, beside one
/// that still runs (so that a second Ctrl-C gets through). Like the system, signals of one
/// kind that arrive before their handler has begun count as one. A panic in it is reported
/// as every greenlet's, and changes nothing. When the guard is dropped, no further one
/// begins; those that run go on.
///
/// While the guard lives, the signals no longer do what they do by default, as with
/// [`Signals`].
///
/// # Switching
/// Never switches.
///
/// # Errors
/// As [`Signals::new`].
///
/// # Examples
///
/// ```
/// use greenloop::signal::{self, SIGHUP};
/// use greenloop::sync::Queue;
///
/// let reloads = Queue::unbounded();
/// let told = reloads.clone();
/// let guard = signal::on(&[SIGHUP], move |signal| told.put(signal).unwrap())?;
/// # signal_hook::low_level::raise(SIGHUP)?;
/// assert_eq!(reloads.get()?, SIGHUP);
/// drop(guard);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.signal_handler(signal, f)`, whose `cancel` is the guard's drop.
pub fn on(signals: &[i32], handler: impl Fn(i32) + Send + Sync + 'static) -> Result<Guard> {
    // Not only when the first signal comes, where nobody would hear that it cannot.
    start_if_needed()?;
    let handler = Handler {
        run: Some(Box::new(handler)),
        closed: AtomicBool::new(false),
        pending: signals.iter().map(|_| AtomicBool::new(false)).collect(),
    };
    Inbox::open(signals, Some(Arc::new(handler))).map(Guard)
}

impl Drop for Guard {
    /// Not left to the last reference: the receiving thread may just hold one.
    fn drop(&mut self) {
        if let Some(handler) = &self.0.handler {
            handler.closed.store(true, Ordering::SeqCst);
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Guard").field(&self.0.signals).finish()
    }
}

impl Inbox {
    fn open(signals: &[i32], handler: Option<Arc<Handler>>) -> Result<Arc<Self>> {
        let watch = watch()?;
        for &signal in signals {
            if signal_hook::consts::FORBIDDEN.contains(&signal) {
                return Err(Error::message(format!("signal {signal} cannot be caught")));
            }
            let added = watch.handle.add_signal(signal);
            added.map_err(|e| Error::from(e).context(format!("watching signal {signal}")))?;
        }
        let inbox = Arc::new(Self {
            signals: signals.to_vec(),
            state: Mutex::default(),
            handler,
        });
        let mut inboxes = lock(&watch.inboxes);
        // Here as well as at a delivery, which may never come.
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.push(Arc::downgrade(&inbox));
        Ok(inbox)
    }

    /// Takes a signal in, if it is one of ours.
    fn receive(&self, signal: i32) -> bool {
        let Some(place) = self.signals.iter().position(|s| *s == signal) else {
            return false;
        };
        if let Some(handler) = &self.handler {
            return handler.receive(place, signal);
        }
        let mut state = lock(&self.state);
        if !state.arrived.contains(&signal) {
            state.arrived.push_back(signal);
        }
        state.waiters.wake_one();
        state.watchers.tell_all();
        true
    }
}

impl Handler {
    /// Starts a greenlet for a signal that has arrived. False if the guard is gone.
    fn receive(self: &Arc<Self>, place: usize, signal: i32) -> bool {
        if self.closed.load(Ordering::SeqCst) {
            return false;
        }
        // A flood of one signal is one signal, as in the kernel.
        if self.pending[place].swap(true, Ordering::SeqCst) {
            return true;
        }
        let own = self.clone();
        let greenlet = Builder::new().name(format!("signal {signal}"));
        let started = greenlet.try_spawn(move || own.handle(place, signal));
        if let Err(error) = started {
            log::error!("the handler of signal {signal} cannot run: {error}");
            self.pending[place].store(false, Ordering::SeqCst);
        }
        true
    }

    fn handle(&self, place: usize, signal: i32) {
        self.pending[place].store(false, Ordering::SeqCst);
        // The guard may have been dropped by now.
        if let Some(run) = &self.run
            && !self.closed.load(Ordering::SeqCst)
        {
            run(signal);
        }
    }
}

impl Drop for Handler {
    /// On the thread that receives signals, perhaps.
    fn drop(&mut self) {
        discard(self.run.take());
    }
}

/// Ready when a signal has arrived and was not taken yet.
impl Waitable for Signals {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.0.state);
        let is_ready = !state.arrived.is_empty();
        state.watchers.add(watcher, is_ready)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.0.state).watchers.remove(id);
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signals").field(&self.0.signals).finish()
    }
}

/// The one thread that receives signals, and whom it tells.
struct Watch {
    handle: SignalHandle,
    inboxes: Mutex<Vec<Weak<Inbox>>>,
    dump: AtomicBool,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

fn watch() -> Result<&'static Watch> {
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = lock(&STARTING);
    if let Some(watch) = WATCH.get() {
        return Ok(watch);
    }
    let mut signals = SignalIterator::new(std::iter::empty::<i32>())?;
    let watch = WATCH.get_or_init(|| Watch {
        handle: signals.handle(),
        inboxes: Mutex::default(),
        dump: false.into(),
    });
    std::thread::Builder::new()
        .name("greenloop-signal".into())
        .spawn(move || {
            let thread = OwnThread::enlist();
            thread.set_idle(true);
            for signal in signals.forever() {
                watch.deliver(signal);
            }
        })?;
    Ok(watch)
}

impl Watch {
    fn deliver(&self, signal: i32) {
        let inboxes: Vec<_> = {
            let mut inboxes = lock(&self.inboxes);
            inboxes.retain(|inbox| inbox.strong_count() > 0);
            inboxes.iter().filter_map(Weak::upgrade).collect()
        };
        let mut taken = false;
        for inbox in &inboxes {
            taken |= inbox.receive(signal);
        }
        if taken {
            return;
        }
        if signal == SIGQUIT && self.dump.load(Ordering::Relaxed) {
            dump::dump_to_stderr();
        } else {
            end_by(signal);
        }
    }
}

/// Does what a signal does by default: for most of them, ends the process, so that who
/// waits for it sees that a signal ended it. Returns if that is to do nothing.
pub(crate) fn end_by(signal: i32) {
    if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
        log::error!("signal {signal}: {error}");
    }
}

/// Those of `signals` that the process was not started to ignore, as nohup(1) and shells
/// without job control start one.
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command asks"))]
pub(crate) fn not_ignored(signals: &[i32]) -> Vec<i32> {
    let heard = |signal: &&i32| !procfs::is_ignored(**signal);
    signals.iter().filter(heard).copied().collect()
}

/// Tells whether somebody watches a signal.
pub(crate) fn is_any_watched() -> bool {
    let inboxes = WATCH.get().map(|watch| lock(&watch.inboxes));
    inboxes.is_some_and(|inboxes| inboxes.iter().any(|inbox| inbox.strong_count() > 0))
}

/// Has SIGQUIT write all greenlets to standard error.
pub(crate) fn dump_on_sigquit() -> Result<()> {
    let watch = watch()?;
    watch.dump.store(true, Ordering::Relaxed);
    watch.handle.add_signal(SIGQUIT)?;
    Ok(())
}
