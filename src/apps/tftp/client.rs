//! The client: one file, to or from a server.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flow::{self, Fault};
use super::link::{self, Link};
use super::local::Download;
use crate::error::{Error, Result};
use crate::fs::File;
use crate::net::{Address, UdpSocket, resolve};
use crate::proto::tftp::{
    End, ErrorCode, Mode, Packet, Proposal, Receiver, Request, Retry, Sender, Terms,
};
use crate::runtime::deadline::Deadline;
use crate::runtime::kill::shield;
use crate::runtime::lane::Lane;
use crate::util::escape;

/// A TFTP client.
///
/// # Examples
///
/// ```
/// use greenloop::apps::tftp::{Client, Server};
///
/// # let folder = std::env::temp_dir().join(format!("greenloop-doc-tftp-{}", std::process::id()));
/// # std::fs::create_dir_all(folder.join("root"))?;
/// # std::fs::write(folder.join("root/motd"), "hello")?;
/// let server = Server::new(folder.join("root")).start("127.0.0.1:0")?;
/// let client = Client::new(server.addr().to_string().parse()?);
/// let done = client.get("motd", folder.join("motd"))?;
/// assert_eq!(done.bytes, 5);
/// assert_eq!(std::fs::read(folder.join("motd"))?, b"hello");
/// # server.drain(std::time::Duration::from_secs(5))?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    address: Address,
    mode: Mode,
    block_size: u16,
    window: u16,
    retry: Retry,
    dally: Option<Duration>,
    progress: Option<Arc<Progress>>,
}

type Progress = dyn Fn(u64, Option<u64>) + Send + Sync;

/// What a transfer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Bytes of the file on their way (in netascii, lines are longer there).
    pub bytes: u64,
    /// From the request to the last block.
    pub elapsed: Duration,
    /// Blocks that were sent, or that came, more than once.
    pub repeated: u64,
    /// The size of a block, as it was agreed on.
    pub block_size: usize,
    /// The window, as it was agreed on.
    pub window: u16,
}

/// RFC 2348's own figure: fits an Ethernet packet, with room for IPv6 and a tunnel's header.
const BLOCK_SIZE: u16 = 1428;
/// A window that any receive buffer holds: 11 KiB on their way.
const WINDOW: u16 = 8;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const RETRIES: u32 = 5;
/// How long one of a server's several addresses is waited for before the next is asked, too.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// What Linux gives a socket for packets that nobody has taken yet is 208 KiB, and each costs
/// up to twice its bytes: memory comes in powers of two. A window beyond it loses its end
/// every time, and a timeout with it (measured: 32 MiB in 259 s instead of less than one).
const RECEIVE_ROOM: usize = 160 * 1024;
const PACKET_COST: usize = 1024;
/// What is kept of a file that is sent, until it is confirmed.
const SEND_ROOM: usize = 4 << 20;
/// RFC 2347: a request fits in so many bytes.
const REQUEST_MAX: usize = 512;

