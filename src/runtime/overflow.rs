//! What is said when a greenlet runs over its stack.

/// Comes with the reporter in `switch`.
pub(crate) fn install() {}
