//! A connection in memory.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::net::Stream;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::relay;
use crate::util::lock;

/// Makes two connected streams; each direction holds at most `capacity` bytes.
///
/// They behave as a TCP connection does, without sockets, addresses or the kernel's timing:
/// a full direction makes the writer wait, ended writing is the end of what the peer reads,
/// and after a kill or a timeout no byte is lost. The small capacities that make every
/// write a short one are as good as large ones.
///
/// # Switching
/// Never switches.
///
/// # Panics
/// If `capacity` is zero.
///
/// # Examples
///
/// ```
/// use greenloop::testkit::stream_pair;
/// use std::io::{Read, Write};
///
/// let (mut client, mut server) = stream_pair(4);
/// let echo = greenloop::spawn(move || {
///     let mut text = String::new();
///     server.read_to_string(&mut text)?;
///     server.write_all(text.to_uppercase().as_bytes())
/// });
/// client.write_all(b"more than four bytes")?;
/// client.end()?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "MORE THAN FOUR BYTES");
/// echo.join().unwrap()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none; trio's `trio.testing.memory_stream_pair` is the model.
pub fn stream_pair(capacity: usize) -> (MemoryStream, MemoryStream) {
    assert!(capacity > 0, "a stream holds at least one byte");
    let (there, back) = (Pipe::new(capacity), Pipe::new(capacity));
    let near = MemoryStream::new(back.clone(), there.clone());
    (near, MemoryStream::new(there, back))
}

/// One end of a connection in memory; see [`stream_pair`].
///
/// Dropping it ends both directions: the peer reads what was written, and then the end;
/// what it writes fails with `BrokenPipe`.
pub struct MemoryStream {
    incoming: Pipe,
    outgoing: Pipe,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl MemoryStream {
    fn new(incoming: Pipe, outgoing: Pipe) -> Self {
        Self {
            incoming,
            outgoing,
            read_timeout: None,
            write_timeout: None,
        }
    }

    /// Ends the writing: `shutdown(Shutdown::Write)`.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// None; the `Result` is that of [`Stream::shutdown`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testkit::stream_pair;
    /// use std::io::{Read, Write};
    ///
    /// let (mut client, mut server) = stream_pair(64);
    /// client.write_all(b"all there is")?;
    /// client.end()?;
    /// let mut text = String::new();
    /// server.read_to_string(&mut text)?; // comes back, although `client` is open
    /// assert_eq!(text, "all there is");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    /// How many bytes were written to the peer and not read yet.
    ///
    /// # Switching
    /// Never switches.
    pub fn unread(&self) -> usize {
        lock(&self.outgoing.0).bytes.len()
    }
}

impl Stream for MemoryStream {
    #[track_caller]
    fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        Ok(self.incoming.read(buf, limit)?)
    }

    #[track_caller]
    fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        self.outgoing.write(buf, limit)?
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.read_timeout = limit;
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    /// Ended reading makes what the peer writes fail, as on a Unix socket.
    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.outgoing.change(|pipe| pipe.ended = true);
        }
        if how != Shutdown::Write {
            self.incoming.change(|pipe| pipe.refused = true);
        }
        Ok(())
    }
}

impl Read for MemoryStream {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.read_timeout.into())
    }
}

impl Write for MemoryStream {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_deadline(buf, self.write_timeout.into())
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

impl Drop for MemoryStream {
    fn drop(&mut self) {
        // It cannot fail.
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream")
            .field("incoming", &lock(&self.incoming.0).bytes.len())
            .field("outgoing", &self.unread())
            .finish_non_exhaustive()
    }
}

/// One direction.
#[derive(Clone)]
struct Pipe(Arc<Mutex<State>>);

struct State {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The writer is done.
    ended: bool,
    /// The reader is.
    refused: bool,
    line: WaitList,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            bytes: VecDeque::new(),
            capacity,
            ended: false,
            refused: false,
            line: WaitList::new(),
        })))
    }

    #[track_caller]
    fn read(&self, buf: &mut [u8], limit: Deadline) -> Result<usize> {
        self.wait(limit, |state| state.take(buf))
    }

    #[track_caller]
    fn write(&self, buf: &[u8], limit: Deadline) -> Result<io::Result<usize>> {
        self.wait(limit, |state| state.put(buf))
    }

    /// Waits until `step` does something, which may let the other side go on.
    #[track_caller]
    fn wait<R>(&self, limit: Deadline, mut step: impl FnMut(&mut State) -> Option<R>) -> Result<R> {
        park::check(Deadline::NEVER)?;
        relay::tick(&park::current());
        wait_for(
            &self.0,
            |state| &mut state.line,
            Wait::Memory,
            limit,
            |state| {
                let done = step(state)?;
                state.line.wake_all();
                Some(done)
            },
        )
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0);
        f(&mut state);
        state.line.wake_all();
    }
}

impl State {
    /// Moves what is there into `buf`; `None` if it has to be waited for.
    fn take(&mut self, buf: &mut [u8]) -> Option<usize> {
        let count = buf.len().min(self.bytes.len());
        if count == 0 {
            let is_over = self.ended || self.refused || buf.is_empty();
            return is_over.then_some(0);
        }
        let (front, back) = self.bytes.as_slices();
        let first = count.min(front.len());
        buf[..first].copy_from_slice(&front[..first]);
        buf[first..count].copy_from_slice(&back[..count - first]);
        self.bytes.drain(..count);
        Some(count)
    }

    /// Takes as much of `buf` as there is room for; `None` if there is none.
    fn put(&mut self, buf: &[u8]) -> Option<io::Result<usize>> {
        if self.ended || self.refused {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = buf.len().min(self.capacity - self.bytes.len());
        self.bytes.extend(&buf[..count]);
        (count > 0 || buf.is_empty()).then_some(Ok(count))
    }
}
