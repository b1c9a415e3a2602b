//! The retry budget of a host: how many retries it is worth. Pure: the clock is an argument.
//!
//! When a host is dying, every request becomes as many as there are tries, just when it can
//! bear least. So retries are paid for: each answer that brought something pays for one,
//! time pays for a few more, and there is a stock to begin with. Who finds the purse empty
//! waits for his coin, or gives up where that would take too long. (Finagle's retry budget
//! and gRPC's retry throttling; theirs refuse at once, ours may wait, since a download has
//! time.)

use std::time::{Duration, Instant};

/// Retries that a host is worth before it has answered anything, and at most in stock.
const STOCK: f64 = 64.0;

/// Retries that time pays for, a second.
const PER_SECOND: f64 = 4.0;

/// The longest wait for one; beyond it the failure stands.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What is left of a host's budget.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Retries in stock; below zero: promised to those who wait.
    stock: f64,
    counted: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            stock: STOCK,
            counted: None,
        }
    }
}

impl Budget {
    /// An attempt brought something.
    pub(crate) fn earn(&mut self) {
        self.stock = (self.stock + 1.0).min(STOCK);
    }

    /// Takes one retry; returns after how long it may be made, or `None` if that is too
    /// long.
    pub(crate) fn spend(&mut self, now: Instant) -> Option<Duration> {
        let since = self.counted.unwrap_or(now);
        self.counted = Some(now.max(since));
        let passed = now.saturating_duration_since(since);
        self.stock = (self.stock + passed.as_secs_f64() * PER_SECOND).min(STOCK);
        let left = self.stock - 1.0;
        let wait = Duration::from_secs_f64((-left).max(0.0) / PER_SECOND);
        if wait > WAIT_MAX {
            return None;
        }
        self.stock = left;
        Some(wait)
    }

    /// Nothing has been taken that is not paid for.
    pub(crate) fn is_full(&self) -> bool {
        self.stock >= STOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_brings_nothing_gets_few_retries() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        let spent: Vec<_> = std::iter::from_fn(|| budget.spend(now)).collect();
        // The stock at once, then those that may be waited for.
        assert_eq!(spent.len(), 64 + 40);
        assert!(spent[..64].iter().all(Duration::is_zero));
        assert_eq!(spent[64], Duration::from_millis(250));
        assert_eq!(*spent.last().unwrap(), WAIT_MAX);
        // A thousand URLs of five tries, failing over a minute.
        let mut made = spent.len();
        for n in 0..4000_u64 {
            let at = now + Duration::from_millis(n * 15);
            made += usize::from(budget.spend(at).is_some());
        }
        assert!((300..=350).contains(&made), "{made}");
    }

    #[test]
    fn what_arrives_pays_for_what_fails() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        for _ in 0..10_000 {
            budget.earn();
            assert_eq!(budget.spend(now), Some(Duration::ZERO));
        }
        // No more is saved up than there was.
        assert_eq!(
            (0..70)
                .filter(|_| budget.spend(now) == Some(Duration::ZERO))
                .count(),
            64 - 1
        );
        assert!(!budget.is_full());
    }

    #[test]
    fn time_fills_the_stock_again_but_not_beyond() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        while budget.spend(now).is_some() {}
        let later = now + Duration::from_secs(3600);
        let free = |budget: &mut Budget| budget.spend(later) == Some(Duration::ZERO);
        assert_eq!((0..1000).filter(|_| free(&mut budget)).count(), 64);
        // A clock that stands still or goes back pays nothing.
        assert_eq!(budget.spend(now), None);
        assert_eq!(budget.spend(later), None);
    }
}
