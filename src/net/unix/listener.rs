//! Listening for connections on a Unix socket.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::error::Result;
use crate::net::accept::ListenSocket;
use crate::net::endpoint::Addr;
use crate::net::listener::ListenOptions;
use crate::net::unix::addr::UnixAddr;
use crate::net::unix::stream::UnixStream;
use crate::runtime::deadline::Deadline;

/// A Unix socket that takes connections.
///
/// Its file is removed when it is dropped, unless another socket has taken the name.
///
/// # Examples
///
/// ```
/// use greenloop::net::{UnixAddr, UnixListener, UnixStream};
/// use std::io::{Read, Write};
///
/// let address: UnixAddr = "@greenloop-listener-doc".parse()?;
/// let mut listener = UnixListener::bind(address.clone())?;
/// let mut client = UnixStream::connect(address)?;
/// let (mut server, _peer) = listener.accept()?;
/// client.write_all(b"hello")?;
/// let mut buf = [0; 5];
/// server.read_exact(&mut buf)?;
/// assert_eq!(&buf, b"hello");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: a listening `gevent.socket.socket(AF_UNIX)`.
pub struct UnixListener(pub(in crate::net) ListenSocket);

impl UnixListener {
    /// Listens on `address`.
    ///
    /// A file that a dead server has left is replaced; one that somebody is behind is an
    /// error, and so is one that is no socket. Options: [`ListenOptions`].
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// The name is in use or too long (107 bytes), or the folder does not permit it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixListener;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-doc-{}", std::process::id()));
    /// let listener = UnixListener::bind(path.as_path())?;
    /// let error = UnixListener::bind(path.as_path()).unwrap_err();
    /// let expected = format!("listening on unix:{}: address already in use", path.display());
    /// assert_eq!(error.to_string(), expected);
    /// drop(listener);
    /// assert!(!path.exists());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: a socket that was bound by hand, as the `listener` of `StreamServer`.
    pub fn bind(address: impl Into<UnixAddr>) -> Result<Self> {
        ListenOptions::new().bind_unix(address)
    }

    /// Takes over a listening socket that std or another process made; its file is not
    /// removed.
    ///
    /// # Errors
    /// The descriptor cannot be registered: out of memory or of watches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixListener;
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let name = SocketAddr::from_abstract_name("greenloop-from-std-doc")?;
    /// let listener = std::os::unix::net::UnixListener::bind_addr(&name)?;
    /// let listener = UnixListener::from_std(listener)?;
    /// assert_eq!(listener.local_addr()?.to_string(), "@greenloop-from-std-doc");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        ListenSocket::inherit(listener.into()).map(Self)
    }

    /// Waits for a connection.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`TcpListener::accept`](crate::net::TcpListener::accept).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixListener, UnixStream};
    ///
    /// let address: UnixAddr = "@greenloop-accept-doc".parse()?;
    /// let mut listener = UnixListener::bind(address.clone())?;
    /// let _client = UnixStream::connect(address)?;
    /// let (_stream, peer) = listener.accept()?;
    /// assert_eq!(peer, UnixAddr::Unnamed); // it did not bind
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.accept()`.
    #[track_caller]
    pub fn accept(&mut self) -> io::Result<(UnixStream, UnixAddr)> {
        self.accept_deadline(Deadline::NEVER)
    }

    /// Waits for a connection, at most `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixListener::accept`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn accept_timeout(&mut self, limit: Duration) -> io::Result<(UnixStream, UnixAddr)> {
        self.accept_deadline(Deadline::after(limit))
    }

    /// Waits for a connection until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixListener::accept`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn accept_deadline(&mut self, limit: Deadline) -> io::Result<(UnixStream, UnixAddr)> {
        let (stream, peer) = self.0.accept(limit)?;
        Ok((UnixStream(stream), unix_of(peer)?))
    }

    /// Stops listening at once and removes the file.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixListener};
    ///
    /// let address: UnixAddr = "@greenloop-close-doc".parse()?;
    /// let listener = UnixListener::bind(address.clone())?;
    /// assert_eq!(listener.local_addr()?, address);
    /// listener.close();
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.close()`.
    pub fn close(self) {
        self.0.close();
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        unix_of(self.0.local_addr()?)
    }
}

/// The address of a Unix socket, which has no other.
pub(super) fn unix_of(addr: Addr) -> io::Result<UnixAddr> {
    match addr {
        Addr::Unix(addr) => Ok(addr),
        Addr::Ip(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl From<UnixListener> for ListenSocket {
    fn from(listener: UnixListener) -> Self {
        listener.0
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("UnixListener", f)
    }
}
