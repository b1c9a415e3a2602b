//! A hand-over that failed, with what was to be handed over.

use std::fmt;

use crate::error::Error;

/// What keeps an item from being put, and the item.
///
/// # Examples
///
/// ```
/// use greenloop::sync::Queue;
///
/// let queue = Queue::unbounded();
/// queue.close();
/// let refused = queue.put("item").unwrap_err();
/// assert!(refused.error().is_closed());
/// assert_eq!(refused.into_item(), "item");
/// ```
pub struct PutError<T> {
    item: T,
    error: Error,
}

impl<T> PutError<T> {
    pub(crate) fn new(item: T, error: Error) -> Self {
        Self { item, error }
    }

    /// Gives the item back.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Queue;
    ///
    /// let queue = Queue::bounded(1);
    /// queue.put(vec![1])?;
    /// let list = queue.try_put(vec![2]).unwrap_err().into_item();
    /// assert_eq!(list, [2]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_item(self) -> T {
        self.item
    }

    /// Why it was not taken.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Tells whether there was no room for it, or nobody who waited (`try_put`).
    pub fn is_full(&self) -> bool {
        self.error.is_limit()
    }
}

impl<T> From<PutError<T>> for Error {
    fn from(refused: PutError<T>) -> Self {
        refused.error
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({})", self.error)
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for PutError<T> {}
