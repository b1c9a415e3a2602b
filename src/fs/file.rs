//! An open file.

use std::fmt;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::fs::begin;
use crate::fs::flight::Flights;
use crate::fs::paths::on_lane;
use crate::runtime::blocking::files;
use crate::runtime::deadline::Deadline;
use crate::runtime::reason::Wait;

/// An open file, each call on a thread of the files lane.
///
/// It reads, writes and seeks as std's; see the [module](crate::fs) for what that costs
/// and what a kill means. A call moves at most 512 KiB. One greenlet at a time uses it.
///
/// # Examples
///
/// ```
/// use greenloop::fs::File;
/// use std::io::{Read, Seek, SeekFrom, Write};
///
/// let path = std::env::temp_dir().join(format!("greenloop-doc-file-{}", std::process::id()));
/// let mut file = File::create(&path)?;
/// file.write_all(b"hello, disk")?;
/// file.sync_all()?;
///
/// let mut file = File::open(&path)?;
/// file.seek(SeekFrom::Start(7))?;
/// let mut text = String::new();
/// file.read_to_string(&mut text)?;
/// assert_eq!(text, "disk");
/// greenloop::fs::remove_file(&path)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.fileobject.FileObjectThread`.
pub struct File {
    file: Arc<std::fs::File>,
    flights: Flights<Outcome>,
    /// Bytes that were read when their caller had left, and how many of them are given out.
    ahead: Vec<u8>,
    given: usize,
    /// The error of a write, or of a sync, whose caller had left.
    failed: Option<io::Error>,
    /// Travels to the thread and back.
    buffer: Vec<u8>,
}

enum Outcome {
    Read(Vec<u8>, io::Result<usize>),
    Written(Vec<u8>, io::Result<usize>),
    /// Where the file's position is now.
    Sought(io::Result<u64>),
    Done(io::Result<()>),
}

/// What one call moves at most: large enough that the hand-over does not count, small
/// enough that many files at once take little memory.
const CHUNK: usize = 512 << 10;

