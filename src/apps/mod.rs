//! Small programs over the floors below, as functions that the command, the examples and
//! the tests call alike.
//!
//! Here: what a program does. Not here: argument parsing, standard output, exit codes
//! (`cli/`), and anything two programs share (that belongs on a lower floor).

pub mod backlog;
pub mod broadcast;
pub mod chat;
pub mod chatroom;
pub mod connect;
pub mod demo_framing;
pub mod demo_gevent;
pub mod demo_switch;
pub mod echo;
pub mod hello;
pub mod listen;
#[cfg(feature = "cli")]
pub mod load;
pub mod models;
pub mod tftp;
pub mod upload;
