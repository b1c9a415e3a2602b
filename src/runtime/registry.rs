//! All greenlets that are alive, for those who ask what a program is doing.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::runtime::clock;
use crate::runtime::reason::Wait;
use crate::runtime::task::Task;
use crate::util::{escape, lock};

/// Enough that spawns on all cores rarely meet.
const SHARDS: usize = 16;

/// `None` until the first greenlet: a map cannot be made in a constant.
type Shard = Mutex<Option<HashMap<u64, Arc<Task>>>>;

static ALIVE: [Shard; SHARDS] = [const { Mutex::new(None) }; SHARDS];

pub(crate) fn add(task: &Arc<Task>) {
    lock(shard(task))
        .get_or_insert_default()
        .insert(task.id, task.clone());
}

pub(crate) fn remove(task: &Task) {
    let removed = lock(shard(task))
        .as_mut()
        .and_then(|shard| shard.remove(&task.id));
    // Dropped after the lock is released.
    drop(removed);
}

#[expect(clippy::cast_possible_truncation, reason = "only the last bits count")]
fn shard(task: &Task) -> &'static Shard {
    &ALIVE[task.id as usize % SHARDS]
}

/// What is known of one greenlet at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The number of the greenlet or OS thread that spawned it.
    pub parent: u64,
    /// Where it was spawned, as `file:line:column`.
    pub spawned_at: String,
    /// What it waits on, `running` if on nothing.
    pub state: &'static str,
    /// How long it has been waiting (for a running one: since its last wait began).
    pub since: Duration,
    /// The size of its stack.
    pub stack_bytes: usize,
}

/// All greenlets that are alive, oldest first.
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
    let now = clock::now();
    let mut all: Vec<_> = ALIVE
        .iter()
        .flat_map(|shard| {
            lock(shard)
                .iter()
                .flat_map(HashMap::values)
                .cloned()
                .collect::<Vec<_>>()
        })
        .map(|task| snapshot(&task, now))
        .collect();
    all.sort_unstable_by_key(|g| g.id);
    all
}

fn snapshot(task: &Task, now: u64) -> Snapshot {
    let (wait, since) = task.waits_on();
    Snapshot {
        id: task.id,
        name: task.name.as_deref().map(str::to_owned),
        parent: task.parent,
        spawned_at: task.site.to_string(),
        state: if wait == Wait::Nothing {
            "running"
        } else {
            wait.as_str()
        },
        since: Duration::from_nanos(now.saturating_sub(since)),
        stack_bytes: task.stack_bytes,
    }
}

/// All greenlets as text, a line each. SIGQUIT writes the same to standard error.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// assert!(greenloop::dump_text().starts_with("greenlets: "));
/// ```
///
/// gevent: `gevent.util.print_run_info()`.
pub fn dump_text() -> String {
    use std::fmt::Write as _;
    let all = greenlets();
    let mut out = format!("greenlets: {}\n", all.len());
    for g in all {
        let name = g
            .name
            .as_deref()
            .map_or_else(String::new, |n| format!(" \"{}\"", escape(n.as_bytes())));
        let waits = if g.state == "running" {
            "running"
        } else {
            "waits on "
        };
        let what = if g.state == "running" { "" } else { g.state };
        let _ = writeln!(
            out,
            "  #{}{name}: {waits}{what} for {:.1?}, spawned by #{} at {}",
            g.id, g.since, g.parent, g.spawned_at
        );
    }
    out
}

/// All greenlets as JSON: an object with `greenlets`, an array of objects with `id`,
/// `name` (or null), `parent`, `spawned_at`, `state`, `since_ms` and `stack_bytes`.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// assert!(greenloop::dump_json().starts_with(r#"{"greenlets":["#));
/// ```
pub fn dump_json() -> String {
    let all: Vec<Value> = greenlets()
        .into_iter()
        .map(|g| {
            json!({
                "id": g.id,
                "name": g.name,
                "parent": g.parent,
                "spawned_at": g.spawned_at,
                "state": g.state,
                "since_ms": u64::try_from(g.since.as_millis()).unwrap_or(u64::MAX),
                "stack_bytes": g.stack_bytes,
            })
        })
        .collect();
    json!({ "greenlets": all }).to_string()
}

/// Writes [`dump_text`] to standard error, for the signal.
pub(crate) fn dump_to_stderr() {
    // Nobody is left to tell if standard error is gone.
    let _ = std::io::stderr().write_all(dump_text().as_bytes());
}
