//! Stack overflow is fatal, but it is said.
//!
//! The crate's one handler for SIGSEGV (and SIGBUS, which some systems raise instead). A
//! fault in a guard page becomes one sentence on standard error and an abort:
//!
//! ```text
//! generator overflowed its 64 KiB stack; give it more with switch::Builder::stack_bytes
//! ```
//!
//! Any other fault is none of its business: it puts the action back that was there before
//! and returns, so that the faulting instruction runs again and meets that action.
//!
//! Here: signals, the alternate signal stack, the message buffer. Not here: which stacks
//! exist (`slots.rs`; the runtime's are described through [`set_reporter`]).
//!
//! # Whose handler comes last
//!
//! std installs a handler before `main`; the engine under `runtime/` installs one at its
//! first coroutine, prints from it and allocates in it, and so breaks std's report of a
//! thread's overflow. Ours is therefore installed twice: [`install`] before the engine
//! starts keeps std's action as the one to chain to, and [`reinstall`] after it puts us
//! in front again. The action found by the second call is not kept: chaining to it would
//! come back to us, since it chains to what it found.
#![expect(unsafe_code, reason = "signal handlers have no safe form")]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::{io, mem, ptr};

use super::{slots, stack};

/// Describes the stack whose guard holds the address, or returns `false`.
///
/// Called in a signal handler: no locks, no allocation, no lazily initialised state.
pub(crate) type Reporter = fn(addr: usize, out: &mut Message) -> bool;

static REPORTER: OnceLock<Reporter> = OnceLock::new();

/// Knows of a fault that was to be expected, changes the interrupted context so that the
/// thread goes on elsewhere, and returns `true`.
///
/// Called in a signal handler, like a [`Reporter`], with the handler's third argument.
pub(crate) type Rescuer = fn(context: *mut c_void) -> bool;

static RESCUER: OnceLock<Rescuer> = OnceLock::new();

/// The actions found by the first [`install`], in the order of [`SIGNALS`].
static PREVIOUS: [OnceLock<libc::sigaction>; 2] = [OnceLock::new(), OnceLock::new()];

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Installs the handler, the first time it is called.
pub(crate) fn install() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    stack::guard_bytes(); // the handler must not be the first to ask the system
    ONCE.call_once(|| SIGNALS.iter().for_each(|signal| put_in_front(*signal)));
}

/// Puts the handler in front again after somebody else installed one.
///
/// The action to chain to stays the one that the first installation found.
pub(crate) fn reinstall() {
    install();
    SIGNALS.iter().for_each(|signal| put_in_front(*signal));
}

/// Adds a description of stacks that this floor does not know. The first one stays.
pub(crate) fn set_reporter(reporter: Reporter) {
    let _ = REPORTER.set(reporter);
}

/// Adds somebody who expects faults. The first one stays.
pub(crate) fn set_rescuer(rescuer: Rescuer) {
    let _ = RESCUER.set(rescuer);
}

/// Tells whether a fault comes to our handler first.
pub(crate) fn is_in_front() -> bool {
    SIGNALS.iter().all(|signal| {
        // SAFETY: all zeroes is a valid sigaction.
        let mut found: libc::sigaction = unsafe { mem::zeroed() };
        // SAFETY: a null new action only queries; `found` is valid for writing.
        let result = unsafe { libc::sigaction(*signal, ptr::null(), &raw mut found) };
        result == 0 && found.sa_sigaction == on_fault as *const () as usize
    })
}

/// Gives the calling thread an alternate signal stack if it has none.
///
/// std gives one to the main thread and to the threads it starts; a thread of a C library
/// has none, and a handler cannot run on the stack that just overflowed.
///
/// Noted under a pthread key, not in a `thread_local!`: a key is looked up by a call that
/// the compiler cannot keep across a move to another thread.
pub(super) fn ensure_signal_stack() {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    let key = *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is valid for writing; `release` takes what is stored below.
        let result = unsafe { libc::pthread_key_create(&raw mut key, Some(release)) };
        assert_eq!(
            result,
            0,
            "no pthread key: {}",
            io::Error::from_raw_os_error(result)
        );
        key
    });
    // SAFETY: the key was created above and is never deleted.
    if unsafe { libc::pthread_getspecific(key) }.is_null() {
        let stack = Box::into_raw(Box::new(SignalStack::ensure()));
        // SAFETY: as above; on an error the stack stays in place and is never released.
        unsafe { libc::pthread_setspecific(key, stack.cast()) };
    }
}

