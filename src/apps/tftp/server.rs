//! The server: its settings, its port, its end.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::report::{Counts, Ended};
use super::root::Root;
use super::service::{Rules, Service};
use crate::error::{Error, Result};
use crate::net::Addr;
use crate::proto::tftp::{Limits, Retry};
use crate::runtime::deadline::Deadline;
use crate::runtime::lane::Lane;
use crate::server::{Datagram, DatagramConfig, DatagramReport, ServerHandle};
use crate::util::escape;

/// A TFTP server: a folder whose files clients may read, and write if they are let.
///
/// Nothing outside the folder is reached, by whatever name or link, and no hidden file in
/// it (one whose name begins with a dot). Each transfer is a greenlet with a socket of its
/// own, which answers from the address that was asked.
///
/// # Examples
///
/// ```
/// use greenloop::apps::tftp::{Client, Server};
/// use std::time::Duration;
///
/// # let folder = std::env::temp_dir().join(format!("greenloop-doc-tftpd-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let server = Server::new(&folder).writable(true).start("127.0.0.1:0")?;
/// let client = Client::new(server.addr().to_string().parse()?);
/// client.put("Cargo.toml", "manifest")?;
/// assert!(client.put("Cargo.toml", "manifest").is_err(), "it is there already");
///
/// assert_eq!(std::fs::read(folder.join("manifest"))?, std::fs::read("Cargo.toml")?);
/// let counts = server.drain(Duration::from_secs(5))?;
/// assert_eq!((counts.succeeded, counts.refused), (1, 1));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Server {
    root: PathBuf,
    rules: Rules,
}

/// A running [`Server`]; it goes on when this is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    addrs: Vec<SocketAddr>,
    service: Arc<Service>,
    server: ServerHandle<DatagramReport>,
}

const TRANSFERS_MAX: usize = 64;
/// 4 GiB: more than any boot image, and not every disk.
const FILE_BYTES_MAX: u64 = 4 << 30;
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(3600);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const RETRIES: u32 = 5;
const SILENCE_MAX: Duration = Duration::from_secs(60);

impl Server {
    /// A server of the folder `root`: nobody may write, and at most 64 transfers run.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let rules = Rules {
            writable: false,
            overwrite: false,
            file_bytes_max: FILE_BYTES_MAX,
            transfers_max: TRANSFERS_MAX,
            transfer_time_max: TRANSFER_TIME_MAX,
            retry: Retry::new(FIRST_WAIT, RETRIES).within(SILENCE_MAX),
            limits: Limits::default(),
            observer: Arc::new(|_| {}),
        };
        Self {
            root: root.into(),
            rules,
        }
    }

    /// Lets clients write files that are not there.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.rules.writable = writable;
        self
    }

    /// Lets what clients write replace files that are there.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.rules.overwrite = overwrite;
        self
    }

    /// The largest file that clients may write; 4 GiB if nothing else is said.
    #[must_use]
    pub fn file_bytes_max(mut self, bytes: u64) -> Self {
        self.rules.file_bytes_max = bytes;
        self
    }

    /// How many transfers may run at once; 64 if nothing else is said. Further requests get
    /// an ERROR that says so.
    #[must_use]
    pub fn transfers_max(mut self, count: usize) -> Self {
        self.rules.transfers_max = count;
        self
    }

    /// How long a transfer may take altogether; an hour if nothing else is said.
    #[must_use]
    pub fn transfer_time_max(mut self, limit: Duration) -> Self {
        self.rules.transfer_time_max = limit;
        self
    }

    /// When to send again what was not answered, and when a silent client's transfer ends:
    /// after a second, 5 times, within 60 s, if nothing else is said.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.rules.retry = retry;
        self
    }

    /// The largest values of options.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.rules.limits = limits;
        self
    }

    /// Tells `observer` of each transfer that is over, in the transfer's greenlet.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&Ended) + Send + Sync + 'static) -> Self {
        self.rules.observer = Arc::new(observer);
        self
    }

    /// Binds the address and begins to serve.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// The folder cannot be opened; the address cannot be bound; no greenlet can be started.
    #[track_caller]
    pub fn start(self, address: impl ToString) -> Result<Handle> {
        self.start_all([address])
    }

    /// Like [`Server::start`], on several addresses.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// As [`Server::start`]; also if there is no address.
    #[track_caller]
    pub fn start_all<A: ToString>(self, addresses: impl IntoIterator<Item = A>) -> Result<Handle> {
        let shown = escape(self.root.as_os_str().as_bytes());
        let path = self.root.clone();
        let is_writable = self.rules.writable;
        let open = move || {
            let root = Root::open(&path)?;
            if is_writable {
                // A folder that cannot be listed can be served all the same.
                let _ = root.sweep();
            }
            Ok(root)
        };
        let root = Lane::for_files().run(open)?;
        let root =
            root.map_err(|e: std::io::Error| Error::from(e).context(format!("folder {shown}")))?;
        let service = Service::new(root, self.rules);
        let addresses: Vec<_> = addresses.into_iter().map(|a| a.to_string()).collect();
        let server = DatagramConfig::new()
            .datagram_bytes_max(REQUEST_ROOM)
            .bind_all(addresses)?;
        let addrs: Vec<_> = server.addrs().iter().filter_map(Addr::ip).collect();
        if addrs.len() != server.addrs().len() {
            return Err(Error::message("TFTP needs a UDP address to listen on"));
        }
        let taking = service.clone();
        let server = server.start(move |datagram: &mut Datagram| take(&taking, datagram))?;
        Ok(Handle {
            addrs,
            service,
            server,
        })
    }
}

impl Handle {
    /// The address it listens on (the first, if there are several).
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// The addresses it listens on.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.service.counts()
    }

    /// Stops it: no more requests are taken, running transfers have `limit` to end, and are
    /// cut off then.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// Cancelled or timeout, if that ended the wait; no more requests are taken all the same,
    /// and running transfers are cut off then.
    #[track_caller]
    pub fn drain(&self, limit: Duration) -> Result<Counts> {
        let end = Deadline::after(limit);
        self.service.hurry();
        let joined = match self.server.drain(limit) {
            Ok(_) => self.service.group().join_deadline(end),
            Err(error) => Err(error),
        };
        match joined {
            Ok(true) => {}
            Ok(false) => self.service.group().kill()?,
            Err(error) => {
                // Without a wait for their ends: the caller is to go.
                for transfer in self.service.group().members() {
                    transfer.kill();
                }
                return Err(error);
            }
        }
        Ok(self.counts())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Hands requests to their transfers; it never waits, so one greenlet does for all.
fn take(service: &Arc<Service>, datagram: &mut Datagram) -> Result<()> {
    let (Some(peer), Some(arrival)) = (datagram.peer().ip(), datagram.arrival().copied()) else {
        return Ok(());
    };
    // RFC 1123: a request to everybody is answered by nobody.
    if arrival.sent_to != arrival.answer_from || datagram.is_truncated() {
        return Ok(());
    }
    let local = match arrival.answer_from {
        // The same `fe80::…` may stand for a host on each link.
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, arrival.interface).into(),
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, 0),
    };
    match service.take(datagram.data(), peer, local) {
        Some(answer) => datagram.reply(&answer),
        None => Ok(()),
    }
}

/// A request has at most 512 bytes; what does not fit here is none.
const REQUEST_ROOM: usize = 1024;
