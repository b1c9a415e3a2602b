//! How fast, and how long still.

use std::time::{Duration, Instant};

/// A speed, as the mean of the last seconds: old moments fade.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    at: Instant,
    bytes: u64,
    per_second: Option<f64>,
}

impl Rate {
    pub(super) fn new(now: Instant, bytes: u64) -> Self {
        Self {
            at: now,
            bytes,
            per_second: None,
        }
    }

    /// Learns how many bytes there are by `now`; gives the speed.
    pub(super) fn update(&mut self, now: Instant, bytes: u64) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        if passed < 0.001 {
            return self.per_second.unwrap_or(0.0);
        }
        let current = bytes.saturating_sub(self.bytes) as f64 / passed;
        let rate = match self.per_second {
            None => current,
            Some(old) => {
                let fades = (-passed / FADES_SECONDS).exp();
                old * fades + current * (1.0 - fades)
            }
        };
        (self.at, self.bytes, self.per_second) = (now, bytes, Some(rate));
        rate
    }
}

/// How long `bytes` will take.
pub(super) fn eta(bytes: u64, per_second: f64) -> Option<Duration> {
    // Beyond that nobody waits, and a speed of nothing has no end.
    let seconds = bytes as f64 / per_second;
    (seconds < 99.0 * 3600.0).then(|| Duration::from_secs_f64(seconds.ceil()))
}

/// `1:05`, `2:03:59`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match h {
        0 => format!("{m}:{s:02}"),
        _ => format!("{h}:{m:02}:{s:02}"),
    }
}

/// A moment that is so long ago counts a third.
const FADES_SECONDS: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_follows_and_forgets() {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let mut rate = Rate::new(start, 500);
        assert_eq!(rate.update(start, 500), 0.0);
        assert_eq!(rate.update(second(1), 1500), 1000.0);
        let slower = rate.update(second(2), 1500);
        assert!((700.0..720.0).contains(&slower), "{slower}");
        let mut last = slower;
        for n in 3..30 {
            last = rate.update(second(n), 1500);
        }
        assert!(last < 1.0, "{last}");
        // What starts over has a lower count.
        assert!(rate.update(second(31), 0) < 1.0);
    }

    #[test]
    fn times_are_told_as_a_clock_does() {
        assert_eq!(eta(1000, 300.0).map(clock).as_deref(), Some("0:04"));
        assert_eq!(clock(Duration::from_secs(65)), "1:05");
        assert_eq!(clock(Duration::from_secs(7439)), "2:03:59");
        assert_eq!(eta(1, 0.0), None);
        assert_eq!(eta(0, 0.0), None);
        assert_eq!(eta(u64::MAX, 1.0), None);
    }
}
