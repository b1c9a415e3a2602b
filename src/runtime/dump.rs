//! What every greenlet is doing, as a value, as a tree and as JSON.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::runtime::lineage::{self, Ancestor};
use crate::runtime::procfs::Pagemap;
use crate::runtime::reason::Wait;
use crate::runtime::task::Task;
use crate::runtime::{clock, registry};

/// What is known of one greenlet (or of an OS thread that waits) at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is an OS thread. Threads are listed only while they wait.
    pub is_thread: bool,
    /// The number of the greenlet or OS thread that spawned it; 0 for a thread.
    pub parent: u64,
    /// That one, its own spawner and so on, nearest first: the last eight.
    pub spawn_chain: Vec<Ancestor>,
    /// Where it was spawned, as `file:line:column`.
    pub spawned_at: String,
    /// What it waits on, `running` if on nothing.
    pub state: &'static str,
    /// Where it waits, as `file:line:column`: the call outside of this crate. `None` if it
    /// runs.
    pub waits_at: Option<String>,
    /// The number of the greenlet that can end the wait, where that is known.
    pub waits_for: Option<u64>,
    /// How long it has been waiting (for a running one: since its last wait began).
    pub since: Duration,
    /// The size of its stack; 0 for a thread.
    pub stack_bytes: usize,
    /// How much of the stack was ever touched, in whole pages, where the system tells.
    ///
    /// Stacks are used again: what an earlier greenlet touched counts as well. So this is
    /// an upper bound, and exact in a greenlet with a stack size of its own.
    pub stack_used: Option<usize>,
}

/// What all greenlets do at one moment; see [`dump`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Dump {
    greenlets: Vec<Snapshot>,
    threads: Vec<Snapshot>,
}

/// Takes down what every greenlet that is alive is doing.
///
/// Its `Display` is a tree: below each greenlet stand those that it spawned. Where a
/// spawner has ended, its children hang below the nearest ancestor that lives, or stand
/// at the top, and say so. OS threads are named while they wait. SIGQUIT (Ctrl-\\) writes
/// the same tree to standard error, also while workers are stuck.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let sleeper = greenloop::Builder::new()
///     .name("sleeper")
///     .spawn(|| greenloop::sleep(Duration::MAX));
/// # while greenloop::dump().greenlets()[0].state != "sleep" { std::thread::yield_now() }
/// let tree = greenloop::dump().to_string();
/// assert!(tree.starts_with("greenlets: 1\n"));
/// assert!(tree.contains("\"sleeper\""));
/// assert!(tree.contains("waits on sleep"));
/// sleeper.kill_and_wait(None)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.util.print_run_info()`, `GreenletTree`.
pub fn dump() -> Dump {
    let now = clock::now();
    let pagemap = Pagemap::open();
    let snapshots = |tasks: Vec<_>| {
        let snapshot = |task: &std::sync::Arc<Task>| snapshot(task, now, pagemap.as_ref());
        tasks.iter().map(snapshot).collect()
    };
    Dump {
        greenlets: snapshots(registry::all()),
        threads: snapshots(registry::threads()),
    }
}

/// All greenlets that are alive, oldest first: those of a [`dump`].
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// let greenlet = greenloop::Builder::new()
///     .name("sleeper")
///     .spawn(|| greenloop::sleep(std::time::Duration::MAX));
/// let all = greenloop::greenlets();
/// assert!(all.iter().any(|g| g.name.as_deref() == Some("sleeper")));
/// greenlet.kill();
/// ```
///
/// gevent: `gevent.util.GreenletTree.forest()`.
pub fn greenlets() -> Vec<Snapshot> {
    dump().greenlets
}

impl Dump {
    /// The greenlets, oldest first.
    pub fn greenlets(&self) -> &[Snapshot] {
        &self.greenlets
    }

    /// The OS threads that wait in calls of this crate, oldest first.
    pub fn threads(&self) -> &[Snapshot] {
        &self.threads
    }