impl Client {
    /// A client of the server at `address`: octets, blocks of 1428 bytes, windows of 8
    /// blocks, a second to the first of 5 retries.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            mode: Mode::Octet,
            block_size: BLOCK_SIZE,
            window: WINDOW,
            retry: Retry::new(FIRST_WAIT, RETRIES),
            dally: None,
            progress: None,
        }
    }

    /// How the bytes travel.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Asks for blocks of this size, or the nearest of 8 to 65,464 bytes; 512 asks for nothing.
    #[must_use]
    pub fn block_size(mut self, bytes: u16) -> Self {
        self.block_size = bytes.clamp(8, 65_464);
        self
    }

    /// Asks for windows of so many blocks, or of as many as there is room for; 1 asks for
    /// nothing.
    #[must_use]
    pub fn window(mut self, blocks: u16) -> Self {
        self.window = blocks;
        self
    }

    /// When to send again what was not answered.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How long to stay after a file was received, for a server that has not seen the last
    /// ACK; by default one and a half times the first wait.
    #[must_use]
    pub fn dally(mut self, limit: Duration) -> Self {
        self.dally = Some(limit);
        self
    }

    /// Tells `progress` how many bytes have come or gone, and of how many.
    #[must_use]
    pub fn on_progress(
        mut self,
        progress: impl Fn(u64, Option<u64>) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Reads the server's `file` into the file `to`, which is replaced when all has come.
    ///
    /// Until then it is called `to` and `.part`; if something fails, that is removed.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// The server says no, with its words; it falls silent; it breaks the protocol; the file
    /// cannot be written; the caller was killed or timed out.
    #[track_caller]
    pub fn get(&self, file: &str, to: impl AsRef<Path>) -> Result<Transferred> {
        let to = to.as_ref();
        let shown = escape(to.as_os_str().as_bytes());
        let writing = |error: Error| error.context(format!("writing {shown}"));
        let path = to.to_owned();
        let begin = move || -> std::io::Result<_> {
            let download = Download::begin(&path)?;
            let file = download.file()?;
            Ok((download, file))
        };
        let begun = Lane::for_files().run(begin)?;
        let (download, local) = begun.map_err(|e| writing(e.into()))?;
        let (mut local, mut download) = (File::from_std(local), Some(download));
        // A file that is whole is published, whoever leaves meanwhile.
        let got = self.receive(file, &mut local, || {
            let whole = download.take();
            shield(|| Lane::for_files().run(|| whole.map_or(Ok(()), Download::publish)))?
        });
        if got.is_err() {
            // The last close of a file that is removed may take long: it is the lane's.
            let _ = shield(|| Lane::for_files().run(move || drop((local, download))));
        }
        got.map_err(|failed| failed.about(file, &shown))
    }

    /// Reads the server's `file` into `to`, which may have got a part of it when something
    /// fails.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// As [`Client::get`].
    #[track_caller]
    pub fn get_to(&self, file: &str, to: &mut dyn Write) -> Result<Transferred> {
        let got = self.receive(file, to, || Ok(()));
        got.map_err(|failed| failed.about(file, "the output"))
    }

    /// Writes the file `from` to the server's `file`.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// As [`Client::get`]; also, the server has not confirmed the last block.
    #[track_caller]
    pub fn put(&self, from: impl AsRef<Path>, file: &str) -> Result<Transferred> {
        let from: PathBuf = from.as_ref().to_owned();
        let shown = escape(from.as_os_str().as_bytes());
        let mut local = File::open(&from)?;
        let metadata = local.metadata()?;
        if metadata.is_dir() {
            return Err(Error::message(format!("{shown} is a directory")));
        }
        // Of a pipe only its end tells how much it was.
        let size = metadata.is_file().then_some(metadata.len());
        let put = self.send(file, &mut local, size);
        put.map_err(|failed| failed.about(file, &shown))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why a transfer failed, before it is put in words.
enum Failed {
    End(End),
    Fault(Fault),
    /// The server does something that was not agreed on.
    Options(&'static str),
    /// No answer to the request, and what the system said to that.
    NoAnswer(Duration, Option<Error>),
    Other(Error),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Fault(Fault::Stopped(error))
    }
}

impl Failed {
    fn about(self, file: &str, local: &str) -> Error {
        let file = escape(file.as_bytes());
        match self {
            Self::End(End::Refused(code, text)) => {
                let text = escape(&text);
                let words = match text.is_empty() {
                    true => code.to_string(),
                    false => text,
                };
                Error::message(format!(
                    "{file}: the server says: {words} (error {})",
                    code.number()
                ))
            }
            Self::End(End::Silent) => {
                Error::message(format!("{file}: the server has fallen silent"))
            }
            Self::End(End::Unconfirmed) => Error::message(format!(
                "{file}: the server has not confirmed the last block"
            )),
            Self::End(End::Broken(what)) | Self::Options(what) => {
                Error::message(format!("{file}: the server breaks the protocol: {what}"))
            }
            Self::End(End::Complete) => Error::message(format!("{file}: ended")),
            Self::Fault(Fault::File(error)) => Error::from(error).context(local),
            Self::NoAnswer(patience, None) => {
                Error::message(format!("{file}: no answer within {patience:?}"))
            }
            Self::NoAnswer(_, Some(error)) => error.context(format!("{file}: no answer")),
            Self::Fault(Fault::Stopped(error)) | Self::Other(error) => error.context(file),
        }
    }
}

/// What a server answers to a request.
enum Answer {
    /// The options it takes.
    Terms(Terms),
    /// None; and the first packet of the transfer, if it is one.
    Plain(Vec<u8>),
}

impl Client {
    #[track_caller]
    fn receive(
        &self,
        file: &str,
        to: &mut dyn Write,
        publish: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<Transferred, Failed> {
        let begun = Instant::now();
        let (mut link, answer) = self.open(file, &self.proposal(Some(0), true), true)?;
        let (terms, mut receiver) = self.receiver(&answer);
        link.expect_blocks(terms.block_size);
        if let Answer::Plain(first) = answer {
            link.give_back(first);
        }
        let mut seen = |bytes| self.show(bytes, terms.size);
        let whole = flow::receive(
            &mut link,
            &mut receiver,
            to,
            (self.mode, u64::MAX),
            &mut seen,
        );
        let published = match whole {
            Ok(None) => publish().map_err(flow::file_fault).map_err(Failed::from),
            Ok(Some(end)) => Err(Failed::End(end)),
            Err(fault) => Err(fault.into()),
        };
        if let Err(failed) = published {
            say_goodbye(&mut link, &failed);
            return Err(failed);
        }
        let elapsed = begun.elapsed();
        let first_wait = terms.timeout.unwrap_or_else(|| self.retry.first());
        let dally = first_wait.saturating_add(first_wait / 2);
        let dally = self.dally.unwrap_or(dally);
        // The file is here, whatever happens now.
        let _ = flow::dally(&mut link, &mut receiver, Deadline::after(dally));
        Ok(Transferred {
            bytes: receiver.bytes(),
            elapsed,
            repeated: receiver.repeats(),
            block_size: terms.block_size,
            window: terms.window,
        })
    }

    fn receiver(&self, answer: &Answer) -> (Terms, Receiver) {
        let (terms, receiver) = match answer {
            Answer::Terms(terms) => {
                let receiver = Receiver::new(*terms, self.retry);
                (*terms, receiver.opening_with_ack())
            }
            Answer::Plain(_) => {
                let terms = Terms::default();
                (terms, Receiver::new(terms, self.retry))
            }
        };
        match self.mode {
            Mode::Octet => (terms, receiver),
            Mode::Netascii => (terms, receiver.of_any_size()),
        }
    }

    #[track_caller]
    fn send(
        &self,
        file: &str,
        from: &mut dyn Read,
        size: Option<u64>,
    ) -> Result<Transferred, Failed> {
        let begun = Instant::now();
        // In netascii nobody knows how long it gets.
        let told = size.filter(|_| self.mode == Mode::Octet);
        let (mut link, answer) = self.open(file, &self.proposal(told, false), false)?;
        let terms = match answer {
            Answer::Terms(terms) => terms,
            Answer::Plain(_) => Terms::default(),
        };
        link.expect_blocks(terms.block_size);
        let mut sender = Sender::new(terms, self.retry);
        let mut seen = |sender: &Sender| self.show(sender.confirmed(), size);
        let ended = match flow::send(&mut link, &mut sender, from, (self.mode, size), &mut seen) {
            Ok(End::Complete) => Ok(()),
            Ok(end) => Err(Failed::End(end)),
            Err(fault) => Err(fault.into()),
        };
        if let Err(failed) = ended {
            say_goodbye(&mut link, &failed);
            return Err(failed);
        }
        Ok(Transferred {
            bytes: sender.confirmed(),
            elapsed: begun.elapsed(),
            repeated: sender.resent(),
            block_size: terms.block_size,
            window: terms.window,
        })
    }

    fn show(&self, bytes: u64, size: Option<u64>) {
        if let Some(progress) = &self.progress {
            progress(bytes, size);
        }
    }

    /// What is not worth asking for, because it holds anyway, is not asked for: servers of
    /// RFC 1350 alone then get a request that they know.
    fn proposal(&self, size: Option<u64>, is_read: bool) -> Proposal {
        let block_size = usize::from(self.block_size);
        let room = match is_read {
            true => RECEIVE_ROOM / (2 * block_size + PACKET_COST),
            false => SEND_ROOM / block_size.max(1),
        };
        let window = usize::from(self.window).min(room.max(1)) as u16;
        let seconds = self.retry.first();
        let is_whole = seconds.subsec_nanos() == 0;
        Proposal {
            block_size: Some(self.block_size).filter(|size| *size != 512),
            window: Some(window).filter(|window| *window > 1),
            timeout: u8::try_from(seconds.as_secs())
                .ok()
                .filter(|seconds| is_whole && *seconds > 0),
            size,
        }
    }

    /// Sends the request until somebody answers. A server that cannot bear options (ERROR 8)
    /// is asked again without.
    #[track_caller]
    fn open(
        &self,
        file: &str,
        proposal: &Proposal,
        is_read: bool,
    ) -> Result<(Link, Answer), Failed> {
        match self.ask(file, proposal, is_read) {
            Err(Failed::End(End::Refused(ErrorCode::Options, _)))
                if !proposal.options().is_empty() =>
            {
                self.ask(file, &Proposal::default(), is_read)
            }
            answer => answer,
        }
    }

    #[track_caller]
    fn ask(
        &self,
        file: &str,
        proposal: &Proposal,
        is_read: bool,
    ) -> Result<(Link, Answer), Failed> {
        let request = self.request(file, proposal, is_read)?;
        let mut opening = self.opening(proposal, is_read)?;
        let others = std::iter::repeat_n(NEXT_ADDRESS, opening.servers.len() - 1);
        let others = others.map(|wait| wait.min(self.retry.first()));
        for (wait, turn) in others.chain(self.retry.waits()).zip(0..) {
            if let Some((peer, answer)) = opening.turn(&request, turn, Deadline::after(wait))? {
                return Ok((Link::new(opening.socket, peer), answer));
            }
        }
        Err(Failed::NoAnswer(self.retry.patience(), opening.failed))
    }

    #[track_caller]
    fn opening(&self, proposal: &Proposal, is_read: bool) -> Result<Opening, Failed> {
        let host = self.address.host().unwrap_or_else(|| "localhost".into());
        let servers = resolve(&host, self.address.port()).map_err(Failed::Other)?;
        let socket = UdpSocket::bind(":0").map_err(Failed::Other)?;
        Ok(Opening {
            socket,
            servers,
            proposal: *proposal,
            is_read,
            buffer: vec![0; OPENING_BYTES],
            failed: None,
        })
    }

    fn request(&self, file: &str, proposal: &Proposal, is_read: bool) -> Result<Vec<u8>, Failed> {
        if file.is_empty() || file.contains('\0') {
            let text = "a file's name is neither empty nor has a zero byte in it";
            return Err(Failed::Other(Error::message(text)));
        }
        let texts: Vec<_> = proposal
            .options()
            .iter()
            .map(|(name, value)| (*name, value.to_string()))
            .collect();
        let request = Request {
            file: file.as_bytes(),
            mode: self.mode,
            options: texts
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect(),
        };
        let bytes = match is_read {
            true => Packet::Read(request).to_bytes(),
            false => Packet::Write(request).to_bytes(),
        };
        if bytes.len() > REQUEST_MAX {
            return Err(Failed::Other(Error::message("the file's name is too long")));
        }
        Ok(bytes)
    }
}

/// The first packet: at most a block of 512 bytes, or options; one byte more shows more.
const OPENING_BYTES: usize = 1024;

/// A request that is not answered yet, so that nobody knows the server's port.
struct Opening {
    socket: UdpSocket,
    servers: Vec<SocketAddr>,
    proposal: Proposal,
    is_read: bool,
    buffer: Vec<u8>,
    failed: Option<Error>,
}

impl Opening {
    /// Asks the next of the server's addresses, and waits for an answer of any of them.
    #[track_caller]
    fn turn(
        &mut self,
        request: &[u8],
        turn: usize,
        limit: Deadline,
    ) -> Result<Option<(SocketAddr, Answer)>, Failed> {
        let server = self.servers[turn % self.servers.len()];
        if let Err(error) = self.socket.send_to(request, server).map_err(Error::from) {
            if error.is_cancelled() || error.timeout_id().is_some() {
                return Err(error.into());
            }
            self.failed = Some(error.context(format!("sending to {server}")));
        }
        while let Some((length, from)) = link::receive(&mut self.socket, &mut self.buffer, limit)? {
            if self
                .servers
                .iter()
                .any(|server| is_same_host(server.ip(), from.ip()))
                && let Some(answer) = self.understand(length, from)?
            {
                return Ok(Some((from, answer)));
            }
            if limit.is_passed() {
                break;
            }
        }
        Ok(None)
    }

    fn understand(&mut self, length: usize, from: SocketAddr) -> Result<Option<Answer>, Failed> {
        let datagram = &self.buffer[..length];
        Ok(match Packet::parse(datagram) {
            Ok(Packet::OptionAck(answer)) => match self.proposal.accept(&answer) {
                Ok(terms) => Some(Answer::Terms(terms)),
                Err(what) => {
                    let text = what.as_bytes();
                    let code = ErrorCode::Options;
                    // One packet; that it gets lost changes nothing.
                    let _ = self
                        .socket
                        .send_to(&Packet::Error { code, text }.to_bytes(), from);
                    return Err(Failed::Options(what));
                }
            },
            Ok(Packet::Data { block: 1, .. }) if self.is_read => {
                Some(Answer::Plain(datagram.to_vec()))
            }
            Ok(Packet::Ack { block: 0 }) if !self.is_read => Some(Answer::Plain(Vec::new())),
            Ok(Packet::Error { code, text }) => {
                return Err(Failed::End(End::Refused(code, text.to_vec())));
            }
            _ => None,
        })
    }
}

fn is_same_host(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

/// Tells the server why we leave, so that it does not wait for us.
fn say_goodbye(link: &mut Link, failed: &Failed) {
    let (code, text) = match failed {
        Failed::End(End::Broken(what)) => (ErrorCode::Illegal, *what),
        Failed::Fault(Fault::File(error)) if super::is_full(error) => {
            (ErrorCode::Full, "disk full or allocation exceeded")
        }
        Failed::Fault(Fault::File(_)) => (ErrorCode::Undefined, "a local file cannot be used"),
        Failed::Fault(Fault::Stopped(_)) => (ErrorCode::Undefined, "the client was stopped"),
        _ => return,
    };
    // One packet, also when we were killed; that it gets lost changes nothing.
    let _ = shield(|| link.send_error(code, text));
}
