//! Which bytes of a file are there. Pure.
//!
//! A download in segments leaves holes until its end, and a stopped one leaves them for the
//! next run: `[[0,1048576],[4194304,5242880]]`, each pair from the first byte to the one
//! after the last.

use serde_json::{Value, json};

/// A set of byte offsets: ranges in order, none empty, none touching the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

/// A list of more ranges than this is not ours: even a file that was cut ten thousand times
/// has fewer.
const RANGES_MAX: usize = 65_536;

impl Ranges {
    /// The bytes before `end`.
    pub(crate) fn before(end: u64) -> Self {
        let mut ranges = Self::default();
        ranges.insert(0, end);
        ranges
    }

    /// Adds the bytes from `start` to before `end`; those that are there stay.
    pub(crate) fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // All that overlap or touch become one.
        let first = self.0.partition_point(|range| range.1 < start);
        let after = self.0.partition_point(|range| range.0 <= end);
        let joined = match self.0.get(first..after) {
            Some([one]) => (start.min(one.0), end.max(one.1)),
            Some([low, .., high]) => (start.min(low.0), end.max(high.1)),
            _ => (start, end),
        };
        self.0.splice(first..after, [joined]);
    }

    /// Takes out all bytes from `end` on.
    pub(crate) fn cut(&mut self, end: u64) {
        self.0.retain(|range| range.0 < end);
        if let Some(last) = self.0.last_mut() {
            last.1 = last.1.min(end);
        }
    }

    /// How many bytes are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// How many are there from the start without a hole.
    pub(crate) fn prefix(&self) -> u64 {
        match self.0.first() {
            Some((0, end)) => *end,
            _ => 0,
        }
    }

    /// The first byte behind all.
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    /// Tells whether a file of `total` bytes is there without a hole.
    pub(crate) fn is_whole(&self, total: u64) -> bool {
        self.prefix() >= total
    }

    /// The first hole at or after `at` in a file of `total` bytes.
    pub(crate) fn hole(&self, at: u64, total: u64) -> Option<(u64, u64)> {
        let after = self.0.partition_point(|range| range.1 <= at);
        let start = match self.0.get(after) {
            Some(range) if range.0 <= at => range.1,
            _ => at,
        };
        let next = self.0[after..].iter().find(|range| range.0 > start);
        let end = next.map_or(total, |range| range.0.min(total));
        (start < end).then_some((start, end))
    }

    /// As it is written down for a later run: of more ranges than are read back, the
    /// first, so that the others are fetched again.
    pub(crate) fn to_json(&self) -> Value {
        json!(self.0.iter().take(RANGES_MAX).collect::<Vec<_>>())
    }

    /// What was written down; `None` if it is not a list of ranges in order.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let list = value.as_array().filter(|list| list.len() <= RANGES_MAX)?;
        let mut ranges = Self::default();
        for pair in list {
            let [start, end] = pair.as_array()?.as_slice() else {
                return None;
            };
            let (start, end) = (start.as_u64()?, end.as_u64()?);
            if start >= end || start < ranges.end() {
                return None;
            }
            ranges.insert(start, end);
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::retry::Dice;

    fn ranges(list: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        for (start, end) in list {
            ranges.insert(*start, *end);
        }
        ranges
    }

    impl Ranges {
        /// Tells whether all that is there is also in `other`.
        pub(crate) fn is_within(&self, other: &Self) -> bool {
            let mut both = other.clone();
            for (start, end) in &self.0 {
                both.insert(*start, *end);
            }
            both == *other
        }
    }

    #[test]
    fn ranges_that_touch_become_one() {
        for (list, expected) in [
            (&[(0, 5), (5, 9)][..], &[(0, 9)][..]),
            (&[(5, 9), (0, 5)], &[(0, 9)]),
            (&[(0, 3), (6, 9), (3, 6)], &[(0, 9)]),
            (&[(0, 3), (6, 9), (2, 7)], &[(0, 9)]),
            (&[(0, 9), (2, 7)], &[(0, 9)]),
            (&[(2, 7), (0, 9)], &[(0, 9)]),
            (&[(0, 2), (4, 6), (8, 9)], &[(0, 2), (4, 6), (8, 9)]),
            (&[(4, 4), (9, 3)], &[]),
        ] {
            assert_eq!(ranges(list).0, expected, "{list:?}");
        }
    }

    #[test]
    fn holes_are_what_is_not_there() {
        let some = ranges(&[(2, 4), (6, 8)]);
        assert_eq!(some.hole(0, 10), Some((0, 2)));
        assert_eq!(some.hole(1, 10), Some((1, 2)));
        assert_eq!(some.hole(2, 10), Some((4, 6)));
        assert_eq!(some.hole(5, 10), Some((5, 6)));
        assert_eq!(some.hole(6, 10), Some((8, 10)));
        assert_eq!(some.hole(6, 8), None);
        assert_eq!(some.hole(0, 1), Some((0, 1)));
        assert_eq!(Ranges::default().hole(0, 0), None);
        assert_eq!(Ranges::before(5).hole(0, 5), None);
        assert_eq!(
            (some.bytes(), some.prefix(), some.end()),
            (4, 0, 8),
            "{some:?}"
        );
        assert!(Ranges::before(5).is_whole(5) && !Ranges::before(5).is_whole(6));
        assert!(Ranges::default().is_whole(0));
    }

    #[test]
    fn what_is_behind_a_cut_is_gone() {
        let mut some = ranges(&[(2, 4), (6, 8)]);
        some.cut(7);
        assert_eq!(some, ranges(&[(2, 4), (6, 7)]));
        some.cut(6);
        assert_eq!(some, ranges(&[(2, 4)]));
        some.cut(0);
        assert_eq!(some, Ranges::default());
    }

    #[test]
    fn a_set_agrees_with_a_list_of_bytes() {
        let mut dice = Dice::new(11);
        let mut roll = |n: u64| (dice.roll() * n as f64) as u64;
        for _ in 0..200 {
            let (mut set, mut bytes) = (Ranges::default(), [false; 64]);
            for _ in 0..12 {
                let (start, length) = (roll(60), roll(12));
                let end = (start + length).min(64);
                set.insert(start, end);
                bytes[start as usize..end.max(start) as usize].fill(true);
            }
            let there = bytes.iter().filter(|there| **there).count();
            assert_eq!(set.bytes(), there as u64, "{set:?}");
            assert!(set.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let mut at = 0;
            while let Some((start, end)) = set.hole(at, 64) {
                assert!(bytes[at as usize..start as usize].iter().all(|b| *b));
                assert!(bytes[start as usize..end as usize].iter().all(|b| !b));
                at = end;
            }
            assert!(bytes[at as usize..].iter().all(|there| *there));
            assert_eq!(Ranges::from_json(&set.to_json()), Some(set));
        }
    }

    #[test]
    fn a_list_that_is_none_is_not_taken() {
        let read = |text: &str| Ranges::from_json(&serde_json::from_str(text).unwrap());
        assert_eq!(read("[]"), Some(Ranges::default()));
        assert_eq!(read("[[0,5],[7,9]]"), Some(ranges(&[(0, 5), (7, 9)])));
        for bad in [
            "null",
            "{}",
            "[5]",
            "[[5]]",
            "[[0,5,6]]",
            "[[5,5]]",
            "[[5,4]]",
            "[[7,9],[0,5]]",
            "[[0,5],[4,6]]",
            "[[-1,5]]",
            "[[0,1.5]]",
            "[[\"0\",5]]",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