impl File {
    /// Opens a file for reading.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports, with the path; the caller was killed or timed out.
    ///
    /// gevent: `FileObjectThread(path, "rb")`.
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        Self::open_with(path, &options)
    }

    /// Creates a file, or empties the one that is there, for writing.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`File::open`]. After a kill the file may be there all the same.
    ///
    /// gevent: `FileObjectThread(path, "wb")`.
    #[track_caller]
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        Self::open_with(path, &options)
    }

    /// Opens a file as std's `options` say.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`File::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fs::File;
    /// use std::io::Write;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-doc-log-{}", std::process::id()));
    /// let mut options = std::fs::OpenOptions::new();
    /// options.create(true).append(true);
    /// for line in ["one\n", "two\n"] {
    ///     File::open_with(&path, &options)?.write_all(line.as_bytes())?;
    /// }
    /// assert_eq!(greenloop::fs::read(&path)?, b"one\ntwo\n");
    /// greenloop::fs::remove_file(&path)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let options = options.clone();
        let file = on_lane("opening", path.as_ref(), move |path| options.open(path))?;
        Ok(Self::from_std(file))
    }

    /// Takes over a file that std opened.
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("greenloop-doc-from-std-{}", std::process::id()));
    /// use greenloop::fs::File;
    /// use std::io::Write;
    ///
    /// let file = greenloop::blocking({ let path = path.clone(); move || std::fs::File::create(path) })??;
    /// File::from_std(file).write_all(b"text")?;
    /// assert_eq!(greenloop::fs::read(&path)?, b"text");
    /// # greenloop::fs::remove_file(&path)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn from_std(file: std::fs::File) -> Self {
        Self {
            file: Arc::new(file),
            flights: Flights::new(),
            ahead: Vec::new(),
            given: 0,
            failed: None,
            buffer: Vec::new(),
        }
    }

    /// Gives std's file, after an operation whose caller had left, and at the position
    /// that this one shows.
    ///
    /// # Switching
    /// May switch to other greenlets, if an operation is under way.
    ///
    /// # Errors
    /// The caller was killed or timed out; the process has no descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("greenloop-doc-into-std-{}", std::process::id()));
    /// use greenloop::fs::File;
    /// use std::io::{Seek, Write};
    ///
    /// let mut file = File::create(&path)?;
    /// file.write_all(b"text")?;
    /// let mut file = file.into_std()?;
    /// assert_eq!(file.stream_position()?, 4);
    /// # greenloop::fs::remove_file(&path)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn into_std(mut self) -> io::Result<std::fs::File> {
        self.rewind_ahead()?;
        let Self { file, .. } = self;
        Arc::try_unwrap(file).or_else(|shared| shared.try_clone())
    }

    /// Its size, times and permissions.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports; the caller was killed or timed out.
    ///
    /// # Examples
    ///
    /// ```
    /// let file = greenloop::fs::File::open("Cargo.toml")?;
    /// assert!(file.metadata()?.is_file());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        begin()?;
        let file = self.file.clone();
        files().run_for(Wait::Lane, Deadline::NEVER, move || file.metadata())?
    }

    /// Its size in bytes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`File::metadata`].
    ///
    /// # Examples
    ///
    /// ```
    /// let file = greenloop::fs::File::open("Cargo.toml")?;
    /// assert_eq!(file.len()?, greenloop::fs::read("Cargo.toml")?.len() as u64);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a question to the disk, which can fail"
    )]
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    /// Makes it `size` bytes long, cutting it or filling it up with zeros.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`File::metadata`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("greenloop-doc-set-len-{}", std::process::id()));
    /// use greenloop::fs::File;
    /// use std::io::Write;
    ///
    /// let mut file = File::create(&path)?;
    /// file.write_all(b"a long text")?;
    /// file.set_len(6)?;
    /// assert_eq!(greenloop::fs::read(&path)?, b"a long");
    /// # greenloop::fs::remove_file(&path)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.act(move |file| file.set_len(size))
    }

    /// Returns when the disk has all that was written, and what is known about the file.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`File::metadata`]; the error of a write or a sync whose caller had left.
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("greenloop-doc-sync-all-{}", std::process::id()));
    /// use greenloop::fs::{self, File};
    /// use std::io::Write;
    ///
    /// // All or nothing is there under the name, also after a crash.
    /// let part = path.with_extension("part");
    /// let mut file = File::create(&part)?;
    /// file.write_all(b"all of it")?;
    /// file.sync_all()?;
    /// fs::rename(&part, &path)?;
    /// assert_eq!(fs::read(&path)?, b"all of it");
    /// # fs::remove_file(&path)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn sync_all(&mut self) -> io::Result<()> {
        self.act(std::fs::File::sync_all)
    }

    /// Returns when the disk has all that was written.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`File::sync_all`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("greenloop-doc-sync-data-{}", std::process::id()));
    /// use greenloop::fs::File;
    /// use std::io::Write;
    ///
    /// let mut journal = File::create(&path)?;
    /// for entry in ["one\n", "two\n"] {
    ///     journal.write_all(entry.as_bytes())?;
    ///     journal.sync_data()?; // before anybody is told of it
    /// }
    /// assert_eq!(journal.len()?, 8);
    /// # greenloop::fs::remove_file(&path)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn sync_data(&mut self) -> io::Result<()> {
        self.act(std::fs::File::sync_data)
    }

    /// Runs something whose outcome is only that it worked.
    #[track_caller]
    fn act(
        &mut self,
        action: impl FnOnce(&std::fs::File) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.settle()?;
        self.failed.take().map_or(Ok(()), Err)?;
        match self.operate(|file| Outcome::Done(action(file)))? {
            Outcome::Done(done) => done,
            _ => unreachable!("the operation's own outcome"),
        }
    }

    #[track_caller]
    fn operate(
        &self,
        operation: impl FnOnce(&std::fs::File) -> Outcome + Send + 'static,
    ) -> io::Result<Outcome> {
        let file = self.file.clone();
        let flown = self
            .flights
            .run(files(), Wait::Lane, Deadline::NEVER, move || {
                operation(&file)
            });
        Ok(flown?)
    }

    /// Takes in what an operation has brought whose caller had left.
    #[track_caller]
    fn settle(&mut self) -> io::Result<()> {
        begin()?;
        match self.flights.landed(Wait::Lane, Deadline::NEVER)? {
            Some(Outcome::Read(mut bytes, Ok(n))) => {
                bytes.truncate(n);
                // What was left of the one before comes first.
                self.ahead.drain(..self.given);
                self.given = 0;
                self.ahead.append(&mut bytes);
            }
            // The system tells of what did not get to the disk once, whoever is there.
            Some(Outcome::Written(_, Err(error)) | Outcome::Done(Err(error))) => {
                self.failed = Some(error);
            }
            // Also one that was to undo the reading ahead: it has.
            Some(Outcome::Sought(Ok(_))) => self.forget_ahead(),
            // A failed read can be tried again; the rest has done what it should.
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Puts the system's position where the caller sees it, and forgets what was read
    /// ahead. What cannot be sought keeps it: there, reading and writing have nothing to
    /// do with each other.
    #[track_caller]
    fn rewind_ahead(&mut self) -> io::Result<()> {
        self.settle()?;
        let left = self.ahead.len() - self.given;
        if left > 0 {
            match self.seek_system(SeekFrom::Current(-(left as i64))) {
                Err(e) if e.kind() == io::ErrorKind::NotSeekable => return Ok(()),
                sought => sought?,
            };
        }
        self.forget_ahead();
        Ok(())
    }

    fn forget_ahead(&mut self) {
        self.ahead.clear();
        self.given = 0;
    }

    #[track_caller]
    fn seek_system(&self, to: SeekFrom) -> io::Result<u64> {
        match self.operate(move |mut file| Outcome::Sought(file.seek(to)))? {
            Outcome::Sought(position) => position,
            _ => unreachable!("the operation's own outcome"),
        }
    }

    /// Reads up to [`CHUNK`] bytes into the buffer.
    #[track_caller]
    fn fill_buffer(&mut self, size: usize) -> io::Result<usize> {
        let size = size.min(CHUNK);
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        let outcome = self.operate(move |file| {
            let read = retry(|mut file| file.read(&mut buffer[..size]), file);
            Outcome::Read(buffer, read)
        })?;
        match outcome {
            Outcome::Read(buffer, read) => {
                self.buffer = buffer;
                read
            }
            _ => unreachable!("the operation's own outcome"),
        }
    }

    /// Gives out bytes that were read for somebody who left.
    fn take_ahead(&mut self, buf: &mut [u8]) -> usize {
        let left = &self.ahead[self.given..];
        let n = left.len().min(buf.len());
        buf[..n].copy_from_slice(&left[..n]);
        self.given += n;
        if self.given == self.ahead.len() {
            self.forget_ahead();
        }
        n
    }
}

impl Read for File {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.settle()?;
        if buf.is_empty() {
            return Ok(0);
        }
        if !self.ahead.is_empty() {
            return Ok(self.take_ahead(buf));
        }
        let n = self.fill_buffer(buf.len())?;
        buf[..n].copy_from_slice(&self.buffer[..n]);
        Ok(n)
    }

    /// Large pieces, whatever room `buf` has.
    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let before = buf.len();
        self.settle()?;
        buf.extend_from_slice(&self.ahead[self.given..]);
        self.forget_ahead();
        loop {
            match self.fill_buffer(CHUNK)? {
                0 => return Ok(buf.len() - before),
                n => buf.extend_from_slice(&self.buffer[..n]),
            }
            self.settle()?;
        }
    }
}

