//! Rate limits: so many bytes or requests a second, shared by all who use the same one.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::hosts::{ended, out_of_time};
use crate::runtime::deadline::Deadline;
use crate::runtime::sleep::sleep;
use crate::util::lock;

/// A line in which everybody's units pass one after the other, at the rate.
///
/// Pure. (A token bucket told by time instead of tokens: "virtual scheduling", ITU-T
/// I.371. It needs no refill, and whoever comes gets the moment of his turn at once.)
#[derive(Debug)]
pub(crate) struct Bucket {
    nanos_per_unit: f64,
    /// Of a time in which nobody came, so much may be made up for.
    burst: Duration,
    /// When the last unit promised so far has passed.
    booked: Option<Instant>,
}

impl Bucket {
    /// `units` per `time`; of silence, `burst` is made up for.
    pub(crate) fn new(units: u64, time: Duration, burst: Duration) -> Self {
        Self {
            nanos_per_unit: time.as_nanos() as f64 / units.max(1) as f64,
            burst,
            booked: None,
        }
    }

    /// Books `units`; returns when the last of them has passed.
    pub(crate) fn book(&mut self, units: u64, now: Instant) -> Instant {
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let from = self.booked.map_or(earliest, |booked| booked.max(earliest));
        let nanos = self.nanos_per_unit * units as f64;
        // Beyond a year nobody waits, and the sum must not overflow.
        let time = Duration::from_nanos(nanos.min(3e16) as u64);
        let booked = from + time;
        self.booked = Some(booked);
        booked
    }
}

/// A limit on bytes per second.
///
/// Fair: bytes are paid for in small pieces, and pieces pass in the order they were
/// booked, so that a download with large reads takes turns with one with small ones.
#[derive(Debug)]
pub(crate) struct Limiter {
    bucket: Mutex<Bucket>,
    piece: u64,
}

/// What may come at once after a silence.
const BURST: Duration = Duration::from_millis(50);

/// A piece is at most so many parts of a second long, …
const PIECES_PER_SECOND: u64 = 50;

/// … and at most so many bytes: about what one read of a slow connection brings.
const PIECE_BYTES_MAX: u64 = 16 * 1024;

/// Shorter waits are made later, in one: the timer's own error is of this order.
const WAIT_MIN: Duration = Duration::from_millis(2);

impl Limiter {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self {
            bucket: Mutex::new(Bucket::new(bytes_per_second, Duration::from_secs(1), BURST)),
            piece: (bytes_per_second / PIECES_PER_SECOND).clamp(1, PIECE_BYTES_MAX),
        }
    }

    /// Waits until `bytes` that have come have passed the limit; returns for how long.
    ///
    /// Who reads no more while waiting slows the sender down: its window fills up.
    pub(crate) fn pay(&self, mut bytes: u64, limit: Deadline) -> Result<Duration, Failure> {
        let mut waited = Duration::ZERO;
        while bytes > 0 {
            let piece = bytes.min(self.piece);
            bytes -= piece;
            let now = Instant::now();
            let turn = lock(&self.bucket).book(piece, now);
            let wait = turn.saturating_duration_since(now);
            if wait > WAIT_MIN {
                let late = limit.remaining().is_some_and(|left| left < wait);
                let wait = limit.remaining().map_or(wait, |left| left.min(wait));
                sleep(wait).map_err(|e| ended(&e))?;
                waited += wait;
                if late {
                    return Err(out_of_time());
                }
            }
        }
        Ok(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn units_pass_at_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, SECOND, Duration::ZERO);
        assert_eq!(bucket.book(500, start), start + SECOND / 2);
        assert_eq!(bucket.book(500, start), start + SECOND);
        // Who comes late has not saved anything up.
        let late = start + 10 * SECOND;
        assert_eq!(bucket.book(1000, late), late + SECOND);
    }

    #[test]
    fn silence_is_made_up_for_only_a_little() {
        let start = Instant::now() + SECOND;
        let mut bucket = Bucket::new(1000, SECOND, SECOND / 10);
        assert_eq!(bucket.book(100, start), start);
        assert_eq!(bucket.book(100, start), start + SECOND / 10);
        let late = start + 60 * SECOND;
        assert_eq!(bucket.book(1100, late), late + SECOND);
    }

    #[test]
    fn absurd_amounts_are_put_off_and_do_not_overflow() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, Duration::from_secs(3600), Duration::ZERO);
        assert!(bucket.book(u64::MAX, start) > start + 300 * 24 * 3600 * SECOND);
        assert!(Bucket::new(0, SECOND, SECOND).book(1, start) <= start + SECOND);
    }

    #[test]
    fn large_and_small_reads_share_a_limit_evenly() {
        // Both always have bytes waiting; one reads 16 times as much at a time.
        let limiter = Limiter::new(1 << 20);
        let start = Instant::now();
        let mut bucket = Bucket::new(1 << 20, SECOND, Duration::ZERO);
        let mut readers = [(256 * 1024_u64, 0, start, 0_u64), (16 * 1024, 0, start, 0)];
        for _ in 0..1000 {
            // The one whose turn is over goes on.
            let next = usize::from(readers[1].2 < readers[0].2);
            let (chunk, left, at, passed) = &mut readers[next];
            if *left == 0 {
                *left = *chunk;
            }
            let piece = limiter.piece.min(*left);
            *left -= piece;
            *at = bucket.book(piece, *at);
            *passed += piece;
        }
        let (large, small) = (readers[0].3 as f64, readers[1].3 as f64);
        assert!((0.8..1.25).contains(&(large / small)), "{large} {small}");
    }
}
