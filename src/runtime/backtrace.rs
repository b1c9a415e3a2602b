//! Where a stuck worker is: its own stack, walked by itself in a signal handler.
//!
//! Nobody can walk the stack of a thread that runs: it changes under one's hands. So the
//! watchdog sends the worker a signal, the handler walks the stack it interrupted and
//! leaves addresses in a static buffer, and the watchdog turns them into names on its own
//! thread, where it may allocate and read files.
//!
//! # Why the handler may do what it does
//!
//! - **What it calls.** It loads and stores atomics, asks for the thread's number (a bare
//!   system call) and calls `_Unwind_Backtrace`. That allocates nothing, and since libgcc
//!   12 on glibc 2.35 finds its tables without a lock (`_dl_find_object`). Before those the
//!   lock it takes is the loader's, which is recursive, so a thread interrupted inside the
//!   loader gets through; [`install`] asks for glibc 2.35 all the same. The unwinder's lazy
//!   set-up is done by a walk in `install`, outside of any handler.
//! - **What it interrupts.** Any instruction, which is why unwind tables have to be exact at
//!   every one. rustc and gcc emit such tables on x86-64. They are wrong in some hand-written
//!   assembly and in the unwinder itself while it installs a landing pad's registers; there
//!   the walk goes astray, and may read where nothing is mapped. That fault is ours: the
//!   crate's handler for SIGSEGV asks [`rescue`] first, which gives the thread the very
//!   context back that SIGURG interrupted. The walk is thereby dropped in the middle, which
//!   harms nobody, as it holds no lock and owns nothing. (Measured with the rescue left out:
//!   a thread that does nothing but unwind faults within some hundred walks.) If somebody
//!   else's handler for SIGSEGV is in front, nothing is asked.
//! - **Where it ends.** At the greenlet's own first frames: below them lie the engine's.
//! - **Which stack it runs on.** The greenlet's. The alternate stack that std gives a thread
//!   is 8 KiB on most machines, too small for a walk beside the registers that the kernel
//!   saves there. A greenlet's stack is large enough unless it is nearly full, and so the
//!   watchdog asks only if the pages of its last 32 KiB were never touched
//!   ([`STACK_BYTES_FREE_MIN`]); the handler looks again, for 16 KiB. In between, the
//!   greenlet could go some 20 KiB deeper than it ever was, just now, after it has not
//!   switched for a tenth of a second; then it meets its guard page, some 10 KiB before it
//!   would have done so by itself.
//! - **That nothing else is on top of it.** Other signals are blocked meanwhile, so a fault
//!   during a walk is the walk's, and what is dropped with it is the walk alone.
//! - **That it cannot switch.** Nothing it calls is ours or the engine's, so it returns on the
//!   thread and the stack on which it began, and the worker's records stay true.
//! - **That it is meant.** It does something only if the watchdog has asked this very thread
//!   (`REQUEST`), and only once a request; a SIGURG of anybody else passes without effect.
//!
//! # What the signal does to the interrupted code
//!
//! SIGURG (as the Go runtime uses it) is ignored by default, debuggers let it pass, and
//! programs that use it for out-of-band data expect it at odd times. If the program has a
//! handler for it, ours is not installed; once it has put one in front of ours, which may
//! call ours, nothing is asked any more: the signal would be taken for the program's own,
//! and a walk that is dropped would drop that handler in the middle. `SA_RESTART` lets
//! system calls go on that were interrupted; poll, epoll_wait and nanosleep fail with EINTR all the same, as after any
//! signal. std's own calls retry; ours do (`io`); the engine's epoll loop logs such an error
//! and goes on, and is not reached here unless the greenlet stopped just now.

#![expect(unsafe_code, reason = "signal handlers have no safe form")]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering, compiler_fence,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{mem, ptr};

use crate::runtime::{procfs, workers};
use crate::switch::overflow;
use crate::util::lock;

/// What must never have been touched of a stack for a walk on it.
pub(crate) const STACK_BYTES_FREE_MIN: usize = 32 * 1024;
/// What must be left below the handler: the walk takes some 6 KiB in a debug build.
const WALK_BYTES_MIN: usize = 16 * 1024;
/// The innermost frames of a deep recursion say enough.
const FRAMES_MAX: usize = 64;
/// A thread that runs answers in microseconds; one that the kernel does not let go (in a
/// wait that cannot be interrupted) never does.
const ANSWER_MAX: Duration = Duration::from_millis(50);

const SIGNAL: c_int = libc::SIGURG;

