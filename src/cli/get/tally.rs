//! What is running and what has ended, counted so that it costs the downloads next to
//! nothing: a short lock that only downloads of the same sixteenth share.

use crate::fetch::{Event, Outcome};
use crate::util::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The state of a run, for whoever shows it.
pub(super) struct Tally {
    running: [Mutex<HashMap<u64, Running>>; SHARDS],
    /// Names are kept only where they are shown.
    has_names: bool,
    saved: AtomicU64,
    skipped: AtomicU64,
    checked: AtomicU64,
    failed: AtomicU64,
    received: AtomicU64,
}

/// A download under way.
pub(super) struct Running {
    /// The file's name, or the URL as long as that is not known; not escaped.
    pub(super) name: String,
    pub(super) since: Instant,
    pub(super) total: Option<u64>,
    /// Bytes there, kept ones included.
    pub(super) bytes: u64,
    /// When the next attempt begins, between two.
    pub(super) again: Option<Instant>,
    /// Bytes that attempt began with.
    kept: u64,
    /// Bytes that earlier attempts received.
    before: u64,
}

/// The counts of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) saved: u64,
    pub(super) skipped: u64,
    /// In a dry run.
    pub(super) checked: u64,
    pub(super) failed: u64,
    pub(super) running: u64,
    /// Over the network, running ones included.
    pub(super) received: u64,
    /// Missing of the running ones; `None` if one does not say its size.
    pub(super) missing: Option<u64>,
}

impl Tally {
    pub(super) fn new(has_names: bool) -> Self {
        Self {
            running: std::array::from_fn(|_| Mutex::default()),
            has_names,
            saved: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Takes an event of the download `id`.
    pub(super) fn note(&self, id: u64, event: &Event<'_>) {
        let mut shard = lock(&self.running[id as usize % SHARDS]);
        match event {
            Event::Started { url } => {
                let mut running = Running::new();
                if self.has_names {
                    running.name.push_str(url);
                }
                shard.insert(id, running);
            }
            Event::Head { name, total, kept } => {
                let running = shard.entry(id).or_insert_with(Running::new);
                running.begin(*total, *kept);
                if self.has_names && !name.is_empty() {
                    running.name.clear();
                    running.name.push_str(name);
                }
            }
            Event::Progress { bytes } => {
                if let Some(running) = shard.get_mut(&id) {
                    running.bytes = *bytes;
                }
            }
            Event::DiskFull { .. } => {}
            Event::Retrying { after, .. } => {
                if let Some(running) = shard.get_mut(&id) {
                    running.again = Some(Instant::now() + *after);
                }
            }
            Event::Done(outcome) | Event::Failed(outcome) => {
                shard.remove(&id);
                self.end(outcome);
            }
        }
    }

    fn end(&self, outcome: &Outcome) {
        let count = match outcome.end {
            crate::fetch::End::Failed(_) => &self.failed,
            crate::fetch::End::Skipped => &self.skipped,
            crate::fetch::End::Checked => &self.checked,
            crate::fetch::End::Saved => &self.saved,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.received.fetch_add(outcome.received, Ordering::Relaxed);
    }

    /// Counts, and shows `look` what is running, in no order.
    pub(super) fn look(&self, mut look: impl FnMut(u64, &Running)) -> Counts {
        let mut counts = Counts {
            saved: self.saved.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            checked: self.checked.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            running: 0,
            missing: Some(0),
        };
        for shard in &self.running {
            let shard = lock(shard);
            for (id, running) in &*shard {
                counts.running += 1;
                counts.received += running.received();
                let missing = running
                    .total
                    .map(|total| total.saturating_sub(running.bytes));
                counts.missing = counts.missing.zip(missing).map(|(a, b)| a + b);
                look(*id, running);
            }
        }
        counts
    }
}

impl Running {
    fn new() -> Self {
        Self {
            name: String::new(),
            since: Instant::now(),
            total: None,
            bytes: 0,
            again: None,
            kept: 0,
            before: 0,
        }
    }

    fn begin(&mut self, total: Option<u64>, kept: u64) {
        self.before = self.received();
        (self.total, self.bytes, self.kept) = (total, kept, kept);
        self.again = None;
    }

    fn received(&self) -> u64 {
        self.before + self.bytes.saturating_sub(self.kept)
    }
}

/// A power of two well above the number of workers.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bytes_count_once_over_several_attempts() {
        let tally = Tally::new(true);
        tally.note(7, &Event::Started { url: "http://h/x" });
        let head = |kept| Event::Head {
            name: "x",
            total: Some(100),
            kept,
        };
        tally.note(7, &head(0));
        tally.note(7, &Event::Progress { bytes: 40 });
        tally.note(7, &head(40));
        tally.note(7, &Event::Progress { bytes: 70 });
        // The server has another version: from the beginning.
        tally.note(7, &head(0));
        tally.note(7, &Event::Progress { bytes: 10 });
        let mut names = Vec::new();
        let counts = tally.look(|id, running| names.push((id, running.name.clone())));
        assert_eq!(names, [(7, "x".to_owned())]);
        assert_eq!((counts.running, counts.received), (1, 80));
        assert_eq!(counts.missing, Some(90));
        tally.note(8, &Event::Started { url: "http://h/y" });
        assert_eq!(tally.look(|_, _| {}).missing, None);
    }

    #[test]
    fn an_event_costs_less_than_a_microsecond() {
        let tally = Tally::new(false);
        let begun = Instant::now();
        for id in 0..10_000 {
            tally.note(id, &Event::Started { url: "http://h/x" });
            tally.note(id, &Event::Progress { bytes: 1 });
        }
        // A debug build on a busy machine needs a tenth of this.
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(tally.look(|_, _| {}).running, 10_000);
    }
}
