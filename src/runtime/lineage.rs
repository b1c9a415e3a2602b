//! Who started whom: what is still known of a greenlet's ancestors when they have ended.
//!
//! Each greenlet holds its spawner's [`Link`], which holds the spawner's own spawner, and
//! so on. A chain of greenlets that each start the next would grow without end, so a chain
//! of [`LINKS_MAX`] is replaced by a copy of its last [`LINKS_KEPT`]: a link is copied once
//! in so many generations, and nobody keeps more than `LINKS_MAX` of them alive.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::runtime::greenlet::Handle;
use crate::runtime::task::Task;
use crate::util::escape;

/// How many are copied when a chain is cut: what a report shows at least.
const LINKS_KEPT: usize = 8;
/// How long a chain may grow before it is cut.
const LINKS_MAX: usize = 2 * LINKS_KEPT;

/// One ancestor, and its own.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) site: &'static Location<'static>,
    pub(crate) is_greenlet: bool,
    /// How many there are from here on.
    len: usize,
    parent: Option<Arc<Self>>,
}

impl Link {
    /// The link that stands for `task` in the chains of those it starts.
    pub(crate) fn of(task: &Task, parent: Option<&Arc<Self>>) -> Arc<Self> {
        let own = Self {
            id: task.id,
            name: task.name.clone(),
            site: task.site,
            is_greenlet: task.is_greenlet(),
            len: 1,
            parent: None,
        };
        own.below(parent)
    }

    /// Puts it at the end of a chain, which is cut if it is long.
    fn below(mut self, parent: Option<&Arc<Self>>) -> Arc<Self> {
        self.parent = match parent {
            Some(parent) if parent.len >= LINKS_MAX => parent.copy(LINKS_KEPT - 1),
            parent => parent.cloned(),
        };
        self.len = 1 + self.parent.as_ref().map_or(0, |parent| parent.len);
        Arc::new(self)
    }

    /// The nearest `count` of the chain, as a chain of its own.
    fn copy(&self, count: usize) -> Option<Arc<Self>> {
        if count == 0 {
            return None;
        }
        let parent = self.parent.as_ref().and_then(|p| p.copy(count - 1));
        Some(Arc::new(Self {
            len: 1 + parent.as_ref().map_or(0, |parent| parent.len),
            parent,
            ..self.clone()
        }))
    }

    /// This one and those before it, nearest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |link| link.parent.as_deref())
    }
}

/// One of those a greenlet descends from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ancestor {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is an OS thread and no greenlet.
    pub is_thread: bool,
    /// Where it was spawned, as `file:line:column`. For an OS thread: where it first used
    /// the runtime.
    pub spawned_at: String,
}

impl fmt::Display for Ancestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = title(self.id, self.name.as_deref());
        if self.is_thread {
            write!(f, "thread {title}")
        } else {
            write!(f, "{title}, spawned at {}", self.spawned_at)
        }
    }
}

impl From<&Link> for Ancestor {
    fn from(link: &Link) -> Self {
        Self {
            id: link.id,
            name: link.name.as_deref().map(str::to_owned),
            is_thread: !link.is_greenlet,
            spawned_at: link.site.to_string(),
        }
    }
}

/// `"NAME" (#ID)`, or `#ID`.
pub(crate) fn title(id: u64, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("\"{}\" (#{id})", escape(name.as_bytes())),
        None => format!("#{id}"),
    }
}

/// What the greenlet descends from, nearest first.
pub(crate) fn chain(task: &Task) -> Vec<Ancestor> {
    let parent = task.ancestors.as_deref();
    let links = parent.map(|link| link.iter().take(LINKS_KEPT));
    links.into_iter().flatten().map(Ancestor::from).collect()
}

/// A chain as lines below a greenlet's title, each with its line's end.
pub(crate) fn lines(chain: &[Ancestor]) -> String {
    chain
        .iter()
        .map(|ancestor| format!("  by {ancestor}\n"))
        .collect()
}

impl Handle {
    /// Who spawned it, who spawned that one, and so on, nearest first: the last eight.
    ///
    /// Known also when they have ended.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// let parent = greenloop::Builder::new().name("parent").spawn(|| {
    ///     let child = greenloop::spawn(|| greenloop::current().spawn_chain());
    ///     child.join().unwrap()
    /// });
    /// let chain = parent.join().unwrap();
    /// assert_eq!(chain[0].name.as_deref(), Some("parent"));
    /// assert!(chain[1].is_thread);
    /// ```
    ///
    /// gevent: `Greenlet.spawning_greenlet`, a weak reference to the nearest.
    pub fn spawn_chain(&self) -> Vec<Ancestor> {
        chain(self.task())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn link(id: u64, parent: Option<&Arc<Link>>) -> Arc<Link> {
        let own = Link {
            id,
            name: None,
            site: Location::caller(),
            is_greenlet: true,
            len: 1,
            parent: None,
        };
        own.below(parent)
    }

    #[test]
    fn chains_are_cut_and_keep_the_nearest() {
        let mut last = None;
        for id in 1..=1000 {
            let next = link(id, last.as_ref());
            let ids: Vec<_> = next.iter().map(|link| link.id).collect();
            assert!(ids.len() <= LINKS_MAX, "{ids:?}");
            assert_eq!(ids.len(), next.len);
            assert!(ids.len() as u64 >= id.min(LINKS_KEPT as u64), "{ids:?}");
            assert!(ids.iter().rev().copied().eq(id + 1 - ids.len() as u64..=id));
            last = Some(next);
        }
    }
}