/// What the watchdog asks for and the handler answers.
struct Request {
    state: AtomicU8,
    tid: AtomicU32,
    /// The bounds of the stack.
    low: AtomicUsize,
    top: AtomicUsize,
    /// Where the thread was interrupted, 0 where that is not known.
    at: AtomicUsize,
    /// The context that it was interrupted in, null unless the handler is at its walk.
    context: AtomicPtr<libc::ucontext_t>,
    count: AtomicUsize,
    frames: [AtomicUsize; FRAMES_MAX],
}

const IDLE: u8 = 0;
const ASKED: u8 = 1;
/// The handler is at it.
const TAKEN: u8 = 2;
const ANSWERED: u8 = 3;

static REQUEST: Request = Request {
    state: AtomicU8::new(IDLE),
    tid: AtomicU32::new(0),
    low: AtomicUsize::new(0),
    top: AtomicUsize::new(0),
    at: AtomicUsize::new(0),
    context: AtomicPtr::new(ptr::null_mut()),
    count: AtomicUsize::new(0),
    frames: [const { AtomicUsize::new(0) }; FRAMES_MAX],
};

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Prepares for walks, where that is safe: see the module.
pub(crate) fn install() {
    if !is_supported() {
        return;
    }
    // SAFETY: all zeroes is a valid sigaction: SIG_DFL, no flags, an empty mask.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null new action only queries; `found` is valid for writing.
    let queried = unsafe { libc::sigaction(SIGNAL, ptr::null(), &raw mut found) };
    if queried != 0 || !matches!(found.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        return;
    }
    // The unwinder's lazy set-up; nobody else walks yet, as there is one watchdog.
    let mut frames = 0;
    backtrace::trace(|_| {
        frames += 1;
        frames < 4
    });
    // SAFETY: as above.
    let mut ours: libc::sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = on_signal as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    ours.sa_mask = all_but_faults();
    // SAFETY: `on_signal` has the signature that SA_SIGINFO asks for and is signal-safe, as
    // the module's text says.
    let result = unsafe { libc::sigaction(SIGNAL, &raw const ours, ptr::null_mut()) };
    overflow::set_rescuer(rescue);
    INSTALLED.store(result == 0, Ordering::Release);
}

/// Every signal but those that a fault of the handler's own raises: blocked, they would end
/// the process.
fn all_but_faults() -> libc::sigset_t {
    // SAFETY: all zeroes is a valid set, the empty one.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is valid for writing.
    unsafe { libc::sigfillset(&raw mut set) };
    for fault in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
    ] {
        // SAFETY: as above, and it is a signal's number.
        unsafe { libc::sigdelset(&raw mut set, fault) };
    }
    set
}

/// Tells whether the signal comes to our handler, and to nobody before it.
fn is_in_front() -> bool {
    // SAFETY: all zeroes is a valid sigaction.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null new action only queries; `found` is valid for writing.
    let queried = unsafe { libc::sigaction(SIGNAL, ptr::null(), &raw mut found) };
    queried == 0 && found.sa_sigaction == on_signal as *const () as usize
}

/// Where the worker `tid` is inside the greenlet whose stack lies from `low` to `top`,
/// innermost call first, a frame a line.
///
/// `None` if the worker went on to something else, or if it cannot be found out.
pub(crate) fn of_worker(tid: u32, low: usize, top: usize) -> Option<Trace> {
    let (frames, at) = ask(tid, low, top)?;
    // Before it come the handler's own.
    let begin = frames.iter().position(|frame| *frame == at).unwrap_or(0);
    Some(Trace(frames[begin..].into()))
}

/// The addresses of the frames, the handler's own first, and the interrupted instruction.
fn ask(tid: u32, low: usize, top: usize) -> Option<(Vec<usize>, usize)> {
    // One request at a time; in a program only the watchdog asks.
    static ASKING: Mutex<()> = Mutex::new(());
    let _asking = lock(&ASKING);
    let is_safe = INSTALLED.load(Ordering::Acquire) && is_in_front() && overflow::is_in_front();
    if !is_safe || !workers::is_worker_tid(tid) {
        return None;
    }
    // An answer that came too late may lie there.
    let _ = change(ANSWERED, IDLE);
    if REQUEST.state.load(Ordering::Acquire) != IDLE {
        return None;
    }
    REQUEST.tid.store(tid, Ordering::Relaxed);
    REQUEST.low.store(low, Ordering::Relaxed);
    REQUEST.top.store(top, Ordering::Relaxed);
    REQUEST.count.store(0, Ordering::Relaxed);
    REQUEST.state.store(ASKED, Ordering::Release);
    // SAFETY: tgkill takes three numbers. The thread is one of this process: a worker,
    // which lives as long as the process.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), tid, SIGNAL) };
    if sent != 0 || !wait_for_answer() {
        let _ = change(ASKED, IDLE);
        return None;
    }
    let count = REQUEST.count.load(Ordering::Relaxed).min(FRAMES_MAX);
    let load = |frame: &AtomicUsize| frame.load(Ordering::Relaxed);
    let frames: Vec<_> = REQUEST.frames[..count].iter().map(load).collect();
    let at = REQUEST.at.load(Ordering::Relaxed);
    REQUEST.state.store(IDLE, Ordering::Release);
    (!frames.is_empty()).then_some((frames, at))
}

