//! The server's side of transfers: which there are, and one from request to end.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::flow::{self, Fault};
use super::link::Link;
use super::report::{Counts, Direction, Ended, Outcome};
use super::root::{Refusal, Root, Upload};
use crate::error::{Error, Result};
use crate::fs::File;
use crate::net::UdpSocket;
use crate::proto::tftp::{
    Agreed, End, ErrorCode, Limits, Malformed, Mode, Packet, Receiver, Retry, Sender, Size, Terms,
};
use crate::runtime::deadline::{Deadline, Timeout};
use crate::runtime::kill::shield;
use crate::runtime::lane::Lane;
use crate::runtime::spawn::SpawnError;
use crate::sync::Group;
use crate::util::{escape, lock};

/// What a server does with files, as it was configured.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) writable: bool,
    pub(super) overwrite: bool,
    pub(super) file_bytes_max: u64,
    pub(super) transfers_max: usize,
    pub(super) transfer_time_max: Duration,
    pub(super) retry: Retry,
    pub(super) limits: Limits,
    pub(super) observer: Arc<dyn Fn(&Ended) + Send + Sync>,
}

/// Retries before the peer is heard for the first time. A request's sender may be forged:
/// who never asked gets three packets, none of them large unless it is a file without
/// options.
const WARY_RETRIES: u32 = 2;
/// What may be on its way to us: fits the receive buffer that Linux gives a socket.
const RECEIVE_WINDOW_BYTES: usize = 64 * 1024;

/// How many first waits the server stays after a file has come: a client whose first two
/// repeats got lost too is still heard. The client says how long a wait is, so it has a limit.
const DALLY_WAITS: u32 = 4;
const DALLY_MAX: Duration = Duration::from_secs(5);
/// Why a transfer is killed whose client asks for something else.
const REPLACED: &str = "the client asks for something else";
/// Why one is that only waits for a lost ACK.
const DRAINED: &str = "the server stops";

/// All transfers of a server.
pub(super) struct Service {
    root: Arc<Root>,
    rules: Rules,
    group: Group,
    table: Mutex<HashMap<SocketAddr, Entry>>,
    counts: Mutex<Counts>,
    /// Transfers that count against the limit, and those that only wait for a lost ACK, which
    /// have the same limit.
    busy: AtomicUsize,
    dallying: Group,
    draining: AtomicBool,
    next_id: AtomicU64,
}

/// A running transfer, by its peer.
struct Entry {
    id: u64,
    /// The request that began it, to tell a repeated one from a new one.
    request: Vec<u8>,
    closing: Arc<AtomicBool>,
    greenlet: Option<crate::Handle>,
}