/// Runs when a thread ends that has a [`SignalStack`].
unsafe extern "C" fn release(stack: *mut c_void) {
    // SAFETY: `ensure_signal_stack` made it with `Box::into_raw`; the key holds it once.
    drop(unsafe { Box::from_raw(stack.cast::<SignalStack>()) });
}

fn put_in_front(signal: c_int) {
    let index = usize::from(signal == SIGNALS[1]);
    // SAFETY: all zeroes is a valid sigaction: SIG_DFL, no flags, an empty mask.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null new action only queries; `found` is valid for writing.
    let result = unsafe { libc::sigaction(signal, ptr::null(), &raw mut found) };
    assert_eq!(
        result,
        0,
        "sigaction refuses a query: {}",
        io::Error::last_os_error()
    );
    if found.sa_sigaction == on_fault as *const () as usize {
        return;
    }
    // Kept before ours is installed: the handler never finds the slot empty.
    PREVIOUS[index].get_or_init(|| found);

    // SAFETY: as above.
    let mut ours: libc::sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = on_fault as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `on_fault` has the signature that SA_SIGINFO asks for and is signal-safe.
    let result = unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) };
    assert_eq!(
        result,
        0,
        "sigaction refuses our handler: {}",
        io::Error::last_os_error()
    );
}

/// The handler: async-signal-safe throughout.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if RESCUER.get().is_some_and(|rescue| rescue(context)) {
        return;
    }
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo.
    let info = unsafe { &*info };
    // SAFETY: SIGSEGV and SIGBUS carry an address.
    let addr = unsafe { info.si_addr() }.addr();
    let mut out = Message::new();
    let known = slots::describe(addr, stack::guard_bytes(), &mut out)
        || REPORTER.get().is_some_and(|report| report(addr, &mut out));
    if !known {
        chain(signal);
        return;
    }
    out.end_line();
    out.write();
    // SAFETY: abort is async-signal-safe.
    unsafe { libc::abort() }
}

/// Puts the previous action back; returning from the handler then runs it.
fn chain(signal: c_int) {
    let previous = PREVIOUS[usize::from(signal == SIGNALS[1])].get();
    // SAFETY: all zeroes is SIG_DFL.
    let default = unsafe { mem::zeroed() };
    // SAFETY: the action was in force before or is the default one; sigaction is
    // async-signal-safe.
    unsafe {
        libc::sigaction(
            signal,
            ptr::from_ref(previous.unwrap_or(&default)),
            ptr::null_mut(),
        )
    };
}

/// A line of text in a fixed buffer, for use in a signal handler.
///
/// What does not fit is cut.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: [u8; MESSAGE_BYTES_MAX],
    len: usize,
}

/// The longest own message is 40 + 40 + 70 bytes; the signal stack may be only 8 KiB.
const MESSAGE_BYTES_MAX: usize = 320;

impl Message {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; MESSAGE_BYTES_MAX],
            len: 0,
        }
    }

    /// Appends text.
    pub(crate) fn push_str(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.push_byte(byte));
    }

    /// Appends a decimal number.
    pub(crate) fn push_u64(&mut self, number: u64) {
        if number >= 10 {
            self.push_u64(number / 10);
        }
        self.push_byte(b'0' + (number % 10) as u8);
    }

    /// Appends a size as `64 KiB`, or as `65537 bytes` if it is no multiple.
    pub(crate) fn push_size(&mut self, bytes: usize) {
        if bytes.is_multiple_of(1024) {
            self.push_u64(bytes as u64 / 1024);
            self.push_str(" KiB");
        } else {
            self.push_u64(bytes as u64);
            self.push_str(" bytes");
        }
    }

    pub(super) fn push_byte(&mut self, byte: u8) {
        // The last byte stays free for the line's end.
        if self.len < MESSAGE_BYTES_MAX - 1 {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap()
    }

    fn end_line(&mut self) {
        self.bytes[self.len] = b'\n';
        self.len += 1;
    }

    /// Writes it to standard error, past any lock and buffer.
    fn write(&self) {
        let mut rest = &self.bytes[..self.len];
        while !rest.is_empty() {
            // SAFETY: `rest` is valid for reading; write is async-signal-safe.
            let sent = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => rest = &rest[sent..],
                _ => return, // closed or full: there is nobody left to tell
            }
        }
    }
}

