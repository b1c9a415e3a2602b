//! From a program's `main` into the first greenlet.

use std::panic::resume_unwind;

use crate::runtime::park::current;
use crate::runtime::spawn::Builder;

/// Runs `f` as a greenlet named `main` and waits for it, on the calling OS thread.
///
/// Starts the runtime if nobody has. Called from inside a greenlet it just calls `f`.
/// Other greenlets are not waited for.
///
/// # Switching
/// Blocks the OS thread; inside a greenlet, only where `f` switches.
///
/// # Panics
/// If `f` panics, with its payload; if the greenlet was killed; and as
/// [`spawn`](crate::spawn).
///
/// # Examples
///
/// ```
/// let sum: u32 = greenloop::run(|| {
///     let parts: Vec<_> = (1..=3).map(|i| greenloop::spawn(move || i * 10)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum()
/// });
/// assert_eq!(sum, 60);
/// ```
///
/// gevent: the main greenlet, which is there from the start.
#[track_caller]
pub fn run<T, F>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if current().on_worker {
        return f();
    }
    let main = Builder::new().name("main").spawn(f);
    match main.join() {
        Ok(value) => value,
        Err(error) => match error.into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(error) => panic!("{error}"),
        },
    }
}
