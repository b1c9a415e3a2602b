//! What a model came to over all orders.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

pub(crate) struct Seen {
    ends: Mutex<BTreeMap<&'static str, usize>>,
    start: Instant,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            ends: Mutex::default(),
            start: Instant::now(),
        }
    }
}

impl Seen {
    /// Notes how one order ended.
    pub(crate) fn note(&self, end: &'static str) {
        *self.ends.lock().unwrap().entry(end).or_default() += 1;
    }

    /// Prints the count, and panics unless the orders ended in each of `ends`.
    pub(crate) fn tell(&self, name: &str, how: &str, ends: &[&str]) {
        let seen = self.ends.lock().unwrap();
        let count: usize = seen.values().sum();
        let took = self.start.elapsed();
        println!("{name}: {count} orders, {how}, in {took:.1?}: {seen:?}");
        let missing: Vec<_> = ends.iter().filter(|e| !seen.contains_key(*e)).collect();
        assert!(missing.is_empty(), "{name} never ended in {missing:?}");
    }
}
