//! TLS over any [`Stream`], with rustls and its ring provider.
//!
//! A thin layer: certificates and policy are rustls' own configuration types. The
//! handshake has a deadline, and after it a [`TlsStream`] is a [`Stream`] like others.

mod halves;
mod trust;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SideData,
};

use crate::error::{Error, Result};
use crate::net::stream::Stream;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, current};

pub use halves::{TlsReadHalf, TlsWriteHalf};
#[cfg(feature = "fetch")]
pub(crate) use trust::Anybody;

/// Makes the client's side of TLS connections.
///
/// gevent: `SSLContext.wrap_socket(server_hostname=…)`.
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
}

/// Makes the server's side of TLS connections.
///
/// Both sides of a connection, with a certificate of one's own:
///
/// ```
/// # #[cfg(feature = "testkit")] {
/// use greenloop::Deadline;
/// use greenloop::net::tls::{TlsAcceptor, TlsConnector};
/// use greenloop::testkit::stream_pair;
/// use rustls::pki_types::PrivateKeyDer;
/// use rustls::{ClientConfig, RootCertStore, ServerConfig};
/// use std::io::{Read, Write};
///
/// let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
/// let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
/// let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
/// let server = ServerConfig::builder_with_provider(ring.clone())
///     .with_safe_default_protocol_versions().unwrap()
///     .with_no_client_auth()
///     .with_single_cert(vec![own.cert.der().clone()], key).unwrap();
/// let mut roots = RootCertStore::empty();
/// roots.add(own.cert.der().clone()).unwrap();
/// let client = ClientConfig::builder_with_provider(ring)
///     .with_safe_default_protocol_versions().unwrap()
///     .with_root_certificates(roots)
///     .with_no_client_auth();
///
/// let (near, far) = stream_pair(4096);
/// let acceptor = TlsAcceptor::with_config(server.into());
/// let echo = greenloop::spawn(move || {
///     let mut stream = acceptor.accept(far, Deadline::NEVER)?;
///     let mut buf = [0; 5];
///     stream.read_exact(&mut buf)?;
///     Ok::<_, greenloop::Error>(stream.write_all(&buf)?)
/// });
/// let connector = TlsConnector::with_config(client.into());
/// let mut stream = connector.connect("localhost", near, Deadline::NEVER)?;
/// stream.write_all(b"hello")?;
/// let mut answer = [0; 5];
/// stream.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"hello");
/// echo.join().unwrap()?;
/// # }
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `SSLContext.wrap_socket(server_side=True)`.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
}

/// A TLS connection over the stream `S`; `C` is the side.
///
/// An end of `S` without TLS' own goodbye is the error `UnexpectedEof`: somebody may have
/// cut the message short.
pub struct TlsStream<S, C> {
    /// On the heap: it is over a kilobyte, and greenlets' stacks are small.
    tls: Box<C>,
    stream: S,
    /// We said goodbye.
    has_ended: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

/// rustls' state of a client, for who names the halves of a connection.
pub(crate) type ClientSide = ClientConnection;

/// The client's side of a TLS connection.
pub type ClientTls<S> = TlsStream<S, ClientConnection>;

/// The server's side of a TLS connection.
pub type ServerTls<S> = TlsStream<S, ServerConnection>;

impl TlsConnector {
    /// A connector that trusts Mozilla's root certificates.
    ///
    /// # Errors
    /// The crypto provider does not support the protocol versions.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use greenloop::net::tls::TlsConnector;
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::Write;
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// listener.accept()?.0.write_all(b"220 mail.example.com SMTP\r\n")?; // no TLS
    /// let failed = TlsConnector::new()?.connect("example.com", stream, Deadline::NEVER);
    /// assert!(failed.is_err());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn new() -> Result<Self> {
        client_config().map(Self::with_config)
    }

    /// A connector with rustls' own configuration.
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }

    /// Begins TLS on `stream` and checks that the peer is `name`, within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The name makes no sense, the certificate is not for it or not trusted, the peer
    /// speaks no TLS; timeout when `limit` passed; what the stream reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use greenloop::net::tls::TlsConnector;
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let silent = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(silent.local_addr()?)?;
    /// let limit = Deadline::after(Duration::from_millis(5));
    /// let failed = TlsConnector::new()?.connect("example.com", stream, limit);
    /// assert!(failed.unwrap_err().is_timeout());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `SSLContext.wrap_socket(sock, server_hostname=name)`, whose handshake has
    /// the socket's timeout.
    #[track_caller]
    pub fn connect<S: Stream>(
        &self,
        name: &str,
        stream: S,
        limit: Deadline,
    ) -> Result<ClientTls<S>> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::message(format!("{name:?} is no name for a certificate")))?;
        let tls = boxed(|| ClientConnection::new(self.config.clone(), server))?;
        TlsStream::handshake(tls, stream, limit)
            .map_err(|error| error.context(format!("TLS with {name}")))
    }
}

