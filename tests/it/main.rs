//! The library's tests, in one binary: many tests in one process share the scheduler, as a
//! user's program does. What needs a process or a worker count of its own runs this binary
//! again as a child (see `support`).

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests are also plain threads, with plain sockets and sleeps, and may fail"
)]

#[cfg(feature = "fetch")]
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/peers.rs"]
#[allow(dead_code, reason = "not every set of features has tests with peers")]
mod peers;
mod support;

mod backlog;
mod chat;
mod chatroom;
mod datagram_server;
mod datagrams;
mod duplex;
mod fair;
#[cfg(feature = "fetch")]
mod faulty;
#[cfg(feature = "fetch")]
mod fetch;
mod frame;
mod gevent;
mod groups;
mod hello;
mod listen;
mod locks;
mod models;
mod net;
#[cfg(feature = "fetch")]
mod origin;
mod os;
mod os_review;
mod outer_timeout;
mod queues;
mod runtime;
mod runtime_review;
mod server;
mod streams;
mod stress;
mod switch;
mod sync;
mod sync_review;
mod testkit;
mod tftp;
mod unix;
mod upload;
