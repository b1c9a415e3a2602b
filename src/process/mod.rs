//! Other programs: start them, talk to them, wait for them.
//!
//! [`Command`] says what to start, as std's does; [`Child`] is what runs. Its pipes wait on
//! the worker's epoll, its end is one more thing to wait for, beside greenlets and events
//! ([`wait_any`](crate::wait_any)).
//!
//! ```text
//!   spawn ──► fork and exec on a thread of the files lane
//!     │
//!   Child ── stdin, stdout, stderr: PipeWriter, PipeReader
//!     │
//!   Process (handle) ◄── ends ── thread "greenloop-child": an epoll of pidfds, reaps
//! ```
//!
//! - A child is watched by a descriptor (pidfd), not by SIGCHLD: no handler is installed,
//!   nobody else's children are waited for, and a signal never goes to a later process
//!   that got the same number.
//! - Every child is reaped when it ends, whether or not anyone waits or holds a handle:
//!   there are no zombies.
//! - Killing a greenlet, or dropping a [`Child`], leaves the child running, unless
//!   [`Command::kill_on_drop`] says otherwise. What starts and awaits in one call
//!   ([`Command::status`], [`Command::output`]) ends the child when it leaves early.
//! - A child inherits its three standard streams and nothing else.

mod child;
mod command;
mod output;
mod pipe;
mod reaper;

pub use std::process::{ExitStatus, Stdio};

pub use child::{Child, Process};
pub use command::Command;
pub use output::{Output, OutputError};
pub use pipe::{PipeReader, PipeWriter};
