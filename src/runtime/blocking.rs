//! The built-in lanes: for the user's calls, for names, for files.
//!
//! Each kind has its own, so that slow lookups, slow disks and slow user jobs do not hold
//! each other up.

use std::sync::LazyLock;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::lane::Lane;
use crate::runtime::reason::Wait;

/// For [`blocking`]: as many as a disk or a C library makes use of.
static USER: LazyLock<Lane> = LazyLock::new(|| Lane::built_in("greenloop-lane", 32));
/// For name resolution: mostly waiting, so more than cores.
static DNS: LazyLock<Lane> = LazyLock::new(|| Lane::built_in("greenloop-dns", 16));
/// For files and the start of programs: a disk serves some requests at once, not many.
static FILES: LazyLock<Lane> = LazyLock::new(|| Lane::built_in("greenloop-files", 16));

/// Runs `f` on an OS thread and waits for it, while other greenlets run.
///
/// For everything that blocks and knows nothing of greenlets: C libraries, long
/// computation, files beyond what [`fs`](crate::fs) offers. At most 32 such calls run at
/// once ([`Lane::for_blocking`] changes that); further ones wait their turn. A call from
/// inside `f` runs in place. If the caller leaves early, `f` is dropped without having
/// run, or runs to its end and its result is dropped.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// The caller was killed or timed out while it waited; the system refused the lane its
/// first thread (`f` has not run then).
///
/// # Panics
/// If `f` does, with its payload.
///
/// # Examples
///
/// ```
/// let text = greenloop::blocking(|| std::fs::read_to_string("Cargo.toml"))??;
/// assert!(text.contains("greenloop"));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.get_hub().threadpool.apply(f)`.
#[track_caller]
pub fn blocking<T, F>(f: F) -> Result<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    USER.run_for(Wait::Lane, Deadline::NEVER, f)
}

impl Lane {
    /// The lane behind [`blocking`]: 32 threads at most.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Lane;
    ///
    /// Lane::for_blocking().set_threads_max(64);
    /// assert_eq!(Lane::for_blocking().stats().max, 64);
    /// ```
    ///
    /// gevent: `gevent.get_hub().threadpool`.
    pub fn for_blocking() -> Self {
        USER.clone()
    }

    /// The lane of [`fs`](crate::fs), and of the start of programs: 16 threads at most.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Lane;
    ///
    /// // A disk array that serves more at once.
    /// Lane::for_files().set_threads_max(32);
    /// assert_eq!(Lane::for_files().stats().max, 32);
    /// ```
    pub fn for_files() -> Self {
        FILES.clone()
    }

    /// The lane of name resolution: 16 threads at most.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Lane;
    ///
    /// let before = Lane::for_names().stats().done;
    /// greenloop::net::TcpListener::bind("127.0.0.1:0")?; // no name, no thread
    /// assert_eq!(Lane::for_names().stats().done, before);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn for_names() -> Self {
        DNS.clone()
    }
}

/// The lane of name resolution.
pub(crate) fn dns() -> &'static Lane {
    &DNS
}

/// The lane of files.
pub(crate) fn files() -> &'static Lane {
    &FILES
}