impl TlsAcceptor {
    /// An acceptor with rustls' own configuration: certificate chain and key.
    pub fn with_config(config: Arc<ServerConfig>) -> Self {
        Self { config }
    }

    /// Begins TLS on `stream`, within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The peer speaks no TLS or does not trust us; timeout when `limit` passed; what the
    /// stream reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Deadline;
    /// use greenloop::net::tls::TlsAcceptor;
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::Write;
    /// # let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    /// # let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    /// # let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    /// # let config = rustls::ServerConfig::builder_with_provider(ring)
    /// #     .with_safe_default_protocol_versions().unwrap()
    /// #     .with_no_client_auth()
    /// #     .with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    ///
    /// let acceptor = TlsAcceptor::with_config(config.into());
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// client.write_all(b"GET / HTTP/1.1\r\n\r\n")?; // plain HTTP, by mistake
    /// let (stream, _) = listener.accept()?;
    /// assert!(acceptor.accept(stream, Deadline::NEVER).is_err());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `SSLContext.wrap_socket(sock, server_side=True)`.
    #[track_caller]
    pub fn accept<S: Stream>(&self, stream: S, limit: Deadline) -> Result<ServerTls<S>> {
        let tls = boxed(|| ServerConnection::new(self.config.clone()))?;
        TlsStream::handshake(tls, stream, limit).map_err(|error| error.context("TLS"))
    }
}

/// Makes a connection on the heap. Never inlined: it takes several copies on the stack.
#[inline(never)]
fn boxed<C>(make: impl FnOnce() -> Result<C, rustls::Error>) -> Result<Box<C>> {
    make().map(Box::new).map_err(Error::message)
}

/// rustls' configuration for clients that trust Mozilla's root certificates.
///
/// # Errors
/// The crypto provider does not support the protocol versions.
pub(crate) fn client_config() -> Result<Arc<ClientConfig>> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::message)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl<S, C, D> TlsStream<S, C>
where
    S: Stream,
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    #[track_caller]
    fn handshake(mut tls: Box<C>, mut stream: S, limit: Deadline) -> Result<Self> {
        let mut limited = Limited {
            stream: &mut stream,
            limit,
        };
        // The calls come back to the stream through rustls.
        current().waiting_here(|| {
            while tls.is_handshaking() {
                tls.complete_io(&mut limited)?;
            }
            // What the last step left to say, such as tickets.
            while tls.wants_write() {
                tls.write_tls(&mut limited)?;
            }
            io::Result::Ok(())
        })?;
        Ok(Self {
            tls,
            stream,
            has_ended: false,
            read_timeout: None,
            write_timeout: None,
        })
    }

    /// The stream below, for its addresses and options.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What rustls knows: protocol, cipher, the peer's certificates.
    pub fn connection(&self) -> &C {
        &self.tls
    }

    /// Runs `call` on the connection over a stream with one limit.
    #[track_caller]
    fn limited<R>(
        &mut self,
        limit: Deadline,
        call: impl FnOnce(&mut rustls::Stream<'_, C, Limited<'_, S>>) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut limited = Limited {
            stream: &mut self.stream,
            limit,
        };
        current().waiting_here(|| call(&mut rustls::Stream::new(&mut *self.tls, &mut limited)))
    }
}

impl<S, C, D> Stream for TlsStream<S, C>
where
    S: Stream,
    C: DerefMut + Deref<Target = ConnectionCommon<D>> + Send,
    D: SideData,
{
    #[track_caller]
    fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        if buf.is_empty() {
            // rustls would wait for a message all the same.
            return Ok(0);
        }
        self.limited(limit, |stream| stream.read(buf))
    }

    /// Returns when what it took is encrypted and sent, not when it is in a buffer. If the
    /// wait for that is ended, what it took may still be sent by a later call: a write that
    /// fails is not to be repeated.
    #[track_caller]
    fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        if buf.is_empty() {
            // With nothing to send, rustls would wait to read.
            return Ok(0);
        }
        if self.has_ended {
            // rustls would take it, and every later read fail for want of a place for it.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Before anything is sealed, which cannot be undone: a call that must not wait
        // sends nothing.
        park::check(Deadline::NEVER)?;
        self.limited(limit, |stream| {
            let count = stream.write(buf)?;
            stream.flush()?;
            Ok(count)
        })
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.read_timeout = limit;
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    /// Ended writing says goodbye in TLS first, waiting at most the write timeout.
    #[track_caller]
    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.has_ended = true;
            self.tls.send_close_notify();
            let limit = self.write_timeout.into();
            self.limited(limit, |stream| stream.flush())?;
        }
        self.stream.shutdown(how)
    }
}

