//! Switching stacks on one OS thread: generators and greenlets, without a scheduler.
//!
//! ```text
//!   Generator: asymmetric               Greenlet: symmetric
//!
//!   resumer        body                 main       test1      test2
//!   ┌───────┐ send ┌───────┐            ┌──────┐   ┌──────┐   ┌──────┐
//!   │ frame │─────▶│ frame │            │ run  │   │      │   │      │
//!   │       │      │ frame │            │ loop │──▶│switch│┄┄▶│switch│
//!   │       │◀─────│yield_ │            │      │◀──│      │◀┄┄│      │
//!   └───────┘      └───────┘            └──────┘   └──────┘   └──────┘
//!   OS thread's    a stack of           every switch is a suspend to the loop on
//!   own stack      the pool             main's stack and a resume from there
//! ```
//!
//! A [`Generator`] goes back to whoever resumed it, as Python's `yield` does. A
//! [`Greenlet`] goes wherever it says, as in Python's `greenlet` package. Both run on
//! the OS thread that resumes them, never in parallel; nothing here waits, and the order
//! of events is the same on every run. A body that blocks blocks its OS thread.
//!
//! Here: stacks and who runs next. Not here: scheduling, timers, I/O, and greenlets that
//! move between workers (`greenloop::Greenlet`).
//!
//! # What holds for both
//! - They are `!Send`: the values on a suspended stack may be tied to their thread.
//! - Dropping a suspended one unwinds its stack, so its destructors run. The unwinding
//!   uses the panic machinery (`panic = "abort"` aborts), and a body must not swallow it
//!   forever in a loop around `catch_unwind`.
//! - Nothing switches while unwinding: calls made then return an error at once, because a
//!   suspended unwind would let other stacks believe that *they* panic.
//! - A panic in a body reaches the one who gets control when the body ends.
//! - A stack overflow ends the process with a sentence that names the stack.

mod builder;
mod generator;
mod greenlet;
mod hub;
pub(crate) mod overflow;
mod slots;
mod stack;

pub use builder::Builder;
pub use generator::{CloseError, Generator, Interrupt, ResumeError, Step, Yielder};
pub use greenlet::{Greenlet, GreenletExit, Passed, SetParentError, SwitchError};
pub use hub::{Here, Hub, Switch, Why};
pub use stack::{DEFAULT_STACK_BYTES, PoolStats, pool_stats};

/// What [`Generator::throw`] and [`Greenlet::throw`] carry.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
