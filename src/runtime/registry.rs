//! All greenlets that are alive, and the OS threads that wait, for those who ask what a
//! program is doing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::runtime::task::Task;
use crate::util::lock;

/// Enough that spawns on all cores rarely meet.
const SHARDS: usize = 16;

/// `None` until the first greenlet: a map cannot be made in a constant.
type Shard = Mutex<Option<HashMap<u64, Arc<Task>>>>;

static ALIVE: [Shard; SHARDS] = [const { Mutex::new(None) }; SHARDS];
static THREADS: Shard = Mutex::new(None);

pub(crate) fn add(task: &Arc<Task>) {
    put(shard(task.id), task);
}

pub(crate) fn remove(task: &Task) {
    take(shard(task.id), task);
}

/// Lists an OS thread while it waits.
pub(crate) fn add_thread(task: &Arc<Task>) {
    put(&THREADS, task);
}

#[cold]
pub(crate) fn remove_thread(task: &Task) {
    take(&THREADS, task);
}

/// The greenlets that are alive, oldest first.
pub(crate) fn all() -> Vec<Arc<Task>> {
    sorted(ALIVE.iter().flat_map(tasks).collect())
}

/// The OS threads that wait, oldest first.
pub(crate) fn threads() -> Vec<Arc<Task>> {
    sorted(tasks(&THREADS))
}

/// The greenlet of that number, while it is alive.
pub(crate) fn find(id: u64) -> Option<Arc<Task>> {
    lock(shard(id)).as_ref()?.get(&id).cloned()
}

/// How many are alive.
pub(crate) fn count() -> usize {
    let len = |shard: &Shard| lock(shard).as_ref().map_or(0, HashMap::len);
    ALIVE.iter().map(len).sum()
}

#[expect(clippy::cast_possible_truncation, reason = "only the last bits count")]
fn shard(id: u64) -> &'static Shard {
    &ALIVE[id as usize % SHARDS]
}

fn put(shard: &Shard, task: &Arc<Task>) {
    lock(shard)
        .get_or_insert_default()
        .insert(task.id, task.clone());
}

fn take(shard: &Shard, task: &Task) {
    let removed = lock(shard)
        .as_mut()
        .and_then(|shard| shard.remove(&task.id));
    // Dropped after the lock is released.
    drop(removed);
}

fn tasks(shard: &Shard) -> Vec<Arc<Task>> {
    let shard = lock(shard);
    shard.iter().flat_map(HashMap::values).cloned().collect()
}

fn sorted(mut tasks: Vec<Arc<Task>>) -> Vec<Arc<Task>> {
    tasks.sort_unstable_by_key(|task| task.id);
    tasks
}
