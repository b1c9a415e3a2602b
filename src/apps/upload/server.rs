//! The server of uploads.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::part::{Folder, Part};
use crate::error::{Error, Result};
use crate::fs::name::safe;
use crate::net::{Stream, read_frame_deadline, write_frame};
use crate::proto::crc32::Crc32;
use crate::proto::upload::{Answer, HEADER_BYTES_MAX, Header, SUM_BYTES, Status};
use crate::runtime::blocking::files;
use crate::runtime::deadline::Deadline;
use crate::runtime::kill::shield;
use crate::server::{Conn, ConnInfo, Handler};

/// Takes files and puts them into one folder.
///
/// A name is made safe (its last component, without what a terminal must not see; a leading
/// dot becomes `_`), and numbered if it is taken: `photo.jpg`, `photo.1.jpg`. Until a file is
/// whole and on the disk it has a hidden name of its own that ends in `.part`; an upload that
/// ends early, by whatever end, leaves nothing. The bytes go to the disk on the files lane.
///
/// # Examples
///
/// ```
/// use greenloop::apps::upload::{Sent, UploadClient, UploadHandler};
/// use greenloop::server::StreamServer;
///
/// let dir = std::env::temp_dir().join(format!("greenloop-doc-upload-{}", std::process::id()));
/// let handler = UploadHandler::open(&dir)?.size_max(1 << 20);
/// let server = StreamServer::bind("127.0.0.1:0")?.start(handler)?;
///
/// let mut client = UploadClient::connect(server.addr(), None)?;
/// let sent = client.send("Cargo.toml", Some("../copy.toml"), |_sent, _size| {})?;
/// assert!(matches!(sent, Sent::Stored { name, .. } if name == "copy.toml"));
/// assert_eq!(greenloop::fs::read(dir.join("copy.toml"))?, greenloop::fs::read("Cargo.toml")?);
/// drop(client);
/// server.stop_now()?;
/// # greenloop::fs::remove_dir_all(&dir)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone)]
pub struct UploadHandler {
    folder: Arc<Folder>,
    size_max: u64,
    speed_min: u64,
    overwrite: bool,
    observer: Option<Arc<Observer>>,
}

type Observer = dyn Fn(&ConnInfo, &Received<'_>) + Send + Sync;

/// How one upload ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Received<'a> {
    /// The file is there.
    Stored {
        /// What it is called.
        name: &'a str,
        /// Its size in bytes.
        size: u64,
    },
    /// The server did not take it, and said so.
    Refused {
        /// What it should have been called; as it came, not escaped.
        name: &'a str,
        /// Why.
        answer: &'a Answer,
    },
    /// It ended in the middle. Nothing is left.
    Cut {
        /// What it should have been called; as it came, not escaped.
        name: &'a str,
        /// Why.
        error: &'a Error,
    },
}

