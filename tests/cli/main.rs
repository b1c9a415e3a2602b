//! The built command, driven as a user does: exact output, exact exit codes, real signals.
//! A module per family of commands.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_stack_frames,
    clippy::large_stack_arrays,
    reason = "tests and the other side of the command are plain threads, and may fail"
)]

#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/vt.rs"]
mod vt;

mod backlog;
mod chat;
mod connect;
mod connect_tls;
mod datagrams;
mod demo;
mod get;
mod get_dry_run;
mod get_early;
mod get_full;
mod get_input;
mod get_kill;
mod get_memory;
mod get_names;
mod get_network;
mod get_order;
mod get_pace;
mod get_session;
mod get_signals;
mod get_split;
mod get_terminal;
mod get_verify;
mod get_watch;
mod hello;
mod listen;
mod load;
mod models;
mod paced;
mod serve;
mod tftp;
mod tools;
mod tour;
mod upload;
mod usage;