/// Moves the request on; false if it is not at `from`.
fn change(from: u8, to: u8) -> bool {
    let state = &REQUEST.state;
    let changed = state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    changed.is_ok()
}

/// Waits for the handler; false if it did not come, and then it will not any more.
#[expect(clippy::disallowed_methods, reason = "the watchdog is an OS thread")]
fn wait_for_answer() -> bool {
    let start = Instant::now();
    while REQUEST.state.load(Ordering::Acquire) != ANSWERED {
        // Taken back, unless the handler is at it. That ends; if the system gives it no core
        // for long, its answer is not waited for.
        if start.elapsed() > ANSWER_MAX && change(ASKED, IDLE) || start.elapsed() > 20 * ANSWER_MAX
        {
            return false;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    true
}

/// The handler: async-signal-safe throughout.
///
/// It keeps `errno`, which system calls in it may change.
extern "C" fn on_signal(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    let request = &REQUEST;
    // SAFETY: it has no condition and returns a valid pointer.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; the thread's own.
    let before = unsafe { *errno };
    if request.state.load(Ordering::Acquire) != ASKED
        || request.tid.load(Ordering::Relaxed) != procfs::own_tid()
    {
        return;
    }
    if !change(ASKED, TAKEN) {
        return;
    }
    let here = ptr::from_ref(&before).addr();
    let low = request.low.load(Ordering::Relaxed) + WALK_BYTES_MIN;
    let top = request.top.load(Ordering::Relaxed);
    if (low..top).contains(&here) {
        request.at.store(interrupted_at(context), Ordering::Relaxed);
        request.context.store(context.cast(), Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        walk(request, top);
        compiler_fence(Ordering::SeqCst);
        request.context.store(ptr::null_mut(), Ordering::Release);
    }
    // SAFETY: as above; the handler runs on one thread from its beginning to its end.
    unsafe { *errno = before };
    request.state.store(ANSWERED, Ordering::Release);
}

/// Notes the frames between here and the greenlet's first ones.
fn walk(request: &Request, top: usize) {
    let mut count = 0;
    // SAFETY: `unsynchronized` asks that nobody else walks or resolves with this crate at
    // the same time. That is about its cache of symbols and its lock, neither of which a
    // walk touches: it is a call of `_Unwind_Backtrace`, which may run on many threads.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            let Some(place) = request.frames.get(count) else {
                return false;
            };
            place.store(frame.ip().addr(), Ordering::Relaxed);
            count += 1;
            // Now, as a fault can end the walk.
            request.count.store(count, Ordering::Relaxed);
            frame.sp().addr() < top
        });
    }
}

/// Ends a walk that went astray and faulted: `context`, to which the handler of that fault
/// returns, becomes the one that our signal interrupted.
///
/// False if it was no such fault.
#[cfg(target_arch = "x86_64")]
fn rescue(context: *mut c_void) -> bool {
    let request = &REQUEST;
    if request.state.load(Ordering::Acquire) != TAKEN
        || request.tid.load(Ordering::Relaxed) != procfs::own_tid()
    {
        return false;
    }
    let before = request.context.swap(ptr::null_mut(), Ordering::AcqRel);
    if before.is_null() {
        return false;
    }
    // SAFETY: `on_signal` put it there on this thread and has not returned: the kernel's
    // frame that it points to lies above that handler's on the same stack.
    let before = unsafe { &*before };
    // SAFETY: with SA_SIGINFO the kernel passes a valid context, which is nobody else's.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // All that the kernel restores: registers, the place of the saved vector registers (in
    // the frame above, which is still there), the stack pointer among the former.
    context.uc_mcontext.gregs = before.uc_mcontext.gregs;
    context.uc_mcontext.fpregs = before.uc_mcontext.fpregs;
    // The kernel's mask is one word; glibc's type is larger than what the kernel wrote.
    let (from, to) = (&raw const before.uc_sigmask, &raw mut context.uc_sigmask);
    // SAFETY: both are valid for a word, and apart.
    unsafe { ptr::copy_nonoverlapping(from.cast::<u64>(), to.cast::<u64>(), 1) };
    // What was found until then is true.
    request.state.store(ANSWERED, Ordering::Release);
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn rescue(_context: *mut c_void) -> bool {
    false
}

/// The interrupted instruction.
fn interrupted_at(context: *mut c_void) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: with SA_SIGINFO the kernel passes a valid context.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        usize::try_from(context.uc_mcontext.gregs[libc::REG_RIP as usize]).unwrap_or(0)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = context;
        0
    }
}

