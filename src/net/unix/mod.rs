//! Sockets between processes of one machine, by the name of a file (unix(7)).

mod addr;

pub use addr::UnixAddr;
