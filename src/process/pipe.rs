//! The parent's ends of a child's pipes.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::runtime::deadline::Deadline;
use crate::runtime::io::Source;
use crate::runtime::reason::Wait;

/// The end of a pipe that is read: a child's output.
///
/// Kills and limits end its calls; a read that failed so has taken nothing.
///
/// ```
/// use greenloop::process::{PipeReader, PipeWriter};
/// use std::io::{ErrorKind, Read, Write};
/// use std::time::Duration;
///
/// let (reader, writer) = std::io::pipe()?;
/// let (mut reader, mut writer) = (PipeReader::from_fd(reader)?, PipeWriter::from_fd(writer)?);
/// reader.set_read_timeout(Some(Duration::from_millis(2)));
/// let mut buf = [0; 16];
/// assert_eq!(reader.read(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
/// writer.write_all(b"hello")?;
/// assert_eq!(reader.read(&mut buf)?, 5);
/// drop(writer);
/// assert_eq!(reader.read(&mut buf)?, 0); // the end
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// gevent: `Popen.stdout`, `Popen.stderr`.
pub struct PipeReader {
    source: Source<OwnedFd>,
    timeout: Option<Duration>,
}

/// The end of a pipe that is written: a child's input. Dropping it ends the input.
///
/// Writing to a child that has ended, or has closed its input, fails with `BrokenPipe`. No
/// signal comes (std has SIGPIPE ignored in every Rust program; children get its default
/// back).
///
/// ```
/// use greenloop::process::{PipeReader, PipeWriter};
/// use std::io::{ErrorKind, Write};
/// use std::time::Duration;
///
/// let (reader, writer) = std::io::pipe()?;
/// let mut writer = PipeWriter::from_fd(writer)?;
/// writer.set_write_timeout(Some(Duration::from_millis(2)));
/// // Nobody reads, so it is full some time.
/// let error = loop {
///     if let Err(error) = writer.write(&[0; 4096]) {
///         break error;
///     }
/// };
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// drop(reader);
/// assert_eq!(writer.write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// gevent: `Popen.stdin`.
pub struct PipeWriter {
    source: Source<OwnedFd>,
    timeout: Option<Duration>,
}

macro_rules! ends_of_a_pipe {
    ($($end:ident)+) => {$(
        impl $end {
            /// Takes over one end of a pipe, or whatever else can be polled. It becomes
            /// non-blocking, for every process that shares it.
            ///
            /// # Errors
            /// It cannot be registered: out of memory or of watches, or a file.
            pub fn from_fd(fd: impl Into<OwnedFd>) -> io::Result<Self> {
                let source = Source::new(fd.into())?;
                Ok(Self { source, timeout: None })
            }

            /// Gives it to another program, as one of its standard streams, in blocking
            /// mode.
            ///
            /// # Errors
            /// The process has no descriptor left: it takes a second one for a moment.
            ///
            /// # Examples
            ///
            /// ```
            /// use greenloop::process::{Command, Stdio};
            ///
            /// // `printf hello | tr a-z A-Z`
            /// let mut printf = Command::new("printf").arg("hello").stdout(Stdio::piped()).spawn()?;
            /// let words = printf.stdout.take().unwrap().into_stdio()?;
            /// let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(words).output()?;
            /// assert_eq!(output.stdout, b"HELLO");
            /// assert!(printf.wait()?.success());
            /// # Ok::<(), greenloop::Error>(())
            /// ```
            pub fn into_stdio(self) -> io::Result<Stdio> {
                let fd = self.source.get_ref().try_clone()?;
                drop(self);
                let flags = rustix::fs::fcntl_getfl(&fd)?;
                rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK)?;
                Ok(fd.into())
            }
        }

        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.get_ref().as_fd()
            }
        }

        impl fmt::Debug for $end {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($end)).field(self.source.get_ref()).finish()
            }
        }
    )+};
}

ends_of_a_pipe!(PipeReader PipeWriter);

impl PipeReader {
    /// Reads what is there into `buf`, waiting until `limit` for the first byte.
    ///
    /// Zero means that every writer has closed its end (or that `buf` is empty).
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// `TimedOut` when `limit` passed; a kill; what the system reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use greenloop::process::{Command, Stdio};
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("sleep").arg("600").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    /// let pipe = child.stdout.as_mut().unwrap();
    /// let silent = pipe.read_deadline(&mut [0; 16], Deadline::after(Duration::from_millis(2)));
    /// assert_eq!(silent.unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        self.source
            .read_with(Wait::Read, limit, |fd| Ok(rustix::io::read(fd, &mut *buf)?))
    }

    /// Limits each later `read` to `limit`; `None`, the default, is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::PipeReader;
    /// use std::io::{ErrorKind, Read};
    /// use std::time::Duration;
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// let mut reader = PipeReader::from_fd(reader)?;
    /// reader.set_read_timeout(Some(Duration::from_millis(2)));
    /// assert_eq!(reader.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.timeout = limit;
    }
}

impl PipeWriter {
    /// Writes as much of `buf` as there is room for, waiting until `limit` for some.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody can read it any more; otherwise as
    /// [`PipeReader::read_deadline`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use greenloop::process::PipeWriter;
    /// use std::io::Read;
    ///
    /// let (mut reader, writer) = std::io::pipe()?;
    /// let mut writer = PipeWriter::from_fd(writer)?;
    /// assert_eq!(writer.write_deadline(b"hello", Deadline::NEVER)?, 5);
    /// drop(writer);
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        self.source
            .write_with(Wait::Write, limit, |fd| Ok(rustix::io::write(fd, buf)?))
    }

    /// Limits each later `write` to `limit`; `None`, the default, is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::PipeWriter;
    /// use std::io::{ErrorKind, Write};
    /// use std::time::Duration;
    ///
    /// let (_reader, writer) = std::io::pipe()?;
    /// let mut writer = PipeWriter::from_fd(writer)?;
    /// writer.set_write_timeout(Some(Duration::from_millis(2)));
    /// let more_than_fits = vec![0; 1 << 20];
    /// assert_eq!(writer.write_all(&more_than_fits).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.timeout = limit;
    }
}

impl Read for PipeReader {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.timeout.into())
    }
}

impl Write for PipeWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_deadline(buf, self.timeout.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