impl Service {
    pub(super) fn new(root: Root, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            root: Arc::new(root),
            rules,
            group: Group::new(),
            table: Mutex::default(),
            counts: Mutex::default(),
            busy: AtomicUsize::new(0),
            dallying: Group::new(),
            draining: AtomicBool::new(false),
            next_id: AtomicU64::new(0),
        })
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// From now on no transfer stays longer than it must.
    pub(super) fn hurry(&self) {
        self.draining.store(true, Ordering::Relaxed);
        // Who comes after this look sees the flag.
        for greenlet in self.dallying.members() {
            greenlet.kill_with(DRAINED);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = *lock(&self.counts);
        counts.running = self.busy.load(Ordering::Relaxed) as u64;
        counts
    }

    /// Takes a datagram that came to the server's port; a transfer's socket gets the address
    /// `local`. What it returns is to be sent back. Never waits.
    pub(super) fn take(
        self: &Arc<Self>,
        datagram: &[u8],
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<Vec<u8>> {
        let (direction, request) = match Packet::parse(datagram) {
            Ok(Packet::Read(request)) => (Direction::Read, request),
            Ok(Packet::Write(request)) => (Direction::Write, request),
            Err(why @ (Malformed::Mode | Malformed::Nameless)) => {
                lock(&self.counts).junk += 1;
                return Some(error(ErrorCode::Illegal, &why.to_string()));
            }
            // No answer: it could be an answer itself, and so on for ever.
            _ => {
                lock(&self.counts).junk += 1;
                return None;
            }
        };
        if self.is_repeated(peer, datagram) {
            lock(&self.counts).repeated += 1;
            return None;
        }
        if self.busy.load(Ordering::Relaxed) >= self.rules.transfers_max {
            return Some(self.turn_away());
        }
        let transfer = Transfer {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            service: self.clone(),
            peer,
            direction,
            file: request.file.to_vec(),
            mode: request.mode,
            datagram: datagram.to_vec(),
            begun: Instant::now(),
            closing: Arc::default(),
            bytes: 0,
            repeated: 0,
        };
        // Here, not in its greenlet: what went wrong can only be said from the server's own.
        let socket = match bind(local) {
            Ok(socket) => socket,
            Err(error) => return Some(self.fail(transfer, &error)),
        };
        match self.begin(transfer, socket) {
            Ok(()) => None,
            Err(_) => Some(self.turn_away()),
        }
    }

    /// Ends a transfer that has got no socket.
    fn fail(&self, transfer: Transfer, why: &io::Error) -> Vec<u8> {
        lock(&self.counts).begun += 1;
        // Whoever observes may take a while. Without a greenlet nobody is told.
        let outcome = Outcome::Failed(why.to_string());
        let _ = self.group.try_spawn(move || transfer.tell(outcome));
        error(ErrorCode::Undefined, "the server has no socket for it")
    }

    fn turn_away(&self) -> Vec<u8> {
        lock(&self.counts).surplus += 1;
        let text = "too many transfers are running, try again later";
        error(ErrorCode::Undefined, text)
    }

    /// Tells whether the transfer that this asks for is running; one that runs for the same
    /// peer but something else is ended: its client has left it.
    fn is_repeated(&self, peer: SocketAddr, datagram: &[u8]) -> bool {
        let mut table = lock(&self.table);
        let Some(entry) = table.get(&peer) else {
            return false;
        };
        let is_closing = entry.closing.load(Ordering::Relaxed);
        if entry.request == datagram && !is_closing {
            return true;
        }
        if let Some(greenlet) = entry.greenlet.as_ref().filter(|_| !is_closing) {
            greenlet.kill_with(REPLACED);
        }
        table.remove(&peer);
        false
    }

    fn begin(self: &Arc<Self>, transfer: Transfer, socket: UdpSocket) -> Result<(), SpawnError> {
        let (peer, id) = (transfer.peer, transfer.id);
        let entry = Entry {
            id,
            request: transfer.datagram.clone(),
            closing: transfer.closing.clone(),
            greenlet: None,
        };
        lock(&self.table).insert(peer, entry);
        self.busy.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            service: self.clone(),
            peer,
            id,
            is_busy: true,
        };
        // No lock is held here: a closure that is not run gives its place back.
        let greenlet = self.group.try_spawn(move || transfer.run(place, socket))?;
        lock(&self.counts).begun += 1;
        // It may have ended already.
        if let Some(entry) = lock(&self.table)
            .get_mut(&peer)
            .filter(|entry| entry.id == id)
        {
            entry.greenlet = Some(greenlet.handle());
        }
        Ok(())
    }

    fn ended(&self, ended: &Ended) {
        let mut counts = lock(&self.counts);
        match ended.outcome {
            Outcome::Complete | Outcome::Unconfirmed => counts.succeeded += 1,
            Outcome::Refused(_) => counts.refused += 1,
            Outcome::Killed => counts.killed += 1,
            _ => counts.failed += 1,
        }
        match ended.direction {
            Direction::Read => counts.bytes_out += ended.bytes,
            Direction::Write => counts.bytes_in += ended.bytes,
        }
        drop(counts);
        (self.rules.observer)(ended);
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// A transfer's place among the others, given back at its end, whatever that is.
struct Place {
    service: Arc<Service>,
    peer: SocketAddr,
    id: u64,
    is_busy: bool,
}

impl Place {
    /// The file is safe: from now on others may have the place.
    fn free(&mut self) {
        if std::mem::take(&mut self.is_busy) {
            self.service.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free();
        let mut table = lock(&self.service.table);
        if table
            .get(&self.peer)
            .is_some_and(|entry| entry.id == self.id)
        {
            table.remove(&self.peer);
        }
    }
}

/// One transfer, in its own greenlet, on its own socket.
struct Transfer {
    id: u64,
    service: Arc<Service>,
    peer: SocketAddr,
    direction: Direction,
    file: Vec<u8>,
    mode: Mode,
    datagram: Vec<u8>,
    begun: Instant,
    closing: Arc<AtomicBool>,
    bytes: u64,
    repeated: u64,
}

/// Why a transfer did not come to its own end.
enum Stop {
    Refused(Refusal),
    Fault(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fault(Fault::Stopped(error))
    }
}

impl Transfer {
    fn run(mut self, mut place: Place, socket: UdpSocket) {
        let mut link = Link::new(socket, self.peer);
        link.expect_blocks(0);
        let limit = Timeout::start(self.service.rules.transfer_time_max);
        let mut receiver = None;
        let ended = match self.direction {
            Direction::Read => self.serve_read(&mut link),
            Direction::Write => self.serve_write(&mut link, &mut receiver),
        };
        drop(limit);
        let outcome = self.conclude(&mut link, ended);
        // From here on the client may ask for the next file from the same port.
        self.closing.store(true, Ordering::Relaxed);
        place.free();
        let is_whole = outcome == Outcome::Complete;
        self.tell(outcome);
        if let Some(receiver) = receiver.as_mut().filter(|_| is_whole) {
            self.dally(&mut link, receiver);
        }
    }

    fn serve_read(&mut self, link: &mut Link) -> Result<End, Stop> {
        let service = self.service.clone();
        let rules = &service.rules;
        let (root, name) = (self.service.root.clone(), self.file.clone());
        let (file, size) = Lane::for_files().run(move || root.read(&name))??;
        let told = match self.mode {
            // curl takes the answer that a file has 0 bytes for a broken one, and gives up.
            Mode::Octet if size > 0 => Size::Known(size),
            Mode::Octet | Mode::Netascii => Size::Unknown,
        };
        let (terms, agreed) = self.agree(&rules.limits, told);
        let mut sender = Sender::new(terms, rules.retry)
            .opening_with(&agreed)
            .wary(WARY_RETRIES);
        let closing = self.closing.clone();
        let mut seen = |sender: &Sender| closing.store(sender.is_closing(), Ordering::Relaxed);
        let mut file = File::from_std(file);
        let ended = flow::send(
            link,
            &mut sender,
            &mut file,
            (self.mode, Some(size)),
            &mut seen,
        );
        (self.bytes, self.repeated) = (sender.confirmed(), sender.resent());
        Ok(ended?)
    }

    fn serve_write(&mut self, link: &mut Link, whole: &mut Option<Receiver>) -> Result<End, Stop> {
        let service = self.service.clone();
        let rules = &service.rules;
        if !rules.writable {
            let text = format!("{}: the server is read-only", ErrorCode::Access);
            return Err(Refusal::new(ErrorCode::Access, text).into());
        }
        let mut limits = rules.limits;
        limits.window_bytes_max = limits.window_bytes_max.min(RECEIVE_WINDOW_BYTES);
        let (terms, agreed) = self.agree(&limits, Size::Told);
        let is_octet = self.mode == Mode::Octet;
        if is_octet && terms.size.is_some_and(|size| size > rules.file_bytes_max) {
            return Err(Refusal::new(ErrorCode::Full, ErrorCode::Full.to_string()).into());
        }
        let mut receiver = Receiver::new(terms, rules.retry)
            .opening_with(&agreed)
            .wary(WARY_RETRIES);
        if !is_octet {
            receiver = receiver.of_any_size();
        }
        link.expect_blocks(terms.block_size);
        let end = self.take_in(link, &mut receiver)?;
        *whole = Some(receiver);
        Ok(end)
    }

    fn take_in(&mut self, link: &mut Link, receiver: &mut Receiver) -> Result<End, Stop> {
        let (upload, mut file) = self.begin_upload()?;
        let goal = (self.mode, self.service.rules.file_bytes_max);
        let came = flow::receive(link, receiver, &mut file, goal, &mut |_| {});
        (self.bytes, self.repeated) = (receiver.bytes(), receiver.repeats());
        // The last close of a file that is removed may take long: it is the lane's.
        drop(file);
        settle(upload, came)
    }

    fn begin_upload(&self) -> Result<(Upload, File), Stop> {
        let (root, name) = (self.service.root.clone(), self.file.clone());
        let overwrite = self.service.rules.overwrite;
        let (upload, file) = Lane::for_files().run(move || {
            let upload = root.create(&name, overwrite)?;
            let file = upload.file().map_err(|e| Refusal::of(&e))?;
            Ok::<_, Refusal>((upload, file))
        })??;
        Ok((upload, File::from_std(file)))
    }

    fn agree(&self, limits: &Limits, size: Size) -> (Terms, Vec<Agreed>) {
        match Packet::parse(&self.datagram) {
            Ok(Packet::Read(request) | Packet::Write(request)) => {
                limits.agree(&request.options, size)
            }
            _ => Default::default(),
        }
    }

    /// Confirms the last block, and stays for a client whose ACK was lost; not if very many
    /// do, and only until the server is to end.
    fn dally(&self, link: &mut Link, receiver: &mut Receiver) {
        // The file is here, whatever happens now: that is said also when we were killed.
        let now = Deadline::after(Duration::ZERO);
        let _ = shield(|| flow::dally(link, receiver, now));
        let (dallying, me) = (&self.service.dallying, crate::current());
        dallying.add(&me);
        let is_surplus = dallying.len() > self.service.rules.transfers_max;
        if !is_surplus && !self.service.draining.load(Ordering::Relaxed) {
            let wait = receiver.wait().saturating_mul(DALLY_WAITS);
            let _ = flow::dally(link, receiver, Deadline::after(wait.min(DALLY_MAX)));
        }
        dallying.discard(&me);
    }

    /// Tells the client, where it does not know, and puts the end in words.
    fn conclude(&self, link: &mut Link, ended: Result<End, Stop>) -> Outcome {
        let (code, text, outcome) = match ended {
            Ok(End::Complete) => return Outcome::Complete,
            Ok(End::Unconfirmed) => return Outcome::Unconfirmed,
            Ok(End::Silent) => return Outcome::Silent,
            Ok(End::Refused(code, text)) => {
                let text = escape(&text);
                let words = if text.is_empty() {
                    code.to_string()
                } else {
                    text
                };
                return Outcome::Aborted(words);
            }
            Ok(End::Broken(what)) => (
                ErrorCode::Illegal,
                what.to_owned(),
                Outcome::Failed(what.into()),
            ),
            Err(Stop::Refused(refusal)) => {
                let words = refusal.text.clone();
                (refusal.code, refusal.text, Outcome::Refused(words))
            }
            Err(Stop::Fault(Fault::File(error))) => {
                let refusal = match super::is_full(&error) {
                    true => Refusal::of(&error),
                    false => Refusal::new(ErrorCode::Undefined, "the file cannot be used"),
                };
                (
                    refusal.code,
                    refusal.text,
                    Outcome::Failed(error.to_string()),
                )
            }
            // The client is somewhere else already.
            Err(Stop::Fault(Fault::Stopped(error))) if error.kill_reason() == Some(REPLACED) => {
                return Outcome::Killed;
            }
            Err(Stop::Fault(Fault::Stopped(error))) if error.is_cancelled() => (
                ErrorCode::Undefined,
                "the server stops".into(),
                Outcome::Killed,
            ),
            Err(Stop::Fault(Fault::Stopped(error))) => (
                ErrorCode::Undefined,
                "the transfer took too long".into(),
                Outcome::Failed(error.to_string()),
            ),
        };
        // One packet, also when we were killed.
        let _ = shield(|| link.send_error(code, &text));
        outcome
    }

    fn tell(&self, outcome: Outcome) {
        self.service.ended(&Ended {
            peer: self.peer,
            direction: self.direction,
            file: escape(&self.file),
            bytes: self.bytes,
            elapsed: self.begun.elapsed(),
            repeated: self.repeated,
            outcome,
        });
    }
}

/// Publishes what came whole, and removes what did not. Neither is left halfway by a kill.
fn settle(upload: Upload, came: Result<Option<End>, Fault>) -> Result<End, Stop> {
    let lane = Lane::for_files();
    if let Ok(None) = came {
        shield(|| lane.run(move || upload.publish()))??;
        return Ok(End::Complete);
    }
    shield(|| lane.run(move || drop(upload)))?;
    Ok(came?.unwrap_or(End::Complete))
}

/// Without the resolver, to which our own bind hands a zone: nobody is to wait here.
#[expect(clippy::disallowed_methods, reason = "it is made ours at once")]
fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(std::net::UdpSocket::bind(local)?)
}

fn error(code: ErrorCode, text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    Packet::Error { code, text }.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_for_whom_there_is_no_socket_is_told_so() {
        let (tell, told) = std::sync::mpsc::channel();
        let root = Root::open(&std::env::temp_dir()).unwrap();
        let rules = Rules {
            writable: false,
            overwrite: false,
            file_bytes_max: 0,
            transfers_max: 1,
            transfer_time_max: Duration::MAX,
            retry: Retry::new(Duration::from_secs(1), 0),
            limits: Limits::default(),
            observer: Arc::new(move |ended: &Ended| drop(tell.send(ended.clone()))),
        };
        let service = Service::new(root, rules);
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        // No address of this machine's.
        let local = SocketAddr::from(([192, 0, 2, 1], 0));
        let answer = service.take(b"\x00\x01file\x00octet\x00", peer, local);
        let answer = answer.expect("it is said");
        let code = ErrorCode::Undefined;
        assert!(matches!(Packet::parse(&answer), Ok(Packet::Error { code: c, .. }) if c == code));
        let ended = told.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(matches!(ended.outcome, Outcome::Failed(_)), "{ended:?}");
        let counts = service.counts();
        assert_eq!((counts.begun, counts.failed, counts.running), (1, 1, 0));
    }
}
