//! Settings of the engine, and its one start.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{overflow, panic, signal, spawn, threads, timer, watchdog};
use crate::util::lock;

/// How the runtime is set up. It is started once for the whole process: by
/// [`Config::start`], or with the defaults by the first call that needs it. A program that
/// also uses the engine (`may`) by itself starts the runtime first: the engine takes its
/// settings at its first coroutine, and cannot be asked for them.
///
/// # Examples
///
/// ```
/// greenloop::Config::new().workers(2).start()?;
/// assert!(greenloop::Config::new().start().is_err(), "it is already started");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// Everything that can be set:
///
/// ```
/// use std::time::Duration;
///
/// greenloop::Config::new()
///     .workers(4)
///     .pin_workers(false)
///     .stack_bytes(512 << 10)
///     .max_greenlets(10_000)
///     .pool_capacity(1_000)
///     // What looks after the program:
///     .watchdog(true)
///     .max_blocking(Duration::from_millis(50))
///     .stall_backtrace(true)
///     .memory_threshold(2 << 30)
///     .greenlets_threshold(8_000)
///     .memory_period(Duration::from_secs(1))
///     .dump_on_sigquit(true)
///     .abort_on_deadlock(true)
///     .start()?;
/// assert_eq!(greenloop::spawn(|| 42).join().unwrap(), 42);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.config` and the `GEVENT_*` variables.
#[derive(Clone, Debug)]
#[must_use]
pub struct Config {
    workers: usize,
    stack_bytes: usize,
    max_greenlets: Option<usize>,
    pool_capacity: usize,
    pin_workers: bool,
    dump_on_sigquit: bool,
    watch: watchdog::Settings,
}