impl Write for File {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.rewind_ahead()?;
        self.failed.take().map_or(Ok(()), Err)?;
        let piece = &buf[..buf.len().min(CHUNK)];
        if piece.is_empty() {
            return Ok(0);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(piece);
        let outcome = self.operate(move |file| {
            let written = retry(|mut file| file.write(&buffer), file);
            Outcome::Written(buffer, written)
        })?;
        match outcome {
            Outcome::Written(buffer, written) => {
                self.buffer = buffer;
                written
            }
            _ => unreachable!("the operation's own outcome"),
        }
    }

    /// Waits for a write or a sync whose caller had left, and gives its error. Nothing else is
    /// buffered here; [`File::sync_all`] is for the disk.
    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        self.settle()?;
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl Seek for File {
    #[track_caller]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let SeekFrom::Current(_) = to {
            self.rewind_ahead()?;
        } else {
            self.settle()?;
        }
        let position = self.seek_system(to)?;
        self.forget_ahead();
        Ok(position)
    }
}

fn retry<R>(
    call: impl FnMut(&std::fs::File) -> io::Result<R>,
    file: &std::fs::File,
) -> io::Result<R> {
    let mut call = call;
    loop {
        match call(file) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self::from_std(file)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// The kernel reports a failed write-back to one sync only.
    #[test]
    fn a_failed_sync_whose_caller_has_left_is_told_to_the_next() {
        crate::run(|| {
            let null = std::fs::File::open("/dev/null").unwrap();
            let mut file = File::from_std(null);
            let (begun, has_begun) = mpsc::channel();
            let (go_on, may_go_on) = mpsc::channel();
            let sync = move |_: &std::fs::File| {
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
                Err(io::Error::from_raw_os_error(5))
            };
            // Long enough for a thread of the lane to begin it: a caller that leaves before
            // takes it along.
            let cut = crate::timeout(Duration::from_millis(500), || file.act(sync));
            assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::TimedOut);
            has_begun.recv().unwrap();
            go_on.send(()).unwrap();
            assert_eq!(file.flush().unwrap_err().raw_os_error(), Some(5));
            file.flush().unwrap();
        });
    }
}
