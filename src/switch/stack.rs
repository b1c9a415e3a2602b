//! Stacks and their pool.
//!
//! A stack is one mapping with a guard page below it. Mapping and unmapping cost system
//! calls and page faults, so a stack whose coroutine has ended goes to a pool, and the
//! next coroutine of the same stack size takes it from there. The pool is one for the
//! process: a coroutine may be created on one OS thread and dropped on another one,
//! and a lock nobody waits for costs less than the rest of the creation.
//!
//! Here: mapping, reuse, accounting. Not here: what runs on a stack (`generator.rs`,
//! `greenlet.rs`), how an overflow is reported (`overflow.rs`).
#![expect(unsafe_code, reason = "corosensei's Stack is an unsafe trait")]

use std::io;
use std::sync::{Mutex, OnceLock};

use corosensei::stack::{DefaultStack, Stack, StackPointer};

use super::overflow;
use super::slots::{Kind, Slot};
use crate::error::{Error, ErrorKind};
use crate::util::lock;

/// The stack size of coroutines that do not ask for another: 256 KiB.
///
/// Only address space: the kernel gives memory page by page as the stack is used. Small
/// ones are enough for generators, but a panic that prints its backtrace or a formatting
/// call in a debug build takes tens of KiB.
pub const DEFAULT_STACK_BYTES: usize = 256 * 1024;

/// How many idle stacks of one size the pool keeps before it unmaps.
///
/// An idle stack keeps the pages it once touched: 8 KiB for a small body, so 2 MiB in
/// all, and at worst the whole stack.
const IDLE_COUNT_MAX: usize = 256;

/// All stacks of one size.
#[derive(Default)]
struct Shelf {
    stack_bytes: usize,
    idle: Vec<Mapped>,
    mapped_total: u64,
}

static POOL: Mutex<Vec<Shelf>> = Mutex::new(Vec::new());

/// A mapping with its slot in the table that the overflow report reads.
struct Mapped {
    slot: &'static Slot,
    memory: DefaultStack,
}

/// A stack that returns to the pool when dropped.
///
/// corosensei drops a coroutine's stack after the coroutine has been unwound.
pub(super) struct PooledStack {
    /// `None` only inside `drop`.
    mapped: Option<Mapped>,
    stack_bytes: usize,
    /// `mapped`'s, at hand for every resume.
    base: StackPointer,
}

/// What the pool holds of one stack size.
///
/// # Examples
///
/// ```
/// use greenloop::switch::{Builder, pool_stats};
///
/// let make = || Builder::new().stack_bytes(80 * 1024).generator::<(), (), (), _>(|_, ()| ());
/// drop(make()); // the first one maps a stack
/// drop(make()); // the second one finds it idle
/// let stats = pool_stats(80 * 1024);
/// assert_eq!((stats.mapped_total, stats.idle), (1, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// How many stacks were ever mapped.
    pub mapped_total: u64,
    /// How many wait for their next coroutine.
    pub idle: usize,
}

/// Tells what the pool holds of stacks of `stack_bytes`.
///
/// # Switching
/// Never switches.
pub fn pool_stats(stack_bytes: usize) -> PoolStats {
    let stack_bytes = rounded(stack_bytes);
    let pool = lock(&POOL);
    let shelf = pool.iter().find(|shelf| shelf.stack_bytes == stack_bytes);
    shelf.map_or_else(PoolStats::default, |shelf| PoolStats {
        mapped_total: shelf.mapped_total,
        idle: shelf.idle.len(),
    })
}

impl PooledStack {
    /// Takes an idle stack of this size or maps one, and labels it for the overflow report.
    ///
    /// # Errors
    /// `Limit` when the kernel gives no more mappings.
    pub(super) fn take(stack_bytes: usize, kind: Kind, name: &str) -> Result<Self, Error> {
        overflow::ensure_signal_stack();
        let stack_bytes = rounded(stack_bytes);
        let idle = with_shelf(stack_bytes, |shelf| shelf.idle.pop());
        let mapped = match idle {
            Some(mapped) => mapped,
            None => Mapped::new(stack_bytes).map_err(|cause| refused(stack_bytes, &cause))?,
        };
        mapped.slot.set_label(kind, name);
        Ok(Self {
            base: mapped.memory.base(),
            mapped: Some(mapped),
            stack_bytes,
        })
    }
}

