//! The table of all stacks, readable from a signal handler.
//!
//! A stack overflow is a fault inside a guard page. The handler that sees it must not
//! lock, allocate or run lazy initialisers, so it scans this table of atomics. A stack
//! takes a slot when it is mapped and gives it back when it is unmapped; what runs on the
//! stack is written into the slot each time the stack leaves the pool.
//!
//! Here: slots and their labels. Not here: mapping (`stack.rs`), signals (`overflow.rs`).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::overflow::Message;
use crate::util::lock;

/// What runs on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Generator = 1,
    Greenlet = 2,
}

/// One mapped stack. All fields are relaxed atomics except `guard_start`, whose release
/// store publishes the others.
#[derive(Debug)]
#[repr(align(64))] // one cache line: labelling a stack touches nobody else's line
pub(super) struct Slot {
    /// Lowest address of the guard; 0 = the slot is free.
    guard_start: AtomicUsize,
    /// Usable bytes above the guard.
    stack_bytes: AtomicUsize,
    /// `Kind` in the low byte, the name's length in the next.
    label: AtomicUsize,
    name: [AtomicU64; NAME_WORDS],
}

/// 64 bytes of slot less three words. A longer name is cut in the overflow message only.
const NAME_WORDS: usize = 5;
const NAME_BYTES_MAX: usize = NAME_WORDS * 8;

/// Slots come in chunks that are linked and never freed, so a reader needs no lock.
struct Chunk {
    slots: &'static [Slot],
    next: OnceLock<&'static Self>,
}

/// 16 KiB per chunk: a program with a few stacks uses only the static first one.
const CHUNK_SLOTS: usize = 256;

static FIRST_SLOTS: [Slot; CHUNK_SLOTS] = [const { Slot::new() }; CHUNK_SLOTS];
static FIRST: Chunk = Chunk {
    slots: &FIRST_SLOTS,
    next: OnceLock::new(),
};

/// Slots that were used and given back, and the position of the first one never used.
static FREE: Mutex<Free> = Mutex::new(Free {
    given_back: Vec::new(),
    tail: &FIRST,
    used: 0,
});

struct Free {
    given_back: Vec<&'static Slot>,
    tail: &'static Chunk,
    used: usize,
}

impl Slot {
    const fn new() -> Self {
        Self {
            guard_start: AtomicUsize::new(0),
            stack_bytes: AtomicUsize::new(0),
            label: AtomicUsize::new(0),
            name: [const { AtomicU64::new(0) }; NAME_WORDS],
        }
    }

    /// Takes a slot for a newly mapped stack whose guard begins at `guard_start`.
    pub(super) fn take(guard_start: usize, stack_bytes: usize) -> &'static Self {
        let slot = lock(&FREE).pop();
        slot.stack_bytes.store(stack_bytes, Ordering::Relaxed);
        slot.guard_start.store(guard_start, Ordering::Release);
        slot
    }

    /// Gives the slot back; to be called before its stack is unmapped.
    pub(super) fn give_back(&'static self) {
        self.guard_start.store(0, Ordering::Release);
        lock(&FREE).given_back.push(self);
    }

    /// Notes what is about to run on the stack.
    pub(super) fn set_label(&self, kind: Kind, name: &str) {
        let name = cut(name);
        self.label
            .store(kind as usize | name.len() << 8, Ordering::Relaxed);
        for (word, bytes) in self.name.iter().zip(name.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
    }

    /// Says which stack overflowed and what to do.
    fn describe(&self, out: &mut Message) {
        let label = self.label.load(Ordering::Relaxed);
        let kind = if label & 0xff == Kind::Greenlet as usize {
            "greenlet"
        } else {
            "generator"
        };
        out.push_str(kind);
        let len = (label >> 8).min(NAME_BYTES_MAX);
        if len > 0 {
            out.push_str(" \"");
            let words = self
                .name
                .iter()
                .map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
            for byte in words.flatten().take(len) {
                out.push_byte(byte);
            }
            out.push_str("\"");
        }
        out.push_str(" overflowed its ");
        out.push_size(self.stack_bytes.load(Ordering::Relaxed));
        out.push_str(" stack; give it more with switch::Builder::stack_bytes");
    }
}

/// Describes the stack whose guard holds `addr`; `false` if none does. Signal-safe.
pub(super) fn describe(addr: usize, guard_bytes: usize, out: &mut Message) -> bool {
    let chunks = std::iter::successors(Some(&FIRST), |chunk| chunk.next.get().copied());
    for slot in chunks.flat_map(|chunk| chunk.slots) {
        let start = slot.guard_start.load(Ordering::Acquire);
        if start != 0 && (start..start + guard_bytes).contains(&addr) {
            slot.describe(out);
            return true;
        }
    }
    false
}

impl Free {
    fn pop(&mut self) -> &'static Slot {
        if let Some(slot) = self.given_back.pop() {
            return slot;
        }
        if self.used == CHUNK_SLOTS {
            self.tail = self.tail.next.get_or_init(Chunk::leaked);
            self.used = 0;
        }
        self.used += 1;
        &self.tail.slots[self.used - 1]
    }
}

impl Chunk {
    fn leaked() -> &'static Self {
        let slots: Vec<Slot> = std::iter::repeat_with(Slot::new)
            .take(CHUNK_SLOTS)
            .collect();
        Box::leak(Box::new(Self {
            slots: slots.leak(),
            next: OnceLock::new(),
        }))
    }
}

/// The longest prefix of `name` that fits, cut between characters.
fn cut(name: &str) -> &[u8] {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name.as_bytes()[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_by_guard_address_and_only_there() {
        let slot = Slot::take(0x1000, 64 * 1024);
        slot.set_label(Kind::Greenlet, "walker");
        let mut out = Message::new();
        assert!(!describe(0xfff, 0x1000, &mut out) && !describe(0x2000, 0x1000, &mut out));
        assert!(describe(0x1fff, 0x1000, &mut out));
        assert_eq!(
            out.as_str(),
            "greenlet \"walker\" overflowed its 64 KiB stack; \
             give it more with switch::Builder::stack_bytes"
        );
        slot.give_back();
        assert!(!describe(0x1fff, 0x1000, &mut Message::new()));
    }

    #[test]
    fn more_slots_than_one_chunk_holds_are_found_and_reused() {
        // Addresses below 16 MiB are never mapped by the kernel for us.
        let slots: Vec<_> = (1..=600).map(|i| Slot::take(i << 13, 4096)).collect();
        assert!((1..=600).all(|i| describe((i << 13) + 5, 0x1000, &mut Message::new())));
        slots.into_iter().for_each(Slot::give_back);
        let again = Slot::take(0x9000, 4096);
        assert!(describe(0x9000, 0x1000, &mut Message::new()));
        again.give_back();
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(30)).len(), 40);
        assert_eq!(cut(&format!("x{}", "ä".repeat(30))).len(), 39);
    }
}
