//! What a greenlet can be a member of, and leaves with its end.
//!
//! A link runs after the end is known; by then somebody may have looked at a pool and found
//! it full of greenlets that it has just joined. A club is told before: under the lock that
//! guards the end, so nobody sees the end and the membership at once.

use std::sync::Arc;

use crate::runtime::greenlet::Exit;

/// See the module.
pub(crate) trait Club: Send + Sync {
    /// Greenlet `id` has ended.
    ///
    /// Called with the lock of its end held: must not wait, run user code or ask any
    /// greenlet for its end; and nobody calls into a greenlet's end with the club's own
    /// lock held.
    fn left(&self, id: u64, exit: &Exit);
}

/// What one greenlet is a member of.
#[derive(Default)]
pub(crate) struct Clubs(Vec<Arc<dyn Club>>);

impl Clubs {
    pub(crate) fn add(&mut self, club: Arc<dyn Club>) {
        self.0.push(club);
    }

    pub(crate) fn remove(&mut self, club: &Arc<dyn Club>) {
        self.0.retain(|other| !Arc::ptr_eq(other, club));
    }

    /// Tells all, in order, and gives them back to be dropped without a lock.
    pub(crate) fn tell_all(&mut self, id: u64, exit: &Exit) -> Self {
        let clubs = std::mem::take(&mut self.0);
        for club in &clubs {
            club.left(id, exit);
        }
        Self(clubs)
    }
}
