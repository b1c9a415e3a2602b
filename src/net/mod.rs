//! Sockets: addresses, names, TCP (and TLS on top), Unix sockets.
//!
//! Everything here looks like its counterpart in `std::net` and waits the greenlet's way:
//! while a call waits, other greenlets run; a kill or a [`Timeout`](crate::Timeout) ends it
//! with an error. One stream has one user at a time, which `&mut self` enforces at compile
//! time; for both directions at once there are [`TcpStream::split`] and
//! [`UnixStream::split`].
//!
//! What a connection is used for does not belong here (see `server`).

mod accept;
mod addr;
mod connect;
mod datagram;
mod endpoint;
mod frame;
mod listener;
mod pktinfo;
mod resolve;
mod socket;
mod split;
mod stream;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
mod udp;
mod udp_options;
mod unix;

pub(crate) use accept::ListenSocket;
pub use accept::Listener;
pub use addr::Address;
pub(crate) use connect::connect_stream;
pub use datagram::Received;
pub(crate) use datagram::{DatagramSender, DatagramSocket, Destination};
pub use endpoint::{Addr, Endpoint};
pub use frame::{read_frame, read_frame_deadline, write_frame, write_frame_deadline};
pub use listener::{ListenOptions, TcpListener};
pub use pktinfo::Arrival;
pub(crate) use pktinfo::machine_ips;
pub use resolve::{resolve, resolve_deadline};
pub(crate) use socket::StreamSocket;
pub use split::{ReadHalf, WriteHalf};
pub use std::net::Shutdown;
pub use stream::Stream;
pub use tcp::TcpStream;
pub use udp::UdpSocket;
pub use udp_options::UdpOptions;
pub(crate) use unix::bind_datagram;
pub use unix::{
    SeqpacketListener, SeqpacketStream, UnixAddr, UnixDatagram, UnixListener, UnixStream,
};
