//! What listening sockets of every family do alike.

use std::fmt;
use std::io;
use std::net::Shutdown;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;

use crate::net::endpoint::Addr;
use crate::net::listener::TcpListener;
use crate::net::socket::StreamSocket;
use crate::net::unix::{SocketFile, UnixListener};
use crate::runtime::deadline::Deadline;
use crate::runtime::io::Source;
use crate::runtime::reason::Wait;

/// A listening socket; the public types wrap one, a server has several.
pub(crate) struct ListenSocket {
    /// Of a Unix socket: removed before it is closed, while its inode is still taken.
    _file: Option<SocketFile>,
    source: Source<Socket>,
    /// Made here, so that no other process shares the socket.
    own: bool,
}

/// Has `socket`, which is bound, take connections.
pub(super) fn listen(socket: &Socket, backlog: u32) -> io::Result<()> {
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

impl ListenSocket {
    /// Takes a socket that was made here and listens.
    pub(super) fn listening(socket: Socket, file: Option<SocketFile>) -> io::Result<Self> {
        Ok(Self {
            source: Source::new(socket)?,
            own: true,
            _file: file,
        })
    }

    /// Takes over a socket that listens already.
    pub(super) fn inherit(socket: Socket) -> io::Result<Self> {
        Ok(Self {
            source: Source::new(socket)?,
            own: false,
            _file: None,
        })
    }

    #[track_caller]
    pub(crate) fn accept(&mut self, limit: Deadline) -> io::Result<(StreamSocket, Addr)> {
        let (socket, peer) = self.accept_socket(limit)?;
        if peer.ip().is_some() {
            // It fails if the peer has gone already; reading will tell.
            let _ = socket.set_tcp_nodelay(true);
        }
        Ok((StreamSocket::new(socket)?, peer))
    }

    /// Waits for a connection of whatever kind.
    #[track_caller]
    pub(super) fn accept_socket(&mut self, limit: Deadline) -> io::Result<(Socket, Addr)> {
        let (socket, peer) = self.source.read_with(Wait::Accept, limit, Socket::accept)?;
        Ok((socket, Addr::from_sockaddr(&peer)))
    }

    /// Waits for a connection without taking it.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) -> io::Result<()> {
        self.source
            .read_with(Wait::Accept, Deadline::NEVER, |listener| {
                let now = Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&now))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            })
    }

    /// Stops listening at once; the drop does so too, but perhaps a moment later.
    pub(crate) fn close(self) {
        if self.own {
            // On Linux this ends the listening; it fails only where it has ended.
            let _ = self.source.get_ref().shutdown(Shutdown::Read);
        }
    }

    pub(super) fn get_ref(&self) -> &Socket {
        self.source.get_ref()
    }

    pub(crate) fn local_addr(&self) -> io::Result<Addr> {
        Ok(Addr::from_sockaddr(&self.get_ref().local_addr()?))
    }

    pub(crate) fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(name);
        if let Ok(addr) = self.local_addr() {
            shown.field("local", &addr);
        }
        shown.finish_non_exhaustive()
    }
}

/// A listening socket of any family, as [`ServerConfig::on`](crate::server::ServerConfig::on)
/// takes it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// For TCP.
    Tcp(TcpListener),
    /// For a Unix socket.
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl From<Listener> for ListenSocket {
    fn from(listener: Listener) -> Self {
        match listener {
            Listener::Tcp(listener) => listener.into(),
            Listener::Unix(listener) => listener.into(),
        }
    }
}