impl Drop for PooledStack {
    fn drop(&mut self) {
        let surplus = with_shelf(self.stack_bytes, |shelf| {
            if shelf.idle.len() < IDLE_COUNT_MAX {
                shelf.idle.extend(self.mapped.take());
            }
            self.mapped.take()
        });
        drop(surplus); // unmaps, outside the lock
    }
}

// SAFETY: base and limit are those of a live DefaultStack, which has a guard page and at
// least MIN_STACK_SIZE bytes, and which nobody else uses: it was taken out of the pool.
unsafe impl Stack for PooledStack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.mapped
            .as_ref()
            .expect("only `drop` takes it")
            .memory
            .limit()
    }
}

impl Mapped {
    #[cold]
    fn new(stack_bytes: usize) -> io::Result<Self> {
        overflow::install();
        let memory = DefaultStack::new(stack_bytes)?;
        with_shelf(stack_bytes, |shelf| shelf.mapped_total += 1);
        Ok(Self {
            slot: Slot::take(memory.limit().get(), stack_bytes),
            memory,
        })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.slot.give_back();
    }
}

fn with_shelf<R>(stack_bytes: usize, action: impl FnOnce(&mut Shelf) -> R) -> R {
    let mut pool = lock(&POOL);
    let index = pool
        .iter()
        .position(|shelf| shelf.stack_bytes == stack_bytes);
    let index = index.unwrap_or_else(|| {
        pool.push(Shelf {
            stack_bytes,
            ..Shelf::default()
        });
        pool.len() - 1
    });
    action(&mut pool[index])
}

#[cold]
fn refused(stack_bytes: usize, cause: &io::Error) -> Error {
    Error::new(ErrorKind::Limit(format!(
        "no memory map for a {} KiB stack ({cause}); each stack takes two of vm.max_map_count",
        stack_bytes / 1024
    )))
}

/// Whole pages, at least two: the first page alone is corosensei's minimum.
fn rounded(stack_bytes: usize) -> usize {
    let page = guard_bytes();
    // The upper end is past every address space that Linux gives: mapping it fails.
    stack_bytes
        .clamp(2 * page, 1 << (usize::BITS - 2))
        .next_multiple_of(page)
}

/// The guard is one page.
///
/// Signal-safe: installing the handler fills the cell.
pub(super) fn guard_bytes() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: sysconf only reads.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(page).expect("every system has a page size")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Each test uses a stack size of its own: tests run side by side in one process.

    fn take(stack_bytes: usize) -> PooledStack {
        PooledStack::take(stack_bytes, Kind::Generator, "").unwrap()
    }

    #[test]
    fn take_from_pool_maps_nothing() {
        const BYTES: usize = 1028 * 1024;
        let first = take(BYTES);
        let base = first.base();
        drop(first);
        for _ in 0..100 {
            assert_eq!(take(BYTES).base(), base);
        }
        assert_eq!(
            pool_stats(BYTES),
            PoolStats {
                mapped_total: 1,
                idle: 1
            }
        );
    }

    #[test]
    fn pool_keeps_a_bounded_count_of_idle_stacks() {
        const BYTES: usize = 1032 * 1024;
        let many: Vec<_> = (0..IDLE_COUNT_MAX + 10).map(|_| take(BYTES)).collect();
        drop(many);
        assert_eq!(pool_stats(BYTES).idle, IDLE_COUNT_MAX);
    }

    #[test]
    fn stacks_of_one_thread_serve_another() {
        const BYTES: usize = 1036 * 1024;
        std::thread::spawn(|| drop(take(BYTES))).join().unwrap();
        drop(take(BYTES));
        assert_eq!(
            pool_stats(BYTES),
            PoolStats {
                mapped_total: 1,
                idle: 1
            }
        );
    }

    #[test]
    fn sizes_are_rounded_to_pages_and_never_shared() {
        assert_eq!(rounded(0), 2 * guard_bytes());
        assert_eq!(rounded(1040 * 1024 + 1), 1040 * 1024 + guard_bytes());
        drop(take(1040 * 1024 + 1));
        assert_eq!(pool_stats(1040 * 1024), PoolStats::default());
        assert_eq!(pool_stats(1040 * 1024 + 5).idle, 1);
    }

    #[test]
    fn an_impossible_size_is_a_limit_error() {
        let error = PooledStack::take(1 << 60, Kind::Generator, "")
            .err()
            .unwrap();
        assert!(error.is_limit() && error.to_string().contains("vm.max_map_count"));
    }
}