    /// An object with `greenlets` and `threads`, two arrays of objects: `id`, `name` (or
    /// null), `parent`, `spawned_at`, `state`, `waits_at` and `waits_for` (or null),
    /// `since_ms`, `stack_bytes` and `stack_used` (or null).
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::dump().to_json().starts_with(r#"{"greenlets":["#));
    /// ```
    pub fn to_json(&self) -> String {
        let all = |of: &[Snapshot]| of.iter().map(to_value).collect::<Vec<_>>();
        json!({ "greenlets": all(&self.greenlets), "threads": all(&self.threads) }).to_string()
    }
}

fn to_value(of: &Snapshot) -> Value {
    json!({
        "id": of.id,
        "name": of.name,
        "parent": of.parent,
        "spawned_at": of.spawned_at,
        "state": of.state,
        "waits_at": of.waits_at,
        "waits_for": of.waits_for,
        "since_ms": u64::try_from(of.since.as_millis()).unwrap_or(u64::MAX),
        "stack_bytes": of.stack_bytes,
        "stack_used": of.stack_used,
    })
}

fn snapshot(task: &Task, now: u64, pagemap: Option<&Pagemap>) -> Snapshot {
    let (wait, since) = task.waits_on();
    let (site, whom) = task.waits_at();
    let waits = wait != Wait::Nothing;
    let top = task.stack_top.load(std::sync::atomic::Ordering::Relaxed);
    Snapshot {
        id: task.id,
        name: task.name.as_deref().map(str::to_owned),
        is_thread: !task.is_greenlet(),
        parent: task.parent,
        spawn_chain: lineage::chain(task),
        spawned_at: task.site.to_string(),
        state: wait.as_str(),
        // Of a turn nothing is noted, and nothing was ever called by what never ran.
        waits_at: (waits && !matches!(wait, Wait::Turn | Wait::Start)).then(|| site.to_string()),
        waits_for: whom.id().filter(|_| waits),
        since: Duration::from_nanos(now.saturating_sub(since)),
        stack_bytes: task.stack_bytes,
        stack_used: pagemap
            .filter(|_| top != 0)
            .and_then(|pagemap| pagemap.stack_used(top, task.stack_bytes)),
    }
}

/// Greenlets and threads by the one below which they hang; 0 is the top.
struct Tree<'a> {
    children: BTreeMap<u64, Vec<&'a Snapshot>>,
}

impl<'a> Tree<'a> {
    fn new(dump: &'a Dump) -> Self {
        let all = || dump.threads.iter().chain(&dump.greenlets);
        let there: HashSet<u64> = all().map(|one| one.id).collect();
        let mut children = BTreeMap::<_, Vec<_>>::new();
        for one in all() {
            let above = one.spawn_chain.iter().find(|a| there.contains(&a.id));
            let above = above.map_or(0, |ancestor| ancestor.id);
            children.entry(above).or_default().push(one);
        }
        Self { children }
    }

    /// Writes what hangs below `above`. The depth is that of living greenlets, each of
    /// which can have spawned the next: not recursive, as the stack may be a small one.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = |id: u64| self.children.get(&id).map_or(&[][..], Vec::as_slice);
        let mut levels = vec![(0, below(0))];
        while let Some((above, rest)) = levels.last_mut() {
            let above = *above;
            let Some((&one, others)) = rest.split_first() else {
                levels.pop();
                continue;
            };
            *rest = others;
            let depth = levels.len().saturating_sub(2).min(INDENT_MAX);
            for (_, rest) in levels.iter().skip(1).take(depth) {
                f.write_str(if rest.is_empty() { "   " } else { "│  " })?;
            }
            if levels.len() > 1 {
                f.write_str(if others.is_empty() {
                    "└─ "
                } else {
                    "├─ "
                })?;
            }
            writeln!(f, "{}", Line { one, above })?;
            levels.push((one.id, below(one.id)));
        }
        Ok(())
    }
}

/// A chain of many thousands, each below the one before, would be mostly blanks.
const INDENT_MAX: usize = 32;

/// One greenlet's line in the tree.
struct Line<'a> {
    one: &'a Snapshot,
    /// Below whom it stands.
    above: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.one;
        let title = lineage::title(one.id, one.name.as_deref());
        let thread = if one.is_thread { "thread " } else { "" };
        write!(f, "{thread}{title}: ")?;
        if one.state == Wait::Nothing.as_str() {
            write!(f, "running for {:.1?}", one.since)?;
        } else {
            write!(f, "waits on {} for {:.1?}", one.state, one.since)?;
        }
        if let Some(site) = &one.waits_at {
            write!(f, " at {site}")?;
        }
        if let Some(whom) = one.waits_for {
            write!(f, " (for #{whom})")?;
        }
        if one.is_thread {
            return Ok(());
        }
        let kib = |bytes: usize| bytes.div_ceil(1024);
        match one.stack_used {
            Some(used) => write!(f, ", stack {}/{} KiB", kib(used), kib(one.stack_bytes))?,
            None => write!(f, ", stack {} KiB", kib(one.stack_bytes))?,
        }
        write!(f, ", spawned at {}", one.spawned_at)?;
        match one.spawn_chain.first() {
            Some(parent) if parent.id == self.above => Ok(()),
            Some(parent) if parent.is_thread => write!(f, " by {parent}"),
            Some(parent) => {
                let title = lineage::title(parent.id, parent.name.as_deref());
                write!(f, " by {title}, which has ended")
            }
            None => Ok(()),
        }
    }
}

/// A first line that counts, and then the tree.
impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "greenlets: {}", self.greenlets.len())?;
        Tree::new(self).write(f)
    }
}

/// Writes a [`dump`] to standard error, for the signal.
pub(crate) fn dump_to_stderr() {
    // Nobody is left to tell if standard error is gone.
    let _ = std::io::stderr().write_all(dump().to_string().as_bytes());
}
