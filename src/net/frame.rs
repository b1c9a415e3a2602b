//! Messages with a length before them, on any stream: the I/O of `proto::frame`.

use std::io::{self, Read, Write};

use crate::net::stream::Stream;
use crate::proto::frame::{PREFIX_BYTES, encode, length};
use crate::runtime::deadline::Deadline;

/// Reads one message: a length of 4 bytes, big endian, then so many bytes; `None` where the
/// stream ends between two messages.
///
/// A message of more than `bytes_max` is refused once its length is there. Memory is taken
/// as the bytes come, so a peer that announces much and sends little costs little.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// `InvalidData` for a longer message; `UnexpectedEof` where the stream ends inside one; as
/// `read` of the stream, whose read timeout holds for each piece. Then part of a message may
/// be gone: only closing is safe.
///
/// # Examples
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream, read_frame, write_frame};
///
/// let mut listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
/// // Two quick sends may arrive as one, and stay two messages.
/// write_frame(&mut client, b"one")?;
/// write_frame(&mut client, b"two")?;
/// drop(client);
/// assert_eq!(read_frame(&mut server, 1024)?.unwrap(), b"one");
/// assert_eq!(read_frame(&mut server, 1024)?.unwrap(), b"two");
/// assert_eq!(read_frame(&mut server, 1024)?, None);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none; Python's `struct.unpack(">I", …)` after two reads.
#[track_caller]
pub fn read_frame<S: Read + ?Sized>(
    stream: &mut S,
    bytes_max: usize,
) -> io::Result<Option<Vec<u8>>> {
    read_with(|buf| stream.read(buf), bytes_max)
}

/// Reads one message like [`read_frame`], all of it until `limit`, whatever the stream's own
/// timeout.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read_frame`]; timeout also when `limit` passed.
#[track_caller]
pub fn read_frame_deadline<S: Stream + ?Sized>(
    stream: &mut S,
    bytes_max: usize,
    limit: Deadline,
) -> io::Result<Option<Vec<u8>>> {
    read_with(|buf| stream.read_deadline(buf, limit), bytes_max)
}

/// Writes one message with its length before it, in one piece.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// `InvalidInput` for more bytes than the length can say, 4 GiB; as `write_all` of the
/// stream, after which only closing is safe.
///
/// # Examples
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream, write_frame};
/// use std::io::Read;
///
/// let mut listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// write_frame(&mut client, "我爱Python".as_bytes())?;
/// drop(client);
/// let mut bytes = Vec::new();
/// listener.accept()?.0.read_to_end(&mut bytes)?;
/// assert_eq!(bytes, "\0\0\0\x0c我爱Python".as_bytes());
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn write_frame<S: Write + ?Sized>(stream: &mut S, message: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(message)?)
}

/// Writes one message like [`write_frame`], until `limit`.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`write_frame`]; timeout also when `limit` passed.
#[track_caller]
pub fn write_frame_deadline<S: Stream + ?Sized>(
    stream: &mut S,
    message: &[u8],
    limit: Deadline,
) -> io::Result<()> {
    stream.write_all_deadline(&framed(message)?, limit)
}

/// One buffer, so that no peer ever sees the length alone in a packet.
fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    Ok(bytes)
}

#[track_caller]
fn read_with(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    bytes_max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut prefix = [0; PREFIX_BYTES];
    match fill(&mut read, &mut prefix)? {
        0 => return Ok(None),
        PREFIX_BYTES => {}
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    let length =
        length(prefix, bytes_max).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let mut message = Vec::new();
    while message.len() < length {
        let begin = message.len();
        message.resize(length.min(begin + PIECE_BYTES), 0);
        if fill(&mut read, &mut message[begin..])? < message.len() - begin {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(message))
}

/// Reads until `buf` is full or the stream ends.
#[track_caller]
fn fill(
    read: &mut impl FnMut(&mut [u8]) -> io::Result<usize>,
    buf: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match read(&mut buf[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// What is allocated ahead of the bytes that come.
const PIECE_BYTES: usize = 64 * 1024;