/// What [`Config::start`] settled.
#[derive(Debug)]
struct Started {
    workers: usize,
    stack_bytes: usize,
    max_greenlets: usize,
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// How the start ended. The engine cannot be started twice, so a failure is for good:
/// without its bells, a runtime would let everybody sleep for ever.
static READY: OnceLock<Result<(), String>> = OnceLock::new();

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            stack_bytes: STACK_BYTES_DEFAULT,
            max_greenlets: None,
            pool_capacity: POOL_CAPACITY_DEFAULT,
            pin_workers: false,
            dump_on_sigquit: true,
            watch: watchdog::Settings::default(),
        }
    }

    /// The number of OS threads that run greenlets. Default: one per available core; at
    /// least 1.
    ///
    /// With one worker only one greenlet runs at a time and their order is deterministic,
    /// as under gevent.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// The stack of a greenlet, in bytes, rounded up to whole pages. Default: 256 KiB.
    ///
    /// It is address space, not memory: a parked greenlet uses the pages it has touched,
    /// about 8 KiB. A greenlet that runs over it ends the process with a message that
    /// names it.
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// How many greenlets may be alive. Default: what the kernel's `vm.max_map_count`
    /// allows (two memory maps a stack), less a margin: some 31,000 on a stock Linux.
    ///
    /// At the limit [`try_spawn`](crate::try_spawn) gives an error, [`spawn`](crate::spawn)
    /// panics, and servers stop accepting.
    pub fn max_greenlets(mut self, count: usize) -> Self {
        self.max_greenlets = Some(count);
        self
    }

    /// How many stacks are made ahead and kept for the next greenlets. Default: 256.
    ///
    /// A spawn beyond it costs an `mmap` and a `munmap`, some 10 µs.
    pub fn pool_capacity(mut self, count: usize) -> Self {
        self.pool_capacity = count.max(1);
        self
    }

    /// Whether each worker stays on one core. Default: no.
    ///
    /// On a machine that runs nothing else it saves cache misses; a worker whose core is
    /// taken by another process waits for it, although others are free.
    pub fn pin_workers(mut self, pin: bool) -> Self {
        self.pin_workers = pin;
        self
    }

    /// Whether SIGQUIT (Ctrl-\\) writes all greenlets to standard error. Default: yes.
    pub fn dump_on_sigquit(mut self, dump: bool) -> Self {
        self.dump_on_sigquit = dump;
        self
    }

    /// Whether the thread `greenloop-watchdog` looks after the others. Default: yes.
    ///
    /// It finds greenlets that block their worker ([`Config::max_blocking`]), deadlocks
    /// ([`Config::abort_on_deadlock`]) and thresholds that are crossed
    /// ([`Config::memory_threshold`]), and runs the [`hooks`](crate::hooks) for them. While
    /// nothing runs it rests.
    ///
    /// gevent: `GEVENT_MONITOR_THREAD_ENABLE`, which is off by default.
    pub fn watchdog(mut self, watchdog: bool) -> Self {
        self.watch.enabled = watchdog;
        self
    }

    /// How long a greenlet may keep its worker without a switch. Default: 100 ms.
    ///
    /// One that takes longer is told to [`hooks::on_blocked`](crate::hooks::on_blocked), or
    /// else logged as a warning, once each time. Time in which the system gave the worker
    /// no core does not count. It is found out some 50 ms late.
    ///
    /// gevent: `GEVENT_MAX_BLOCKING_TIME`.
    pub fn max_blocking(mut self, limit: Duration) -> Self {
        self.watch.max_blocking = limit;
        self
    }

    /// Whether the watchdog finds out where a greenlet blocks its worker. Default: yes.
    ///
    /// It sends the worker a SIGURG, whose handler notes the calls that it is in. System
    /// calls go on after it as `SA_RESTART` says: `poll` and `nanosleep` of a C library fail
    /// with `EINTR`, as after every signal. Nothing is installed if the program has a handler
    /// for SIGURG of its own, and on systems other than Linux with glibc from 2.35 on; and
    /// nothing is sent once the program has installed one later.
    pub fn stall_backtrace(mut self, backtrace: bool) -> Self {
        self.watch.backtrace = backtrace;
        self
    }

    /// The resident memory of the process, in bytes, past which
    /// [`hooks::on_memory`](crate::hooks::on_memory) is told, or else a warning is logged.
    /// Default: none.
    ///
    /// gevent: `GEVENT_MONITOR_MEMORY_MAX`.
    pub fn memory_threshold(mut self, bytes: u64) -> Self {
        self.watch.memory_threshold = Some(bytes);
        self
    }

    /// The number of greenlets past which [`hooks::on_memory`](crate::hooks::on_memory) is
    /// told, or else a warning is logged. Default: none.
    pub fn greenlets_threshold(mut self, count: usize) -> Self {
        self.watch.greenlets_threshold = Some(count as u64);
        self
    }

    /// How often both thresholds are looked at. Default: every 5 s; at least every 20 ms.
    ///
    /// gevent: `GEVENT_MONITOR_MEMORY_PERIOD`.
    pub fn memory_period(mut self, period: Duration) -> Self {
        self.watch.memory_period = period.max(Duration::from_millis(20));
        self
    }

    /// Whether a [`Deadlock`](crate::hooks::Deadlock) ends the process, by an abort after it
    /// was reported. Default: no.
    ///
    /// gevent: `LoopExit` ends the main greenlet.
    pub fn abort_on_deadlock(mut self, abort: bool) -> Self {
        self.watch.abort_on_deadlock = abort;
        self
    }

    /// Starts the runtime.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// It is started already, or the system refuses a descriptor or a thread. After such a
    /// refusal every later call that needs the runtime fails with the same words.
    ///
    /// # Examples
    ///
    /// ```
    /// greenloop::Config::new().workers(1).start()?;
    /// let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    /// let greenlets = [1, 2, 3].map(|n| {
    ///     let order = order.clone();
    ///     greenloop::spawn(move || order.lock().unwrap().push(n))
    /// });
    /// greenloop::join_all(greenlets);
    /// assert_eq!(*order.lock().unwrap(), [1, 2, 3]); // on every run
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn start(self) -> Result<()> {
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = lock(&STARTING);
        if is_started() {
            return Err(Error::message(
                "the runtime is already started; Config::start comes first",
            ));
        }
        if let Some(Err(text)) = READY.get() {
            return Err(Error::message(text));
        }
        // First, because it is the one part that can be tried again.
        if self.dump_on_sigquit {
            signal::dump_on_sigquit()?;
        }
        let stack_bytes = round_stack(self.stack_bytes);
        may::config()
            .set_workers(self.workers)
            .set_stack_size(words(stack_bytes))
            .set_pool_capacity(self.pool_capacity)
            .set_worker_pin(self.pin_workers);
        let max_greenlets = self
            .max_greenlets
            .unwrap_or_else(|| admissible(self.pool_capacity));
        let _ = STARTED.set(Started {
            workers: self.workers,
            stack_bytes,
            max_greenlets,
        });
        overflow::prepare();
        // First, so that it is not taken for one of the engine's; a failure comes again below.
        let _ = timer::start();
        let before = threads::before_engine();
        let served = spawn::start_services(self.workers)
            .map_err(|error| error.context("starting the runtime").to_string());
        let served = READY.get_or_init(|| served);
        if let Err(text) = served {
            return Err(Error::message(text));
        }
        // After the first coroutine: the engine installs a handler of its own with it.
        overflow::install();
        panic::install();
        threads::after_engine(&before, self.workers);
        watchdog::start(self.watch)
    }
}

