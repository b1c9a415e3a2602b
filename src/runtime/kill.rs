//! Kill: a level that blocking calls see, never a panic out of nowhere.

use crate::runtime::park::current;

/// Runs `f` such that no kill is seen inside it, and no [`Timeout`](crate::Timeout) that
/// was started outside.
///
/// For clean-up that has to wait: what is killed meanwhile finds out at its first blocking
/// call after `f`. Shields nest. Limits that `f` itself sets work.
///
/// # Switching
/// Only where `f` does.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let greenlet = greenloop::spawn(|| {
///     while greenloop::sleep(Duration::from_secs(60)).is_ok() {}
///     // Killed. The farewell may still wait:
///     greenloop::shield(|| greenloop::sleep(Duration::from_millis(5))).unwrap();
/// });
/// assert!(greenlet.kill_and_wait(None).unwrap());
/// ```
///
/// gevent: none; a `finally` block may wait there, because a kill is thrown once.
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    struct Shield(std::sync::Arc<super::task::Task>);
    impl Drop for Shield {
        fn drop(&mut self) {
            self.0.unshield();
        }
    }
    let task = current();
    task.shield();
    let _shield = Shield(task);
    f()
}

/// Tells whether the current greenlet was killed, for loops that do not wait.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// assert!(!greenloop::is_killed());
/// ```
pub fn is_killed() -> bool {
    current().is_killed()
}