/// A thread's backtrace, innermost call first.
///
/// Its frames get their names when it is shown, a line each and one more for the place in
/// the source. The first time takes a while: in a debug build of a large program a second
/// or more.
///
/// # Examples
///
/// ```
/// let _hook = greenloop::hooks::on_blocked(|blocked| {
///     if let Some(trace) = &blocked.backtrace {
///         let _ = std::fs::write("stall.txt", trace.to_string());
///     }
/// });
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Trace(Arc<[usize]>);

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (number, frame) in self.0.iter().enumerate() {
            // A return address stands behind its call, which may be another function's end.
            let address = if number == 0 { *frame } else { frame - 1 };
            let before = lines.len();
            backtrace::resolve(ptr::without_provenance_mut(address), |symbol| {
                let name = symbol.name().map(|name| format!("{name:#}"));
                lines.push(format!("{number:4}: {}", name.unwrap_or_default()));
                if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                    lines.push(format!("             at {}:{line}", file.display()));
                }
            });
            if lines.len() == before {
                lines.push(format!("{number:4}: {frame:#x}"));
            }
        }
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({} frames)", self.0.len())
    }
}

/// Tells whether this is glibc from 2.35 on, on the processor that [`rescue`] knows.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
fn is_supported() -> bool {
    // SAFETY: it has no condition.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: what it returned is a static string with its end.
    let version = unsafe { std::ffi::CStr::from_ptr(version) };
    let mut parts = version.to_str().unwrap_or("").split('.').map(str::parse);
    let version = (parts.next(), parts.next());
    matches!(version, (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (2_u32, 35_u32))
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
fn is_supported() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::registry;

    #[inline(never)]
    fn busy(levels: u32) -> usize {
        if levels > 0 {
            return std::hint::black_box(busy(levels - 1)) + 1;
        }
        // The allocator, the formatter, the unwinder itself, a system call.
        let text = std::hint::black_box(format!("{levels:?} {:?}", vec![levels; 7]));
        let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(1_u8)));
        let tid = usize::try_from(procfs::own_tid()).unwrap_or(0);
        text.len() + usize::from(caught.is_err()) + tid % 2
    }

    /// Thousands of walks at any instruction: nothing hangs, nothing faults, what is walked
    /// goes on with right results, and the frames are those of the greenlet.
    #[test]
    fn walks_at_any_moment_do_no_harm() {
        static STOP: AtomicBool = AtomicBool::new(false);
        crate::spawn(|| ()).join().unwrap();
        install();
        let body = |levels| {
            move || {
                let mut rounds = 0_u64;
                while !STOP.load(Ordering::Relaxed) {
                    assert!(busy(levels) > 10);
                    rounds += 1;
                    if rounds.is_multiple_of(64) {
                        crate::yield_now().unwrap();
                    }
                }
                rounds
            }
        };
        let greenlets: Vec<_> = [0, 3, 20].map(|levels| crate::spawn(body(levels))).into();
        let (mut walks, start) = (0, Instant::now());
        while walks < 3000 && start.elapsed() < Duration::from_secs(5) {
            for sight in workers::look().filter(|sight| sight.running != 0) {
                let Some(task) = registry::find(sight.running) else {
                    continue;
                };
                let top = usize::try_from(task.stack_top.load(Ordering::Relaxed)).unwrap();
                let low = top.saturating_sub(task.stack_bytes);
                if let Some((frames, at)) = ask(sight.tid, low, top) {
                    assert!(
                        at == 0 || frames.contains(&at),
                        "{frames:x?} without {at:x}"
                    );
                    walks += 1;
                }
            }
        }
        STOP.store(true, Ordering::Relaxed);
        for greenlet in greenlets {
            assert!(greenlet.join().unwrap() > 0);
        }
        assert!(!is_supported() || walks > 100, "{walks} walks");
    }
}
