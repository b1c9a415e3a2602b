//! Which URLs have been taken, to fetch each once.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use reqwest::Url;

use super::entry::Entry;

/// Remembers what was taken: every one of the last [`REMEMBERED`], at most twice as many.
///
/// Keeps 12 bytes of hash for each instead of its text: a false match has a chance of one
/// in 10^16. An endless list costs 27 MB at most; what comes back after more than
/// [`REMEMBERED`] others is taken again, and finds its file there.
#[derive(Debug)]
pub(crate) struct Seen {
    limit: usize,
    first: RandomState,
    second: RandomState,
    /// Those since the last turn.
    young: HashSet<Hash>,
    /// Those between the last turn and the one before.
    old: HashSet<Hash>,
}

/// In words of 32 bits: with larger ones the table would take 16 bytes for each, too.
type Hash = [u32; 3];

/// As many as a table of 2^20 places takes before it grows, with some room.
pub(crate) const REMEMBERED: usize = 900_000;

impl Default for Seen {
    fn default() -> Self {
        Self::with_limit(REMEMBERED)
    }
}

impl Seen {
    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            first: RandomState::new(),
            second: RandomState::new(),
            young: HashSet::new(),
            old: HashSet::new(),
        }
    }

    /// Tells whether `entry` is new, and remembers it. Fragments are not sent, so they make
    /// no difference. The same URL under another name or in another folder is another one;
    /// what is no URL is always new.
    pub(crate) fn insert(&mut self, entry: &Entry) -> bool {
        let Ok(url) = entry.url() else { return true };
        let own = entry.own();
        let place = own.and_then(|own| (own.out.is_some() || own.dir.is_some()).then_some(own));
        let place = place.map(|own| (&own.out, &own.dir));
        let text = without_fragment(url);
        let [first, second] = [&self.first, &self.second].map(|by| by.hash_one((text, place)));
        self.remember([first as u32, (first >> 32) as u32, second as u32])
    }

    fn remember(&mut self, hash: Hash) -> bool {
        if self.young.contains(&hash) {
            return false;
        }
        if self.young.len() == self.limit {
            self.old = std::mem::take(&mut self.young);
        }
        let is_new = !self.old.contains(&hash);
        // Also an old one: it has just been seen again.
        self.young.insert(hash);
        is_new
    }
}

fn without_fragment(url: &Url) -> &str {
    let text = url.as_str();
    text.split_once('#').map_or(text, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_fetched_once_whatever_its_fragment() {
        let mut seen = Seen::default();
        let mut new = |url: &str| seen.insert(&Entry::from(url));
        assert!(new("http://h/a"));
        assert!(!new("http://h/a#x"));
        assert!(!new("HTTP://H:80/a"));
        assert!(new("http://h/a?"));
        assert!(new("https://h/a"));
        assert!(new("nonsense") && new("nonsense"), "each is reported");
    }

    #[test]
    fn a_url_under_two_names_is_two_files() {
        let mut seen = Seen::default();
        let entry = || Entry::from("http://h/a");
        assert!(seen.insert(&entry()));
        assert!(seen.insert(&entry().out("b")));
        assert!(seen.insert(&entry().out("b").dir("c")));
        assert!(!seen.insert(&entry().out("b")));
        assert!(!seen.insert(&entry().header("A", "b")));
    }

    #[test]
    fn an_endless_list_is_remembered_in_bounded_memory() {
        let mut seen = Seen::with_limit(1000);
        for n in 0..2000 {
            assert!(seen.remember([n; 3]));
        }
        assert_eq!(seen.young.len() + seen.old.len(), 2000);
        assert!(!seen.remember([1000; 3]), "one of the last 1000");
        assert!(seen.remember([0; 3]), "forgotten");
        // Seen again, it stays for another round.
        for n in 0..998 {
            assert!(seen.remember([u32::MAX, n, n]));
        }
        assert!(!seen.remember([1000; 3]));
        assert!(seen.young.len() + seen.old.len() <= 2000);
    }
}
