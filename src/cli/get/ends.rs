//! What is remembered of downloads that have ended, for the last words: little, however
//! many they were.

use crate::fetch::{FailureKind, ListFormat, Outcome};
use crate::util::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// Gathers it while the run goes on.
pub(super) struct Ends {
    slowest_max: usize,
    state: Mutex<Gathered>,
}

/// What was gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    /// The slowest first.
    pub(super) slowest: Vec<Slow>,
    /// By class and host.
    pub(super) groups: BTreeMap<(FailureKind, String), Group>,
    /// Failures beyond the groups there is room for.
    pub(super) others: u64,
    /// URLs to try again, up to one more than are shown.
    pub(super) again: Vec<String>,
    /// Some of what failed is more than its URL: it takes a list to name it.
    pub(super) needs_list: bool,
    /// Saved, and nobody knows whether all of it came.
    pub(super) unverified: u64,
    /// What a dry run would have downloaded, as far as sizes are known.
    pub(super) bytes_ahead: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Slow {
    pub(super) elapsed: Duration,
    pub(super) bytes: u64,
    pub(super) name: String,
}

/// Failures of one kind at one host.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) count: u64,
    /// One of them.
    pub(super) url: String,
    pub(super) text: String,
}

impl Ends {
    pub(super) fn new(slowest_max: usize) -> Self {
        Self {
            slowest_max,
            state: Mutex::default(),
        }
    }

    pub(super) fn add(&self, outcome: &Outcome) {
        let mut state = lock(&self.state);
        if outcome.failure().is_some() {
            state.add_failed(outcome);
            return;
        }
        if matches!(outcome.end, crate::fetch::End::Checked) {
            state.bytes_ahead += outcome.bytes;
        }
        let is_saved = matches!(outcome.end, crate::fetch::End::Saved);
        state.unverified += u64::from(is_saved && !outcome.is_size_verified);
        let place = |slow: &Slow| slow.elapsed >= outcome.elapsed;
        let at = state.slowest.partition_point(place);
        if is_saved && at < self.slowest_max {
            let slow = Slow {
                elapsed: outcome.elapsed,
                bytes: outcome.received,
                name: super::lines::name(outcome),
            };
            state.slowest.insert(at, slow);
            state.slowest.truncate(self.slowest_max);
        }
    }

    pub(super) fn take(&self) -> Gathered {
        std::mem::take(&mut *lock(&self.state))
    }
}

impl Gathered {
    fn add_failed(&mut self, outcome: &Outcome) {
        let Some(failure) = outcome.failure() else {
            return;
        };
        if failure.kind() == FailureKind::Stopped {
            return; // has no cause of its own
        }
        if let Some(entry) = &outcome.again {
            if self.again.len() <= AGAIN_MAX {
                self.again.push(outcome.url.clone());
            }
            // What came from the command line can be said there again; but for its password,
            // which is not shown.
            let is_plain = outcome.list.is_none() || entry.to_lines(ListFormat::Urls).is_some();
            let has_login = entry.url().is_ok_and(|url| url.as_str() != outcome.url);
            self.needs_list |= !is_plain || has_login;
        }
        let key = (failure.kind(), host(&outcome.url).to_owned());
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
        } else if self.groups.len() < GROUPS_MAX {
            let group = Group {
                count: 1,
                url: outcome.url.clone(),
                text: failure.to_string(),
            };
            self.groups.insert(key, group);
        } else {
            self.others += 1;
        }
    }
}

/// Host and port of a URL; nothing of what is none.
pub(super) fn host(url: &str) -> &str {
    let after = url.split_once("://").map_or("", |(_, after)| after);
    after.split(['/', '?', '#']).next().unwrap_or_default()
}

/// An endless list may name endlessly many hosts.
const GROUPS_MAX: usize = 500;
/// A command with more URLs is read by nobody.
pub(super) const AGAIN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{Downloader, End};

    fn outcome(url: &str) -> Outcome {
        let report = Downloader::new().discard().run(["no url"]).unwrap();
        let mut outcome = report.outcomes[0].clone();
        outcome.url = url.to_owned();
        outcome
    }

    #[test]
    fn the_slowest_are_kept_in_order() {
        let ends = Ends::new(3);
        for ms in [5, 1, 9, 9, 3, 7] {
            let mut saved = outcome(&format!("http://h/{ms}"));
            (saved.end, saved.elapsed) = (End::Saved, Duration::from_millis(ms));
            ends.add(&saved);
        }
        let gathered = ends.take();
        let names: Vec<_> = gathered.slowest.iter().map(|slow| &*slow.name).collect();
        assert_eq!(names, ["http://h/9", "http://h/9", "http://h/7"]);
        assert_eq!(gathered.unverified, 6);
    }

    #[test]
    fn failures_are_grouped_by_class_and_host() {
        let ends = Ends::new(0);
        for url in ["http://a/1", "http://b:8080?x", "http://a/2"] {
            ends.add(&outcome(url));
        }
        let gathered = ends.take();
        let groups: Vec<_> = gathered
            .groups
            .iter()
            .map(|((kind, host), group)| (*kind, host.as_str(), group.count, group.url.as_str()))
            .collect();
        let kind = FailureKind::BadUrl;
        assert_eq!(
            groups,
            [
                (kind, "a", 2, "http://a/1"),
                (kind, "b:8080", 1, "http://b:8080?x")
            ]
        );
        assert!(gathered.again.is_empty(), "trying them again is of no use");
    }

    #[test]
    fn memory_is_bounded_however_many_hosts_fail() {
        let ends = Ends::new(0);
        for n in 0..GROUPS_MAX + 7 {
            ends.add(&outcome(&format!("http://host-{n}/")));
        }
        let gathered = ends.take();
        assert_eq!((gathered.groups.len(), gathered.others), (GROUPS_MAX, 7));
    }
}
