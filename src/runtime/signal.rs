//! Signals as values: a greenlet waits for one as for anything else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use signal_hook::consts::SIGQUIT;
use signal_hook::iterator::{Handle as SignalHandle, Signals as SignalIterator};

use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::dump;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::threads::OwnThread;
use crate::runtime::watch::{Waitable, WatchId, Watcher, Watchers};
use crate::util::lock;

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
/// gevent: `gevent.signal_handler(signal, f)`; where that spawns `f`, spawn a greenlet
/// that waits.
pub struct Signals(Arc<Inbox>);

struct Inbox {
    signals: Vec<i32>,
    state: Mutex<State>,
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
        let watch = watch()?;
        for &signal in signals {
            if signal_hook::consts::FORBIDDEN.contains(&signal) {
                return Err(Error::message(format!("signal {signal} cannot be caught")));
            }
            let added = watch.handle.add_signal(signal);
            added.map_err(|e| Error::from(e).context(format!("watching signal {signal}")))?;
        }
        let inbox = Arc::new(Inbox {
            signals: signals.to_vec(),
            state: Mutex::default(),
        });
        let mut inboxes = lock(&watch.inboxes);
        // Here as well as at a delivery, which may never come.
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.push(Arc::downgrade(&inbox));
        Ok(Self(inbox))
    }

    /// Waits for the next one and gives its number.
    ///
    /// # Switching
    /// May switch to other greenlets, unless one has arrived.
    ///
    /// # Errors
    /// The caller was killed or timed out. A signal that arrives then stays for the next
    /// call.
    #[track_caller]
    pub fn wait(&self) -> Result<i32> {
        wait_for(
            &self.0.state,
            |state| &mut state.waiters,
            Wait::Signal,
            Deadline::NEVER,
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
    dump: std::sync::atomic::AtomicBool,
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
        for inbox in inboxes
            .iter()
            .filter(|inbox| inbox.signals.contains(&signal))
        {
            let mut state = lock(&inbox.state);
            // A flood of one signal is one signal, as in the kernel.
            if !state.arrived.contains(&signal) {
                state.arrived.push_back(signal);
            }
            state.waiters.wake_one();
            state.watchers.tell_all();
            taken = true;
        }
        if taken {
            return;
        }
        if signal == SIGQUIT && self.dump.load(std::sync::atomic::Ordering::Relaxed) {
            dump::dump_to_stderr();
        } else if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
            log::error!("signal {signal}: {error}");
        }
    }
}

/// Tells whether somebody watches a signal.
pub(crate) fn is_any_watched() -> bool {
    let inboxes = WATCH.get().map(|watch| lock(&watch.inboxes));
    inboxes.is_some_and(|inboxes| inboxes.iter().any(|inbox| inbox.strong_count() > 0))
}

/// Has SIGQUIT write all greenlets to standard error.
pub(crate) fn dump_on_sigquit() -> Result<()> {
    let watch = watch()?;
    watch.dump.store(true, std::sync::atomic::Ordering::Relaxed);
    watch.handle.add_signal(SIGQUIT)?;
    Ok(())
}