impl<S, C, D> Read for TlsStream<S, C>
where
    S: Stream,
    C: DerefMut + Deref<Target = ConnectionCommon<D>> + Send,
    D: SideData,
{
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.read_timeout.into())
    }
}

impl<S, C, D> Write for TlsStream<S, C>
where
    S: Stream,
    C: DerefMut + Deref<Target = ConnectionCommon<D>> + Send,
    D: SideData,
{
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_deadline(buf, self.write_timeout.into())
    }

    /// One limit for the whole, as gevent's `sendall`.
    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.write_all_deadline(buf, self.write_timeout.into())
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        let limit = self.write_timeout.into();
        self.limited(limit, |stream| stream.flush())
    }
}

impl<S: fmt::Debug, C> fmt::Debug for TlsStream<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

/// A stream all of whose calls end at one deadline.
struct Limited<'a, S> {
    stream: &'a mut S,
    limit: Deadline,
}

impl<S: Stream> Read for Limited<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read_deadline(buf, self.limit)
    }
}

impl<S: Stream> Write for Limited<'_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write_deadline(buf, self.limit)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{TcpListener, TcpStream};

    /// A certificate for `localhost`, and both sides' configurations with it.
    fn configs() -> (TlsConnector, TlsAcceptor) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (
            TlsConnector::with_config(client.into()),
            TlsAcceptor::with_config(server.into()),
        )
    }

    fn pair() -> (TcpStream, TcpStream) {
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn megabytes_pass_both_ways_and_the_end_is_seen() {
        let (connector, acceptor) = configs();
        let (client, server) = pair();
        let echo = crate::spawn(move || {
            let mut tls = acceptor.accept(server, soon())?;
            let mut all = Vec::new();
            tls.read_to_end(&mut all)?;
            tls.write_all(&all)?;
            tls.shutdown(Shutdown::Both)
        });
        let mut tls = connector.connect("localhost", client, soon()).unwrap();
        let data: Vec<u8> = (0..3 << 20).map(|n: u32| (n % 251) as u8).collect();
        tls.write_all(&data).unwrap();
        tls.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        tls.read_to_end(&mut back).unwrap();
        assert!(back == data);
        echo.join().unwrap().unwrap();
    }

    #[test]
    fn handshake_with_a_silent_peer_times_out() {
        let (connector, acceptor) = configs();
        let (client, server) = pair();
        let limit = Duration::from_millis(30);
        let error = connector
            .connect("localhost", client, limit.into())
            .unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.to_string(), "TLS with localhost: timed out");
        let (_client, server2) = pair();
        drop(server);
        assert!(
            acceptor
                .accept(server2, limit.into())
                .unwrap_err()
                .is_timeout()
        );
    }

    #[test]
    fn wrong_name_and_unknown_issuer_are_refused() {
        for (name, mozilla) in [("example.com", false), ("localhost", true)] {
            let (mut connector, acceptor) = configs();
            if mozilla {
                connector = TlsConnector::new().unwrap();
            }
            let (client, server) = pair();
            let accepting = crate::spawn(move || acceptor.accept(server, soon()).map(drop));
            let error = connector.connect(name, client, soon()).unwrap_err();
            assert!(error.to_string().contains("certificate"), "{error}");
            assert!(accepting.join().unwrap().is_err());
        }
    }

    #[test]
    fn cut_without_goodbye_is_an_error() {
        let (connector, acceptor) = configs();
        let (client, server) = pair();
        let accepting = crate::spawn(move || acceptor.accept(server, soon()).unwrap());
        let mut tls = connector.connect("localhost", client, soon()).unwrap();
        let server = accepting.join().unwrap();
        drop(server);
        let error = tls.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_wait_shows_the_callers_line() {
        let ((_, acceptor), (_client, stream)) = (configs(), pair());
        let line = line!() + 1;
        let accept = crate::spawn(move || acceptor.accept(stream, Deadline::NEVER).map(drop));
        let site = loop {
            let all = crate::greenlets();
            let own = all.into_iter().find(|one| one.id == accept.id());
            if let Some(site) = own.and_then(|one| one.waits_at) {
                break site;
            }
            std::thread::yield_now();
        };
        assert!(
            site.starts_with(&format!("src/net/tls.rs:{line}:")),
            "{site}"
        );
        accept.kill();
        assert!(accept.join().unwrap_err().is_killed());
    }
}
