//! The lowest item first, of equal ones the oldest: a binary heap whose order survives
//! comparisons that panic.
//!
//! std's heap moves items while it compares them, and drops the one it has taken out if a
//! comparison panics then. Here every operation compares first and moves afterwards, so a
//! panic finds all items where they were.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::discipline::{Discipline, Store};

/// The lowest first: the order of a [`PriorityQueue`](super::PriorityQueue).
#[derive(Debug)]
pub struct Lowest<T> {
    /// The first `in_order` of them are a heap: none comes before its parent, which for
    /// the one at `n` is at `(n - 1) / 2`. The rest were not looked at yet.
    entries: Vec<Entry<T>>,
    in_order: usize,
    /// How many have come.
    arrivals: u64,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    arrival: u64,
}

impl<T: Ord> Entry<T> {
    fn order(&self, other: &Self) -> Ordering {
        let by_item = self.item.cmp(&other.item);
        by_item.then(self.arrival.cmp(&other.arrival))
    }

    fn is_before(&self, other: &Self) -> bool {
        self.order(other).is_lt()
    }
}

impl<T: Ord> Lowest<T> {
    /// Counts the parents above `place` that an item which comes `before` them passes.
    fn steps_up(&self, mut place: usize, before: impl Fn(&Entry<T>) -> bool) -> usize {
        let mut steps = 0;
        while place > 0 {
            place = (place - 1) / 2;
            if !before(&self.entries[place]) {
                break;
            }
            steps += 1;
        }
        steps
    }

    fn move_up(&mut self, mut place: usize, steps: usize) {
        for _ in 0..steps {
            let parent = (place - 1) / 2;
            self.entries.swap(place, parent);
            place = parent;
        }
    }

    /// Takes those into the heap that were not looked at yet.
    fn put_in_order(&mut self) {
        while let Some(next) = self.entries.get(self.in_order) {
            let steps = self.steps_up(self.in_order, |parent| next.is_before(parent));
            self.move_up(self.in_order, steps);
            self.in_order += 1;
        }
    }

    /// Finds the way from the top that the last entry goes down when it takes the top's
    /// place: a bit for each step, set where it goes right, and the number of steps.
    fn way_down(&self) -> (u64, usize) {
        let Some((last, others)) = self.entries.split_last() else {
            return (0, 0);
        };
        let (mut way, mut steps, mut place) = (0, 0, 0);
        while let Some(left) = others.get(2 * place + 1) {
            let right = others.get(2 * place + 2);
            let lower = right.filter(|right| right.is_before(left));
            if !lower.unwrap_or(left).is_before(last) {
                break;
            }
            let goes_right = lower.is_some();
            way |= u64::from(goes_right) << steps;
            steps += 1;
            place = 2 * place + 1 + usize::from(goes_right);
        }
        (way, steps)
    }

    fn move_down(&mut self, way: u64, steps: usize) {
        let mut place = 0;
        for step in 0..steps {
            let child = 2 * place + if way >> step & 1 == 1 { 2 } else { 1 };
            self.entries.swap(place, child);
            place = child;
        }
    }

    fn add(&mut self, item: T) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.entries.push(Entry { item, arrival });
    }
}

impl<T: Ord> Discipline<T> for Lowest<T> {}

impl<T: Ord> Store<T> for Lowest<T> {
    const NAME: &'static str = "PriorityQueue";

    /// How far up it goes from the end.
    fn spot(&mut self, item: &T) -> usize {
        self.put_in_order();
        // It is the newest: of equals, the one that is there comes first.
        self.steps_up(self.entries.len(), |parent| *item < parent.item)
    }

    fn push(&mut self, item: T, spot: usize) {
        self.add(item);
        self.move_up(self.in_order, spot);
        self.in_order += 1;
    }

    fn push_unseen(&mut self, item: T) {
        self.add(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.put_in_order();
        let (way, steps) = self.way_down();
        if self.entries.is_empty() {
            return None;
        }
        let top = self.entries.swap_remove(0);
        self.in_order -= 1;
        self.move_down(way, steps);
        Some(top.item)
    }

    fn peek(&mut self) -> Option<&T> {
        self.put_in_order();
        self.entries.first().map(|entry| &entry.item)
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn into_items(mut self) -> Vec<T> {
        // Everybody is to get their items back: if comparing panics, in some order.
        let sorted = catch_unwind(AssertUnwindSafe(|| self.entries.sort_by(Entry::order)));
        if let Err(payload) = sorted {
            crate::util::discard(payload);
        }
        self.entries.into_iter().map(|entry| entry.item).collect()
    }
}

impl<T> Default for Lowest<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            in_order: 0,
            arrivals: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items that differ, for the heap, in their first half only.
    #[derive(Clone, Copy, Debug, Eq)]
    struct Tied(u8, usize);

    impl PartialEq for Tied {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    impl Ord for Tied {
        fn cmp(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Tied {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    fn items(count: usize, seed: u64) -> Vec<Tied> {
        let mut random = seed;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u8::try_from(random >> 60).expect("four bits")
        };
        (0..count).map(|n| Tied(next(), n)).collect()
    }

    fn whole(items: &[Tied]) -> Vec<(u8, usize)> {
        items.iter().map(|item| (item.0, item.1)).collect()
    }

    #[test]
    fn lowest_first_and_ties_by_age() {
        for count in 0..70 {
            for seed in 0..8 {
                let items = items(count, seed);
                let mut heap = Lowest::default();
                for (n, item) in items.iter().enumerate() {
                    if n % 3 == 0 {
                        heap.push_unseen(*item);
                    } else {
                        let spot = heap.spot(item);
                        heap.push(*item, spot);
                    }
                }
                let mut sorted = items;
                sorted.sort();
                let popped: Vec<_> = std::iter::from_fn(|| heap.pop()).collect();
                assert_eq!(whole(&popped), whole(&sorted), "{count} items, seed {seed}");
            }
        }
    }

    #[test]
    fn pops_between_pushes_keep_the_order() {
        let mut heap = Lowest::default();
        let mut model: Vec<Tied> = Vec::new();
        for (n, item) in items(500, 7).into_iter().enumerate() {
            let spot = heap.spot(&item);
            heap.push(item, spot);
            model.push(item);
            model.sort();
            if n % 3 != 0 {
                let popped = heap.pop().expect("one was pushed");
                assert_eq!(whole(&[popped]), whole(&[model.remove(0)]));
            }
        }
        assert_eq!(whole(&heap.into_items()), whole(&model));
    }
}
