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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A peer, and our end of its connection, whose kernel takes little at once.
    #[expect(
        clippy::disallowed_methods,
        reason = "no greenlet is here to be blocked"
    )]
    pub(in super::super) fn narrow_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4096).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&peer, 4096).unwrap();
        ours.set_nonblocking(true).unwrap();
        (peer, ours)
    }

    #[test]
    fn client_is_not_read_while_something_is_unsent() {
        let (mut peer, ours) = narrow_pair();
        let sent: Vec<u8> = (0..100_000_u32).map(|i| (i ^ (i >> 8)) as u8).collect();
        let mut client = Client::new(ours).unwrap();
        let mut buffer = vec![0; BUFFER_BYTES];
        assert_eq!(client.turn(&mut buffer).unwrap(), Turn::Blocked);
        peer.write_all(&sent).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        // Until the peer's buffers are full, which it does not empty.
        while client.turn(&mut buffer).unwrap() == Turn::Moved {}
        assert!(client.has_unsent() && client.unsent.len() <= BUFFER_BYTES);
        let mut received = vec![0; sent.len()];
        let (mut filled, mut is_over) = (0, false);
        peer.set_nonblocking(true).unwrap();
        while !is_over || filled < sent.len() {
            filled += read_some(&peer, &mut received[filled..])
                .unwrap()
                .unwrap_or(0);
            is_over |= client.turn(&mut buffer).unwrap() == Turn::Ended;
        }
        assert!(received == sent && !client.has_unsent());
    }

    #[test]
    fn reset_is_an_error_of_the_turn() {
        let (peer, ours) = narrow_pair();
        let mut client = Client::new(ours).unwrap();
        socket2::SockRef::from(&peer)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(peer);
        // A test that starts a process at this moment holds the socket for a while.
        let ended = std::iter::repeat_with(|| client.turn(&mut [0; 16]))
            .find(|turn| !matches!(turn, Ok(Turn::Blocked)))
            .unwrap();
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