/// A thread's alternate signal stack, if it was ours to give.
struct SignalStack(Option<*mut c_void>);

impl SignalStack {
    /// 64 KiB: AVX-512 and later register files alone take up to 11 KiB of a frame.
    const BYTES: usize = 64 * 1024;

    fn ensure() -> Self {
        // SAFETY: all zeroes is a valid stack_t.
        let mut current: libc::stack_t = unsafe { mem::zeroed() };
        // SAFETY: a null new stack only queries; `current` is valid for writing.
        let result = unsafe { libc::sigaltstack(ptr::null(), &raw mut current) };
        if result != 0 || current.ss_flags & libc::SS_DISABLE == 0 {
            return Self(None);
        }
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new anonymous mapping, at an address of the kernel's choice.
        let memory = unsafe { libc::mmap(ptr::null_mut(), Self::BYTES, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Self(None); // an overflow on this thread stays a bare fault
        }
        let stack = libc::stack_t {
            ss_sp: memory,
            ss_flags: 0,
            ss_size: Self::BYTES,
        };
        // SAFETY: the memory stays mapped until `drop` has taken the stack out of use.
        unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
        Self(Some(memory))
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        let Some(memory) = self.0 else { return };
        let off = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: takes the thread's signal stack, which is ours, out of use.
        unsafe { libc::sigaltstack(&raw const off, ptr::null_mut()) };
        // SAFETY: the mapping is ours, of this length, and unused since the line above.
        unsafe { libc::munmap(memory, Self::BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler_of(signal: c_int) -> usize {
        // SAFETY: all zeroes is a valid sigaction.
        let mut found: libc::sigaction = unsafe { mem::zeroed() };
        // SAFETY: a query into a valid place.
        unsafe { libc::sigaction(signal, ptr::null(), &raw mut found) };
        found.sa_sigaction
    }

    #[test]
    fn reinstall_never_chains_to_itself() {
        install();
        reinstall();
        reinstall();
        for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
            let ours = on_fault as *const () as usize;
            assert_eq!(handler_of(signal), ours);
            assert_ne!(previous.get().unwrap().sa_sigaction, ours);
        }
    }

    #[test]
    fn the_first_reporter_stays() {
        set_reporter(|addr, out| {
            out.push_str("nobody");
            addr == 1
        });
        set_reporter(|_, _| true);
        assert!(!REPORTER.get().unwrap()(2, &mut Message::new()));
    }

    #[test]
    fn messages_are_cut_not_overrun() {
        let mut out = Message::new();
        out.push_size(65_536);
        out.push_str(" and ");
        out.push_size(1001);
        assert_eq!(out.as_str(), "64 KiB and 1001 bytes");
        out.push_str(&"x".repeat(1000));
        out.end_line();
        assert_eq!(out.len, MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_thread_without_a_signal_stack_gets_one() {
        std::thread::spawn(|| {
            let query = || {
                // SAFETY: all zeroes is a valid stack_t.
                let mut current: libc::stack_t = unsafe { mem::zeroed() };
                // SAFETY: a query into a valid place.
                unsafe { libc::sigaltstack(ptr::null(), &raw mut current) };
                current
            };
            let std_stack = query();
            let off = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            // SAFETY: turns the thread's signal stack off; no handler runs on it now.
            unsafe { libc::sigaltstack(&raw const off, ptr::null_mut()) };
            let ours = SignalStack::ensure();
            assert_eq!(query().ss_size, SignalStack::BYTES);
            drop(ours);
            assert_ne!(query().ss_flags & libc::SS_DISABLE, 0);
            // SAFETY: std's stack is still mapped: its owner lives until the thread ends.
            unsafe { libc::sigaltstack(&raw const std_stack, ptr::null_mut()) };
        })
        .join()
        .unwrap();
    }
}