impl UploadHandler {
    /// A server for `folder`, which is created if need be. What an earlier one has left
    /// there because it was killed is removed.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The folder cannot be had; the caller was killed or timed out.
    #[track_caller]
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().to_owned();
        let folder = files().run(move || Folder::open(&path))??;
        Ok(Self {
            folder: Arc::new(folder),
            size_max: SIZE_MAX,
            speed_min: SPEED_MIN,
            overwrite: false,
            observer: None,
        })
    }

    /// The largest file that is taken; default 1 GiB. A larger one is refused before a byte
    /// of it comes.
    pub fn size_max(mut self, bytes: u64) -> Self {
        self.size_max = bytes;
        self
    }

    /// How many bytes a second have to come; default 1024, and 0 is no limit. Each 64 KiB may
    /// take the server's idle timeout (30 seconds, if that is off) and the time that they need
    /// at this speed: so a pause ends nothing, and who drips byte after byte is refused.
    pub fn speed_min(mut self, bytes: u64) -> Self {
        self.speed_min = bytes;
        self
    }

    /// Whether a file replaces one of the same name (at once, when it is whole) instead of
    /// getting a number; default not.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Who is told how each upload ended, in the connection's greenlet; default nobody.
    pub fn observer(
        mut self,
        observer: impl Fn(&ConnInfo, &Received<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    fn tell(&self, conn: &Conn, received: &Received<'_>) {
        if let Some(observer) = &self.observer {
            observer(conn.info(), received);
        }
    }

    /// Takes one file; true if another may come.
    fn receive(&self, conn: &mut Conn, header: &Header) -> Result<bool> {
        let name = header.name.as_str();
        let (answer, goes_on) = match self.take(conn, header) {
            Ok(End::Stored(name)) => {
                let size = header.size;
                self.tell(conn, &Received::Stored { name: &name, size });
                (Answer::new(Status::Ok, name), true)
            }
            Ok(End::Refused(answer, goes_on)) => {
                let told = &answer;
                self.tell(conn, &Received::Refused { name, answer: told });
                (answer, goes_on)
            }
            Err(error) => {
                let told = &error;
                self.tell(conn, &Received::Cut { name, error: told });
                return Err(error);
            }
        };
        write_frame(conn, &answer.to_message())?;
        Ok(goes_on)
    }

    fn take(&self, conn: &mut Conn, header: &Header) -> Result<End> {
        let name = match self.check(header) {
            Ok(name) => name,
            Err(answer) => return Ok(End::Refused(answer, true)),
        };
        let (folder, size) = (self.folder.clone(), header.size);
        let mut part = match files().run(move || Part::create(folder, size))? {
            Ok(part) => Some(part),
            Err(error) => return Ok(End::Refused(refusal(&error), true)),
        };
        let end = self.content(conn, &mut part, size);
        if !matches!(end, Ok(None))
            && let Some(part) = part.take()
        {
            discard(part);
        }
        let part = match (end?, part) {
            (Some(refused), _) => return Ok(refused),
            (None, Some(part)) => part,
            (None, None) => unreachable!("it is taken away for an error only"),
        };
        let overwrite = self.overwrite;
        // All of it is here. A kill may wait for the disk.
        let published = shield(|| files().run(move || part.publish(&name, overwrite)))?;
        Ok(match published {
            Ok(name) => End::Stored(name),
            Err(error) => End::Refused(refusal(&error), true),
        })
    }

    /// Says yes, and writes what comes; `None` if all of it is well. `part` is gone if the caller
    /// was killed while it was with the disk's thread.
    fn content(&self, conn: &mut Conn, part: &mut Option<Part>, size: u64) -> Result<Option<End>> {
        write_frame(conn, &Answer::new(Status::Ok, "send it").to_message())?;
        let mut sum = Crc32::new();
        let mut left = size;
        let mut buf = Vec::new();
        while left > 0 {
            // On the heap, and the last one may be smaller.
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            buf.resize(most.min(BUFFER_BYTES), 0);
            if !self.read_exact(conn, &mut buf)? {
                let text = format!("slower than {} bytes a second", self.speed_min);
                let answer = Answer::new(Status::Failed, text);
                return Ok(Some(End::Refused(answer, false)));
            }
            sum.update(&buf);
            left -= buf.len() as u64;
            if let Err(error) = write(part, &mut buf)? {
                return Ok(Some(End::Refused(refusal(&error), false)));
            }
        }
        let limit = Deadline::after(FRAME_TIMEOUT);
        let trailer = read_frame_deadline(conn, SUM_BYTES, limit)?;
        let trailer = trailer.ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
        if trailer != sum.value().to_be_bytes() {
            let text = "the bytes that came are not those that were sent";
            let answer = Answer::new(Status::Differs, text);
            return Ok(Some(End::Refused(answer, true)));
        }
        Ok(None)
    }

    /// Fills `buf`, which is not empty; false if that takes longer than it may.
    fn read_exact(&self, conn: &mut Conn, buf: &mut [u8]) -> io::Result<bool> {
        let idle = conn.idle_timeout();
        let millis = (buf.len() as u64 * 1000).checked_div(self.speed_min);
        let limit = millis.map_or(Deadline::NEVER, |millis| {
            Deadline::after(idle.unwrap_or(FRAME_TIMEOUT) + Duration::from_millis(millis))
        });
        let mut filled = 0;
        while filled < buf.len() {
            match conn.read_deadline(&mut buf[filled..], limit.earlier(idle.into())) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(e) if e.kind() == ErrorKind::TimedOut && limit.is_passed() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The name it will get, if it may come at all.
    fn check(&self, header: &Header) -> Result<String, Answer> {
        let (size, most) = (header.size, self.size_max);
        if size > most {
            let text = format!("{size} bytes, and at most {most} are taken");
            return Err(Answer::new(Status::TooLarge, text));
        }
        match safe(&header.name) {
            Some(name) => Ok(match name.strip_prefix('.') {
                // Hidden names mean something to programs, and a stranger picks this one.
                Some(rest) => format!("_{rest}"),
                None => name,
            }),
            None => Err(Answer::new(Status::BadName, "no file can have this name")),
        }
    }
}

/// How it ended, and for a refusal whether the connection is still in step.
enum End {
    Stored(String),
    Refused(Answer, bool),
}

/// Has the disk's thread write; part and buffer travel there and back.
fn write(place: &mut Option<Part>, buf: &mut Vec<u8>) -> Result<io::Result<()>> {
    let (part, bytes) = (place.take(), std::mem::take(buf));
    let (part, bytes, written) = files().run(move || {
        let mut part = part;
        let written = part.as_mut().map_or(Ok(()), |part| part.write(&bytes));
        (part, bytes, written)
    })?;
    (*place, *buf) = (part, bytes);
    Ok(written)
}

/// Removes it where that may block.
fn discard(part: Part) {
    let _ = shield(|| files().run(move || drop(part)));
}

/// What a client is told of an error of the disk's.
fn refusal(error: &io::Error) -> Answer {
    let status = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Status::NoSpace
        }
        _ => Status::Failed,
    };
    let kind = io::Error::from(error.kind());
    Answer::new(status, Error::from(kind).to_string())
}

impl Handler for UploadHandler {
    fn handle(&self, conn: &mut Conn) -> Result<()> {
        // Between two files a server that drains ends it.
        while conn.wait_ready()? {
            let limit = Deadline::after(FRAME_TIMEOUT);
            let header = match read_frame_deadline(conn, HEADER_BYTES_MAX, limit) {
                Ok(Some(message)) => Header::from_message(&message).map_err(|e| e.to_string()),
                Ok(None) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::InvalidData => Err(e.to_string()),
                Err(error) => return Err(error.into()),
            };
            match header {
                Ok(header) if self.receive(conn, &header)? => {}
                Ok(_) => return Ok(()),
                Err(text) => {
                    let answer = Answer::new(Status::BadRequest, text);
                    let (name, answer) = ("", &answer);
                    self.tell(conn, &Received::Refused { name, answer });
                    write_frame(conn, &answer.to_message())?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for UploadHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadHandler")
            .field("folder", &self.folder)
            .field("size_max", &self.size_max)
            .field("speed_min", &self.speed_min)
            .field("overwrite", &self.overwrite)
            .finish_non_exhaustive()
    }
}

/// The default of [`UploadHandler::size_max`].
const SIZE_MAX: u64 = 1 << 30;

/// The default of [`UploadHandler::speed_min`].
const SPEED_MIN: u64 = 1024;

/// What a hand-over to the disk's thread moves: enough that its 25 microseconds do not count,
/// and little enough for ten thousand connections.
const BUFFER_BYTES: usize = 64 * 1024;

/// A header and a check sum are small: who takes longer for one is not sending it.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);
