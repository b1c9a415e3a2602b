//! Nothing can ever run again: who waits on whom.
//!
//! Here: what is reported, and the cycles in it. When it is looked for: `watchdog`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::runtime::clock::NEVER;
use crate::runtime::lineage;
use crate::runtime::reason::{Wait, Whom};
use crate::runtime::task::Task;
use crate::runtime::{clock, registry, signal, threads};

/// Every greenlet, and every OS thread of the program, waits for another one, without a
/// limit.
///
/// Looked for when no worker has had a turn for a second. It is said only when it is
/// certain: nobody waits on time, a descriptor, a signal, a future or a blocking call; no
/// signal is watched; no [`every`](crate::hooks::every) hook runs, nor an
/// [`on_memory`](crate::hooks::on_memory) hook where there is a threshold; and there is no
/// OS thread that might still do something. A server
/// that waits for connections is never taken for one, nor is a program with threads of its
/// own that wait in other ways than through this crate. What the look cannot see are
/// coroutines that were started with the engine itself.
///
/// ```no_run
/// use greenloop::hooks::{Deadlock, Waiter};
///
/// let name = |waiter: &Waiter| format!("{} at {}", waiter.waits_on, waiter.waits_at);
/// let guard = greenloop::hooks::on_deadlock(move |deadlock: &Deadlock| {
///     assert!(!deadlock.waiting.is_empty());
///     let all: Vec<_> = deadlock.waiting.iter().map(name).collect();
///     std::fs::write("deadlock.txt", all.join("\n")).ok();
/// });
/// # drop(guard);
/// ```
///
/// gevent: `LoopExit`, "this operation would block forever".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deadlock {
    /// All who wait: OS threads first, then greenlets, oldest first.
    pub waiting: Vec<Waiter>,
    /// The numbers of those who wait for each other in a circle, each circle once. There
    /// may be none: an event that nobody is left to set needs no circle.
    pub cycles: Vec<Vec<u64>>,
}

/// One who waits in a [`Deadlock`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiter {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is an OS thread.
    pub is_thread: bool,
    /// What it waits on.
    pub waits_on: &'static str,
    /// Where, as `file:line:column`.
    pub waits_at: String,
    /// The number of the one who could end the wait, where that is known.
    pub waits_for: Option<u64>,
    /// How long already.
    pub since: Duration,
    /// Whether that other one would end the wait by ending.
    by_its_end: bool,
}

impl Waiter {
    fn of(task: &Task, now: u64) -> Self {
        let (wait, since) = task.waits_on();
        let (site, whom) = task.waits_at();
        Self {
            id: task.id,
            name: task.name.as_deref().map(str::to_owned),
            is_thread: !task.is_greenlet(),
            waits_on: wait.as_str(),
            waits_at: site.to_string(),
            waits_for: whom.id(),
            since: Duration::from_nanos(now.saturating_sub(since)),
            by_its_end: matches!(whom, Whom::Greenlet(_)),
        }
    }

    fn title(&self) -> String {
        let title = lineage::title(self.id, self.name.as_deref());
        let kind = if self.is_thread { "thread" } else { "greenlet" };
        format!("{kind} {title}")
    }
}

impl Deadlock {
    fn new(waiting: Vec<Waiter>) -> Self {
        let edges = waiting.iter().filter_map(|w| Some((w.id, w.waits_for?)));
        Self {
            cycles: cycles(&edges.collect()),
            waiting,
        }
    }

    fn title(&self, id: u64) -> String {
        let waiter = self.waiting.iter().find(|waiter| waiter.id == id);
        waiter.map_or_else(|| format!("#{id}, which has ended"), Waiter::title)
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "deadlock: nothing can ever run again")?;
        for waiter in &self.waiting {
            let (title, on, at) = (waiter.title(), waiter.waits_on, &waiter.waits_at);
            write!(
                f,
                "  {title} waits on {on} at {at} for {:.1?}",
                waiter.since
            )?;
            match waiter.waits_for {
                Some(id) if waiter.by_its_end => writeln!(f, ": the end of {}", self.title(id))?,
                Some(id) => writeln!(f, ": held by {}", self.title(id))?,
                None => writeln!(f)?,
            }
        }
        for cycle in &self.cycles {
            f.write_str("  in a circle: ")?;
            for id in cycle {
                write!(f, "{} -> ", self.title(*id))?;
            }
            writeln!(f, "{}", self.title(cycle[0]))?;
        }
        Ok(())
    }
}

