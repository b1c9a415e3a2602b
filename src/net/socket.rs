//! What connected stream sockets of every family do alike.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use socket2::Socket;

use crate::net::endpoint::Addr;
use crate::net::split::{ReadHalf, WriteHalf};
use crate::net::stream::Stream;
use crate::runtime::deadline::Deadline;
use crate::runtime::io::Source;
use crate::runtime::reason::Wait;

/// A connected stream socket with its timeouts; the public types wrap one.
pub(crate) struct StreamSocket {
    source: Source<Socket>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl StreamSocket {
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        Ok(Self {
            source: Source::new(socket)?,
            read_timeout: None,
            write_timeout: None,
        })
    }

    /// The socket in blocking mode, for code that knows nothing of greenlets.
    pub(super) fn into_blocking(self) -> io::Result<Socket> {
        let socket = self.get_ref().try_clone()?;
        drop(self);
        socket.set_nonblocking(false)?;
        Ok(socket)
    }

    pub(super) fn get_ref(&self) -> &Socket {
        self.source.get_ref()
    }

    /// Waits for the end of a connect that was begun.
    #[track_caller]
    pub(super) fn wait_connected(&mut self, limit: Deadline) -> io::Result<()> {
        self.source.write_with(Wait::Connect, limit, |socket| {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            match socket.peer_addr() {
                Err(e) if e.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                answer => answer.map(drop),
            }
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<Addr> {
        Ok(Addr::from_sockaddr(&self.get_ref().local_addr()?))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<Addr> {
        Ok(Addr::from_sockaddr(&self.get_ref().peer_addr()?))
    }

    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    #[track_caller]
    pub(super) fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let limit = Deadline::from(self.read_timeout);
        self.source.read_with(Wait::Read, limit, |s| peek(s, buf))
    }

    pub(crate) fn split(self) -> io::Result<(ReadHalf, WriteHalf)> {
        let other = self.second()?;
        Ok((ReadHalf(self), WriteHalf(other)))
    }

    /// A second descriptor of the same socket, for another greenlet, with these timeouts.
    pub(crate) fn second(&self) -> io::Result<Self> {
        let mut other = Self::new(self.get_ref().try_clone()?)?;
        other.read_timeout = self.read_timeout;
        other.write_timeout = self.write_timeout;
        Ok(other)
    }

    /// Reads into `buf`; `None` if `stop` is set and nothing can be read.
    ///
    /// Whoever sets `stop` nudges the greenlet that reads.
    #[track_caller]
    pub(crate) fn read_or_stop(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
        stop: &AtomicBool,
    ) -> io::Result<Option<usize>> {
        self.source.read_unless(stop, limit, |s| receive(s, buf))
    }

    pub(super) fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(name);
        if let Ok(addr) = self.local_addr() {
            shown.field("local", &addr);
        }
        if let Ok(addr) = self.peer_addr() {
            shown.field("peer", &addr);
        }
        shown.finish_non_exhaustive()
    }

    /// Like [`StreamSocket::read_or_stop`] without taking the bytes away.
    #[track_caller]
    pub(crate) fn peek_or_stop(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
        stop: &AtomicBool,
    ) -> io::Result<Option<usize>> {
        self.source.read_unless(stop, limit, |s| peek(s, buf))
    }
}

impl StreamSocket {
    /// Writes what there is room for, and never waits.
    #[cfg(feature = "tls")]
    pub(super) fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        Ok(send(self.get_ref(), buf, SendFlags::NOSIGNAL)?)
    }
}

fn receive(socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, buf, RecvFlags::empty())?.0)
}

fn peek(socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, buf, RecvFlags::PEEK)?.0)
}

impl Stream for StreamSocket {
    #[track_caller]
    fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        if buf.is_empty() {
            // The system would wait for a byte all the same.
            return Ok(0);
        }
        self.source
            .read_with(Wait::Read, limit, |s| receive(s, buf))
    }

    #[track_caller]
    fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        // No signal: a program on this library may have left SIGPIPE as it comes.
        self.source.write_with(Wait::Write, limit, |s| {
            Ok(send(s, buf, SendFlags::NOSIGNAL)?)
        })
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.read_timeout = limit;
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.get_ref().shutdown(how)
    }
}

impl Read for StreamSocket {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.read_timeout.into())
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let limit = self.read_timeout.into();
        self.source
            .read_with(Wait::Read, limit, |s| Ok(rustix::io::readv(s, bufs)?))
    }
}

impl Write for StreamSocket {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_deadline(buf, self.write_timeout.into())
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let limit = self.write_timeout.into();
        self.source.write_with(Wait::Write, limit, |s| {
            let mut nothing = SendAncillaryBuffer::default();
            Ok(sendmsg(s, bufs, &mut nothing, SendFlags::NOSIGNAL)?)
        })
    }

    /// One limit for the whole, as gevent's `sendall`.
    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.write_all_deadline(buf, self.write_timeout.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for StreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl fmt::Debug for StreamSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show("StreamSocket", f)
    }
}

/// Gives a public stream what its `StreamSocket`, field 0, does.
macro_rules! stream_socket {
    ($name:ident) => {
        impl crate::net::stream::Stream for $name {
            #[track_caller]
            fn read_deadline(
                &mut self,
                buf: &mut [u8],
                limit: crate::runtime::deadline::Deadline,
            ) -> std::io::Result<usize> {
                self.0.read_deadline(buf, limit)
            }

            #[track_caller]
            fn write_deadline(
                &mut self,
                buf: &[u8],
                limit: crate::runtime::deadline::Deadline,
            ) -> std::io::Result<usize> {
                self.0.write_deadline(buf, limit)
            }

            fn set_read_timeout(&mut self, limit: Option<std::time::Duration>) {
                self.0.set_read_timeout(limit);
            }

            fn set_write_timeout(&mut self, limit: Option<std::time::Duration>) {
                self.0.set_write_timeout(limit);
            }

            fn shutdown(&mut self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.0.shutdown(how)
            }
        }

        impl std::io::Read for $name {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.0.read(buf)
            }

            #[track_caller]
            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.0.read_vectored(bufs)
            }
        }

        impl std::io::Write for $name {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.0.write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.0.write_vectored(bufs)
            }

            #[track_caller]
            fn write_all(&mut self, buf: &[u8]) -> std::io::Result<()> {
                self.0.write_all(buf)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.show(stringify!($name), f)
            }
        }

        impl From<$name> for crate::net::socket::StreamSocket {
            fn from(stream: $name) -> Self {
                stream.0
            }
        }
    };
}
pub(super) use stream_socket;