pub(crate) fn is_started() -> bool {
    matches!(READY.get(), Some(Ok(())))
}

/// The number of workers, 0 before the start.
pub(crate) fn workers() -> usize {
    STARTED.get().map_or(0, |s| s.workers)
}

pub(crate) fn stack_bytes() -> usize {
    STARTED.get().map_or(STACK_BYTES_DEFAULT, |s| s.stack_bytes)
}

pub(crate) fn max_greenlets() -> usize {
    STARTED.get().map_or(0, |s| s.max_greenlets)
}

/// Rounds a stack up to whole pages, and to what the smallest greenlet needs.
pub(crate) fn round_stack(bytes: usize) -> usize {
    bytes.max(STACK_BYTES_MIN).next_multiple_of(PAGE_BYTES)
}

/// The engine counts in machine words. An odd count would switch it to a mode that
/// measures stacks and prints; whole pages are even.
pub(crate) fn words(bytes: usize) -> usize {
    bytes / size_of::<usize>()
}

/// The error at the limit.
pub(crate) fn limit_error(limit: usize) -> Error {
    Error::new(ErrorKind::Limit(format!(
        "{limit} greenlets are alive, the most that Config::max_greenlets allows; each stack \
         takes two memory maps, so for more raise it together with the sysctl vm.max_map_count"
    )))
}

/// How many stacks the kernel's limit on memory maps leaves room for.
fn admissible(pool_capacity: usize) -> usize {
    static CACHED: AtomicUsize = AtomicUsize::new(0);
    if CACHED.load(Ordering::Relaxed) == 0 {
        let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(MAP_COUNT_STOCK);
        CACHED.store(maps, Ordering::Relaxed);
    }
    let maps = CACHED.load(Ordering::Relaxed);
    (maps / 2)
        .saturating_sub(STACKS_MARGIN + pool_capacity)
        .max(64)
}

/// Enough for a debug build with TLS or HTTP on it; 32 KiB is not.
const STACK_BYTES_DEFAULT: usize = 256 * 1024;
/// A panic's message and backtrace need about this much in a debug build.
const STACK_BYTES_MIN: usize = 32 * 1024;
const PAGE_BYTES: usize = 4096;
/// Small enough that the start stays under 5 ms (each costs an `mmap`).
const POOL_CAPACITY_DEFAULT: usize = 256;
/// Linux's default of `vm.max_map_count`.
const MAP_COUNT_STOCK: usize = 65_530;
/// Left for the program, its libraries, OS threads and the allocator: 1024 maps.
const STACKS_MARGIN: usize = 512;
