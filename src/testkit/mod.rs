//! What tests of programs on this crate want.
//!
//! - [`assert_switches`], [`assert_no_switch`], [`assert_max_block`]: whether a piece of
//!   code gives way to others;
//! - [`Sequencer`]: blocks of several greenlets in a given order;
//! - [`stream_pair`]: a connection in memory, without sockets;
//! - [`ScriptedListener`]: connections and accept errors by a script;
//! - [`Faulty`]: a stream that fails on call *n*, or at random and again the same way.
//!
//! It is there with the feature `testkit`, for `dev-dependencies`:
//!
//! ```toml
//! [dev-dependencies]
//! greenloop = { version = "0.1", features = ["testkit"] }
//! ```
//!
//! None of it sleeps for synchronisation, reads the environment or uses chance that cannot
//! be replayed. What a program needs when it runs does not belong here.

mod accept;
mod faulty;
mod memory;
mod sequencer;
mod switches;

pub use accept::{AcceptScript, ScriptedListener, errno};
pub use faulty::{Fault, Faults, Faulty, Injected};
pub use memory::{MemoryStream, stream_pair};
pub use sequencer::{Sequencer, Turn};
pub use switches::{assert_max_block, assert_no_switch, assert_switches};
