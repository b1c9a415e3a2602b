//! Thresholds on memory and on the number of greenlets, with hysteresis.

use std::fmt;

/// What a threshold is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The process's resident memory, in bytes.
    ResidentBytes,
    /// The greenlets that are alive.
    Greenlets,
}

/// How a threshold was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Crossing {
    /// The value is over the threshold, or has grown by another tenth of it since the last
    /// such event.
    Exceeded,
    /// The value has fallen below 19/20 of the threshold again.
    BackUnder,
}

/// Memory, or the number of greenlets, has crossed its threshold.
///
/// A value that stays over the threshold is told once, and again only when it has grown by
/// a tenth of the threshold; when it has fallen by a twentieth below, that is told once. So
/// a value that trembles around the threshold is not told again and again.
///
/// gevent: `MemoryUsageThresholdExceeded`, `MemoryUsageUnderThreshold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEvent {
    /// What was measured.
    pub measure: Measure,
    /// How the threshold was crossed.
    pub crossing: Crossing,
    /// The value now.
    pub value: u64,
    /// The threshold.
    pub threshold: u64,
}

impl fmt::Display for MemoryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.crossing {
            Crossing::Exceeded => "over",
            Crossing::BackUnder => "back under",
        };
        let (value, threshold) = (self.value, self.threshold);
        match self.measure {
            Measure::ResidentBytes => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                let (value, threshold) = (mib(value), mib(threshold));
                write!(f, "{value:.1} MiB resident, {how} {threshold:.1} MiB")
            }
            Measure::Greenlets => write!(f, "{value} greenlets, {how} {threshold}"),
        }
    }
}

/// Decides what of a series of values is worth telling.
#[derive(Clone, Debug)]
pub(crate) struct Hysteresis {
    measure: Measure,
    threshold: u64,
    /// The value that was told last, while it is over.
    told: Option<u64>,
}

impl Hysteresis {
    pub(crate) fn new(measure: Measure, threshold: u64) -> Self {
        Self {
            measure,
            threshold,
            told: None,
        }
    }

    pub(crate) fn measure(&self) -> Measure {
        self.measure
    }

    /// Takes the next value.
    pub(crate) fn take(&mut self, value: u64) -> Option<MemoryEvent> {
        let threshold = self.threshold;
        let (crossing, told) = match self.told {
            None if value > threshold => (Crossing::Exceeded, Some(value)),
            Some(told) if value >= told.saturating_add((threshold / 10).max(1)) => {
                (Crossing::Exceeded, Some(value))
            }
            Some(_) if value < threshold - threshold / 20 => (Crossing::BackUnder, None),
            _ => return None,
        };
        self.told = told;
        Some(MemoryEvent {
            measure: self.measure,
            crossing,
            value,
            threshold,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Crossing::{BackUnder, Exceeded};
    use super::*;

    #[test]
    fn each_growth_is_told_once_and_each_return() {
        let table = [
            (50, None),
            (100, None),
            (101, Some(Exceeded)),
            (105, None),
            (99, None), // trembles
            (101, None),
            (110, None),
            (111, Some(Exceeded)), // a tenth more than 101
            (112, None),
            (96, None),
            (95, None),
            (94, Some(BackUnder)),
            (94, None),
            (100, None),
            (150, Some(Exceeded)),
            (0, Some(BackUnder)),
        ];
        let mut memory = Hysteresis::new(Measure::ResidentBytes, 100);
        for (value, crossing) in table {
            let event = memory.take(value);
            assert_eq!(event.map(|e| e.crossing), crossing, "{value}");
            assert!(event.is_none_or(|e| (e.value, e.threshold) == (value, 100)));
        }
    }

    #[test]
    fn extreme_thresholds_do_not_overflow() {
        let mut zero = Hysteresis::new(Measure::Greenlets, 0);
        assert_eq!(zero.take(1).map(|e| e.crossing), Some(Exceeded));
        assert_eq!(zero.take(1), None);
        assert_eq!(zero.take(u64::MAX).map(|e| e.crossing), Some(Exceeded));
        let mut top = Hysteresis::new(Measure::Greenlets, u64::MAX);
        assert_eq!(top.take(u64::MAX), None);
    }

    #[test]
    fn events_are_sentences() {
        let event = |measure, value, threshold| {
            let mut values = Hysteresis::new(measure, threshold);
            values.take(value).unwrap().to_string()
        };
        assert_eq!(
            event(Measure::ResidentBytes, 3 << 20, 2 << 20),
            "3.0 MiB resident, over 2.0 MiB"
        );
        assert_eq!(event(Measure::Greenlets, 8, 7), "8 greenlets, over 7");
    }
}
