//! The client of uploads.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::fs::File;
use crate::net::{Endpoint, ReadHalf, WriteHalf, connect_stream, read_frame, write_frame};
use crate::proto::crc32::Crc32;
use crate::proto::upload::{ANSWER_BYTES_MAX, Answer, Header, NAME_BYTES_MAX, Status};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::Greenlet;
use crate::runtime::spawn::Builder;
use crate::sync::Queue;
use crate::util::escape;

/// A connection to a server of uploads, for any number of files, one after the other.
///
/// See [`UploadHandler`](super::UploadHandler) for an example.
pub struct UploadClient {
    writer: WriteHalf,
    /// A server may refuse while content is on its way; so its answers are read by a
    /// greenlet of their own.
    answers: Queue<Result<Answer>>,
    reader: Greenlet<()>,
    limit: Option<Duration>,
    is_broken: bool,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// The server has it.
    Stored {
        /// What it is called there; as it came, not escaped.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The server did not take it.
    Refused(Answer),
}

impl UploadClient {
    /// Connects to `HOST:PORT` or `unix:PATH`. Whatever takes longer than `limit` without
    /// progress fails: the connection, an answer, a piece of content that is not taken.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`TcpStream::connect_timeout`](crate::net::TcpStream::connect_timeout).
    #[track_caller]
    pub fn connect(address: impl ToString, limit: impl Into<Option<Duration>>) -> Result<Self> {
        let address: Endpoint = address.to_string().parse()?;
        let limit = limit.into();
        let stream = connect_stream(&address, limit.into())?;
        let (reader, mut writer) = stream.split()?;
        writer.set_write_timeout(limit);
        let answers = Queue::bounded(ANSWERS_MAX);
        let pending = answers.clone();
        let reader = Builder::new()
            .name("upload-answers")
            .try_spawn(move || read_answers(reader, &pending))?;
        Ok(Self {
            writer,
            answers,
            reader,
            limit,
            is_broken: false,
        })
    }

    /// Sends the file at `path`, as `name` or its own name; `progress` is told how many bytes
    /// of how many are on their way.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The file cannot be read, or is no regular file; the connection ended or did not
    /// answer in time: then every further call fails. That the server refuses a file is no
    /// error, but [`Sent::Refused`].
    #[track_caller]
    pub fn send(
        &mut self,
        path: impl AsRef<Path>,
        name: Option<&str>,
        progress: impl FnMut(u64, u64),
    ) -> Result<Sent> {
        let path = path.as_ref();
        if self.is_broken {
            return Err(Error::message("the connection has ended"));
        }
        let mut file = File::open(path)?;
        let shown = || escape(path.as_os_str().as_encoded_bytes());
        let failed = |e: io::Error| Error::from(e).context(format!("reading {}", shown()));
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Error::message(format!("{} is no regular file", shown())));
        }
        let name = match name {
            Some(name) => name.to_owned(),
            None => own_name(path),
        };
        let header = Header {
            size: metadata.len(),
            name,
        };
        let message = header.to_message().map_err(Error::message)?;
        // Until all of it is over, nobody knows where the other side is.
        self.is_broken = true;
        let sent = self.exchange(
            &message,
            header.size,
            |buf| file.read(buf).map_err(failed),
            progress,
        );
        sent.map(|(sent, is_in_step)| {
            self.is_broken = !is_in_step;
            sent
        })
    }

    /// Tells whether the connection is of no use any more: the server has closed it, or does
    /// as soon as it reads the rest of a file that it refused.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The outcome, and whether another file may follow.
    #[track_caller]
    fn exchange(
        &mut self,
        header: &[u8],
        size: u64,
        read: impl FnMut(&mut [u8]) -> Result<usize>,
        progress: impl FnMut(u64, u64),
    ) -> Result<(Sent, bool)> {
        write_frame(&mut self.writer, header)?;
        let answer = self.next_answer()?;
        if answer.status != Status::Ok {
            return Ok((Sent::Refused(answer), true));
        }
        let sum = match self.content(size, read, progress)? {
            Ok(sum) => sum,
            Err(answer) => return Ok((Sent::Refused(answer), false)),
        };
        write_frame(&mut self.writer, &sum.value().to_be_bytes())?;
        let answer = self.next_answer()?;
        Ok(match answer.status {
            Status::Ok => {
                let name = answer.text;
                (Sent::Stored { name, size }, true)
            }
            // Whether the server has read to the end, and goes on, is known of this one only.
            status => (Sent::Refused(answer), status == Status::Differs),
        })
    }

    /// Sends the content, unless the server says that it has had enough.
    #[track_caller]
    fn content(
        &mut self,
        size: u64,
        mut read: impl FnMut(&mut [u8]) -> Result<usize>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Result<Crc32, Answer>> {
        let mut sum = Crc32::new();
        let mut buf = vec![0; BUFFER_BYTES];
        let mut sent = 0;
        progress(0, size);
        while sent < size {
            // A file that grows meanwhile is sent as long as it was.
            let most = usize::try_from(size - sent).unwrap_or(usize::MAX);
            let count = read(&mut buf[..most.min(BUFFER_BYTES)])?;
            if count == 0 {
                return Err(Error::message("the file shrank while it was sent"));
            }
            let written = self.writer.write_all(&buf[..count]);
            if let Some(answer) = self.early_answer(written)? {
                return Ok(Err(answer));
            }
            sum.update(&buf[..count]);
            sent += count as u64;
            progress(sent, size);
        }
        Ok(Ok(sum))
    }

    /// An answer that came in the middle; where the connection failed, it says more than the
    /// error does.
    #[track_caller]
    fn early_answer(&self, written: io::Result<()>) -> Result<Option<Answer>> {
        let early = match &written {
            Ok(()) => self.answers.try_get().ok().flatten(),
            Err(_) => self.answers.get_timeout(LAST_WORDS).ok(),
        };
        match (early, written) {
            (Some(Ok(answer)), _) => Ok(Some(answer)),
            (_, Err(error)) => Err(error.into()),
            (Some(Err(error)), Ok(())) => Err(error),
            (None, Ok(())) => Ok(None),
        }
    }

    #[track_caller]
    fn next_answer(&self) -> Result<Answer> {
        self.answers
            .get_deadline(Deadline::from(self.limit))
            .map_err(|e| e.context("waiting for the server's answer"))?
    }
}

impl Drop for UploadClient {
    fn drop(&mut self) {
        self.reader.kill();
    }
}

impl fmt::Debug for UploadClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadClient")
            .field("is_broken", &self.is_broken)
            .finish_non_exhaustive()
    }
}

/// Hands over what the server says until it ends.
fn read_answers(mut reader: ReadHalf, answers: &Queue<Result<Answer>>) {
    loop {
        let answer = match read_frame(&mut reader, ANSWER_BYTES_MAX) {
            Ok(Some(message)) => Answer::from_message(&message).map_err(Error::message),
            Ok(None) => Err(Error::message("the server closed the connection")),
            Err(error) => Err(error.into()),
        };
        let is_last = answer.is_err();
        if answers.put(answer).is_err() || is_last {
            return;
        }
    }
}

/// The last component, cut to what a header takes; the server makes it safe.
fn own_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// A hand-over to the disk's thread for each.
const BUFFER_BYTES: usize = 256 * 1024;

/// More than one at a time makes no sense.
const ANSWERS_MAX: usize = 2;

/// How long a server that closed in the middle is given to have said why.
const LAST_WORDS: Duration = Duration::from_secs(1);
