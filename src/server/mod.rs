//! Servers: accept, serve, and stop without cutting anybody off.
//!
//! ```text
//!  bind ─► accept loop: permit, then accept ─► a greenlet per connection ─► handler
//!                 ▲                                   │
//!                 └───────── permit comes back ◄──────┘
//!  drain:  1 close listeners   2 tell connections   3 wait   4 kill the rest   5 report
//! ```
//!
//! Invariants:
//! - a connection is accepted only when there is a permit for it: at the limit the kernel's
//!   queue holds the clients, not our memory;
//! - the accept loop runs no user code but [`Observer::accept_error`] and
//!   [`Observer::full`], and logs nothing;
//! - whatever a handler does (return, fail, panic, hang), its connection is closed, counted
//!   and reported, and no other is touched.
//!
//! What is said over a connection does not belong here (see `apps`, `http`).

mod accept;
mod config;
mod conns;
mod datagram;
mod drain;
mod handle;
mod handler;
mod observe;
mod stream;
mod writer;

pub(crate) use accept::{Pause, Verdict, sort};
pub use config::ServerConfig;
pub(crate) use config::max_connections_default;
pub use datagram::{
    Datagram, DatagramConfig, DatagramHandler, DatagramReport, DatagramServer, DropReason, Outlet,
};
pub use handle::ServerHandle;
pub use handler::{Conn, Handler};
pub use observe::{ConnEnd, ConnInfo, NoObserver, Observer, Outcome, Report};
pub use stream::StreamServer;
pub use writer::ConnWriter;
