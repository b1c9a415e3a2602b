//! The two directions of a connection, for two greenlets.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::net::socket::StreamSocket;
use crate::net::stream::Stream;
use crate::runtime::deadline::Deadline;

/// The reading half of a connection: see [`TcpStream::split`](crate::net::TcpStream::split).
#[derive(Debug)]
pub struct ReadHalf(pub(super) StreamSocket);

/// The writing half of a connection; dropping it ends the writing.
///
/// See [`TcpStream::split`](crate::net::TcpStream::split).
#[derive(Debug)]
pub struct WriteHalf(pub(super) StreamSocket);

impl ReadHalf {
    /// Like [`Stream::read_deadline`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        self.0.read_deadline(buf, limit)
    }

    /// Like [`Stream::set_read_timeout`].
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.0.set_read_timeout(limit);
    }
}

impl WriteHalf {
    /// Like [`Stream::write_deadline`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        self.0.write_deadline(buf, limit)
    }

    /// Like [`Stream::write_all_deadline`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn write_all_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<()> {
        self.0.write_all_deadline(buf, limit)
    }

    /// Like [`Stream::set_write_timeout`].
    pub fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.0.set_write_timeout(limit);
    }

    /// Ends the writing: the peer reads all that was written and then the end.
    ///
    /// # Errors
    /// As [`Stream::shutdown`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let (mut reader, mut writer) = TcpStream::connect(listener.local_addr()?)?.split()?;
    /// let (mut server, _) = listener.accept()?;
    /// writer.write_all(b"question")?;
    /// writer.shutdown()?;
    /// let mut text = String::new();
    /// server.read_to_string(&mut text)?; // the end has come
    /// server.write_all(b"answer")?;
    /// drop(server);
    /// text.clear();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "answer");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.shutdown(SHUT_WR)`.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // It fails if the peer has reset the connection or the writing has ended: fine.
        let _ = self.shutdown();
    }
}

impl Read for ReadHalf {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl Write for WriteHalf {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }

    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.0.write_all(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
