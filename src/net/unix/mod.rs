//! Sockets between processes of one machine, by the name of a file (unix(7)).

mod addr;
mod datagram;
mod file;
mod listener;
mod seqpacket;
mod stream;

pub use addr::UnixAddr;
pub use datagram::UnixDatagram;
pub(crate) use datagram::bind_datagram;
pub(super) use file::{SocketFile, bind};
pub use listener::UnixListener;
pub use seqpacket::{SeqpacketListener, SeqpacketStream};
pub use stream::UnixStream;
