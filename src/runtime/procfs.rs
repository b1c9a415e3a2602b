//! What the kernel tells of this process under `/proc`. Where it does not (another system,
//! a sandbox), each answer is "unknown".

use std::fs::{self, File};

/// How a thread has spent its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    /// On a core, in nanoseconds.
    pub(crate) cpu: u64,
    /// Ready to run but without a core, in nanoseconds.
    pub(crate) delay: u64,
}

/// A thread of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    /// As in proc(5): `R` on a core or ready for one, `S` asleep, `T` stopped.
    pub(crate) state: char,
}

/// The calling thread's number.
pub(crate) fn own_tid() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// The threads of this process that could be asked.
pub(crate) fn threads() -> Vec<Thread> {
    let Ok(entries) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let tid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some(Thread {
                tid,
                state: state(tid)?,
            })
        })
        .collect()
}

/// A thread's state.
pub(crate) fn state(tid: u32) -> Option<char> {
    parse_state(&fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?)
}

/// How a thread has spent its time so far.
pub(crate) fn spent(tid: u32) -> Option<Spent> {
    parse_spent(&fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?)
}

/// Where a thread is inside the kernel, in the kernel's words, if it is.
pub(crate) fn kernel_place(tid: u32) -> Option<String> {
    let place = fs::read_to_string(format!("/proc/self/task/{tid}/wchan")).ok()?;
    let place = place.trim();
    (!place.is_empty() && place != "0").then(|| place.to_owned())
}

/// The process's resident memory, in bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    let pages = parse_resident(&fs::read_to_string("/proc/self/statm").ok()?)?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Tells whether the process ignores a signal, which one that was started so has inherited.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_ignored(&status).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn parse_ignored(status: &str) -> Option<u64> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// The third field of `stat`. The second is a name in parentheses, which may hold anything.
fn parse_state(stat: &str) -> Option<char> {
    let (_, after) = stat.rsplit_once(") ")?;
    after.chars().next()
}

fn parse_spent(schedstat: &str) -> Option<Spent> {
    let mut fields = schedstat.split_ascii_whitespace().map(str::parse);
    let (cpu, delay) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Spent { cpu, delay })
}

fn parse_resident(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Which pages of this process are there; see pagemap in the kernel's documentation.
#[derive(Debug)]
pub(crate) struct Pagemap(File);

/// Bit 63: present in memory; bit 62: in swap.
const TOUCHED: u64 = 0b11 << 62;
/// Entries read at once: a stack of 1 MiB.
const ENTRIES: usize = 256;

impl Pagemap {
    pub(crate) fn open() -> Option<Self> {
        File::open("/proc/self/pagemap").ok().map(Self)
    }

    /// How much of a stack of `bytes` that ends a little above `top` was ever touched.
    ///
    /// Only the kernel's table is read, never the stack. The engine writes a mark into its
    /// lowest words, so the lowest page counts only together with the one above it. `None`
    /// if nothing of it is there, because it has been given back.
    pub(crate) fn stack_used(&self, top: u64, bytes: usize) -> Option<usize> {
        let page = rustix::param::page_size();
        let end = usize::try_from(top).ok()?.next_multiple_of(page);
        let lowest = end.checked_sub(bytes)? / page;
        let mut at = lowest + 1;
        let mut entries = [0; ENTRIES * 8];
        while at < end / page {
            let count = (end / page - at).min(ENTRIES);
            let buf = &mut entries[..count * 8];
            let read = rustix::io::pread(&self.0, &mut *buf, at as u64 * 8).ok()?;
            if read < 8 {
                return None;
            }
            if let Some(first) = first_touched(&buf[..read]) {
                let first = at + first;
                let is_all = first == lowest + 1;
                return Some(if is_all { bytes } else { end - first * page });
            }
            at += read / 8;
        }
        None
    }
}

fn first_touched(entries: &[u8]) -> Option<usize> {
    entries
        .as_chunks::<8>()
        .0
        .iter()
        .position(|entry| u64::from_ne_bytes(*entry) & TOUCHED != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_proc_5_has_them() {
        let ignored = parse_ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n");
        assert_eq!(ignored, Some(0x1001));
        assert_eq!(parse_ignored("Name:\tx\n"), None);
        assert_eq!(parse_state("17 (a) b) S 1 17 17 0"), Some('S'));
        assert_eq!(parse_state(""), None);
        let spent = Spent {
            cpu: 130,
            delay: 40,
        };
        assert_eq!(parse_spent("130 40 34\n"), Some(spent));
        assert_eq!(parse_spent("130"), None);
        assert_eq!(parse_resident("9 4 3 2 1 0 0"), Some(4));
        assert_eq!(parse_resident("x"), None);
    }

    #[test]
    fn this_thread_is_found() {
        let own = own_tid();
        assert!(threads().iter().any(|thread| thread.tid == own));
        assert_eq!(state(own), Some('R'));
        assert!(resident_bytes().unwrap() > 0);
    }

    #[test]
    fn lowest_touched_page_counts() {
        let pagemap = Pagemap::open().unwrap();
        let page = rustix::param::page_size();
        let here = std::ptr::from_ref(&pagemap).addr();
        // The page this variable is on, and the one below it.
        let used = pagemap.stack_used(here as u64, 2 * page);
        assert_eq!(used, Some(2 * page));
        let nothing = pagemap.stack_used(64 * page as u64, 16 * page);
        assert_eq!(nothing, None, "nobody maps the first pages");
        let words = [0, 0, 1_u64 << 62, 1 << 63].map(u64::to_ne_bytes);
        assert_eq!(first_touched(words.as_flattened()), Some(2));
        assert_eq!(first_touched(&[0; 16]), None);
    }
}