/// The circles in a graph where each has one way to go, each circle once, beginning with
/// its smallest number.
fn cycles(edges: &HashMap<u64, u64>) -> Vec<Vec<u64>> {
    let mut seen = HashSet::new();
    let mut cycles = Vec::new();
    let mut starts: Vec<_> = edges.keys().copied().collect();
    starts.sort_unstable();
    for start in starts {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(id) = at.filter(|id| seen.insert(*id)) {
            path.push(id);
            at = edges.get(&id).copied();
        }
        // It ended where this very path had been before.
        if let Some(begin) = at.and_then(|id| path.iter().position(|other| *other == id)) {
            let mut cycle = path.split_off(begin);
            let least = (0..cycle.len()).min_by_key(|place| cycle[*place]);
            cycle.rotate_left(least.unwrap_or(0));
            cycles.push(cycle);
        }
    }
    cycles
}

/// What an unlimited standstill looks like from the outside.
pub(crate) enum Standstill {
    /// Nobody waits for another one, or somebody waits for what may come by itself.
    No,
    /// Everybody waits for others, but an OS thread we know nothing of may end that.
    Unsure,
    Certain(Deadlock),
}

/// Looks at everybody. The caller knows that no worker runs anything, and finds out
/// afterwards whether that stayed so.
pub(crate) fn look() -> Standstill {
    let (os_threads, greenlets) = (registry::threads(), registry::all());
    let all = || os_threads.iter().chain(&greenlets);
    if all().next().is_none() || !all().all(|task| is_stuck(task)) {
        return Standstill::No;
    }
    let tids: Vec<_> = os_threads.iter().map(|task| task.tid).collect();
    if signal::is_any_watched() || !threads::are_all_still(&tids) {
        return Standstill::Unsure;
    }
    let now = clock::now();
    Standstill::Certain(Deadlock::new(
        all().map(|task| Waiter::of(task, now)).collect(),
    ))
}

/// Tells whether only others can end its wait.
fn is_stuck(task: &Task) -> bool {
    let (wait, _) = task.waits_on();
    let limit = task.deadline.load(std::sync::atomic::Ordering::SeqCst);
    wait != Wait::Nothing && wait.is_up_to_others() && limit == NEVER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_once() {
        type Case<'a> = (&'a [(u64, u64)], &'a [&'a [u64]]);
        let table: &[Case<'_>] = &[
            (&[], &[]),
            (&[(1, 2), (2, 3)], &[]),
            (&[(1, 1)], &[&[1]]),
            (&[(2, 1), (1, 2)], &[&[1, 2]]),
            (&[(1, 3), (3, 2), (2, 3)], &[&[2, 3]]),
            (
                &[(5, 6), (6, 5), (7, 5), (1, 2), (2, 1)],
                &[&[1, 2], &[5, 6]],
            ),
            (&[(1, 4), (2, 4), (4, 9)], &[]),
        ];
        for (edges, expected) in table {
            let found = cycles(&edges.iter().copied().collect());
            assert_eq!(found, *expected, "{edges:?}");
        }
    }

    #[test]
    fn report_names_everybody_and_the_circle() {
        let waiter = |id, name: &str, is_thread, waits_for, by_its_end| Waiter {
            id,
            name: Some(name.into()),
            is_thread,
            waits_on: if by_its_end { "join" } else { "mutex" },
            waits_at: format!("a.rs:{id}:1"),
            waits_for,
            since: Duration::from_secs(1),
            by_its_end,
        };
        let deadlock = Deadlock::new(vec![
            waiter(1, "main", true, Some(2), true),
            waiter(2, "a", false, Some(3), false),
            waiter(3, "b", false, Some(2), true),
        ]);
        assert_eq!(
            deadlock.to_string(),
            "deadlock: nothing can ever run again\n  \
             thread \"main\" (#1) waits on join at a.rs:1:1 for 1.0s: \
             the end of greenlet \"a\" (#2)\n  \
             greenlet \"a\" (#2) waits on mutex at a.rs:2:1 for 1.0s: \
             held by greenlet \"b\" (#3)\n  \
             greenlet \"b\" (#3) waits on join at a.rs:3:1 for 1.0s: \
             the end of greenlet \"a\" (#2)\n  \
             in a circle: greenlet \"a\" (#2) -> greenlet \"b\" (#3) -> greenlet \"a\" (#2)\n"
        );
    }
}
