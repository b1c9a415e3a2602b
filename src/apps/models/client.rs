//! A client's side of the echo: in blocking calls, and in turns that never block.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use super::BUFFER_BYTES;

/// Echoes in blocking calls until the peer ends its direction.
pub(super) fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A client of the models that never block.
pub(super) struct Client {
    stream: TcpStream,
    /// Read, and not taken by the kernel yet: a write may be partial.
    unsent: Vec<u8>,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was read or written, and there may be more.
    Moved,
    /// Nothing can be done before the socket is ready again.
    Blocked,
    /// The peer has sent its last and got all of it back.
    Ended,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            unsent: Vec::new(),
        })
    }

    /// Tells whether it waits for room to write. If not, it waits for something to read.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends what is unsent. If nothing is, reads once, with the help of `buffer`, and sends
    /// that.
    ///
    /// Never reading while something is unsent bounds the memory: a peer that does not read
    /// its echo is not read, until TCP makes it stop sending. It also makes the end simple:
    /// where the end of the stream is read, everything has been sent.
    pub(super) fn turn(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        if self.has_unsent() {
            let sent = write_some(&self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
            return Ok(if sent > 0 { Turn::Moved } else { Turn::Blocked });
        }
        match read_some(&self.stream, buffer)? {
            None => Ok(Turn::Blocked),
            Some(0) => Ok(Turn::Ended),
            Some(count) => {
                let sent = write_some(&self.stream, &buffer[..count])?;
                self.unsent = buffer[sent..count].to_vec();
                Ok(Turn::Moved)
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Reads once; `None` if nothing is there yet, 0 at the end.
pub(super) fn read_some(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    retried(|| stream.read(buffer))
}

/// Writes once, as much as there is room for: perhaps nothing.
pub(super) fn write_some(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(retried(|| stream.write(bytes))?.unwrap_or(0))
}

/// `None` where the call would block; a signal that comes in between changes nothing.
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
