//! The two directions of a TLS connection, for two greenlets.
//!
//! Both need rustls' one state, so that stands under a lock that is held to seal or to open
//! a record, and never while anybody waits. What is sealed must leave in that order: it goes
//! through one buffer, and whoever sends from it says so. The reading half now and then has
//! something to send, too (an alert, an answer to a change of keys). It sends what there is
//! room for and leaves the rest to the writing half, so that it never waits for a peer that
//! does not read.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ConnectionCommon, SideData};

use super::TlsStream;
use crate::net::socket::StreamSocket;
use crate::net::stream::Stream;
use crate::net::tcp::TcpStream;
use crate::net::unix::UnixStream;
use crate::runtime::deadline::Deadline;
use crate::runtime::park;
use crate::util::lock;

/// The reading half of a TLS connection: see [`TlsStream::split`].
///
/// ```
/// # fn hear<C, D>(stream: greenloop::net::tls::TlsStream<greenloop::net::TcpStream, C>)
/// #     -> greenloop::Result<String>
/// # where
/// #     C: std::ops::DerefMut<Target = rustls::ConnectionCommon<D>> + Send,
/// #     D: rustls::SideData,
/// # {
/// use std::io::Read;
///
/// let (mut reader, _writer) = stream.split()?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?; // an error, if somebody has cut it short
/// # Ok(text)
/// # }
/// ```
pub struct TlsReadHalf<C> {
    stream: StreamSocket,
    shared: Arc<Mutex<Shared<C>>>,
    /// What has come from the socket, of which so much has been opened.
    sealed: Vec<u8>,
    filled: usize,
    opened: usize,
}

/// The writing half of a TLS connection: see [`TlsStream::split`].
///
/// Dropping it ends the writing without TLS' goodbye, as if something had gone wrong: after
/// the last of it, call [`TlsWriteHalf::shutdown`].
///
/// ```
/// # fn say<C, D>(stream: greenloop::net::tls::TlsStream<greenloop::net::TcpStream, C>)
/// #     -> greenloop::Result<()>
/// # where
/// #     C: std::ops::DerefMut<Target = rustls::ConnectionCommon<D>> + Send,
/// #     D: rustls::SideData,
/// # {
/// use std::io::Write;
///
/// let (_reader, mut writer) = stream.split()?;
/// writer.write_all(b"question")?;
/// writer.shutdown()?; // the answer can still be read
/// # Ok(())
/// # }
/// ```
pub struct TlsWriteHalf<C> {
    stream: StreamSocket,
    shared: Arc<Mutex<Shared<C>>>,
    write_timeout: Option<Duration>,
}

struct Shared<C> {
    tls: Box<C>,
    /// Sealed, and to be sent before anything that is sealed later.
    outgoing: Vec<u8>,
    /// The writing half sends what it has taken out of `outgoing`.
    is_writing: bool,
    has_ended: bool,
}

macro_rules! split {
    ($stream:ty) => {
        impl<C, D> TlsStream<$stream, C>
        where
            C: DerefMut + Deref<Target = ConnectionCommon<D>> + Send,
            D: SideData,
        {
            /// Makes two halves, for two greenlets: one reads while the other writes.
            ///
            /// # Errors
            /// The process has no descriptor left; the connection is closed then.
            ///
            /// # Examples
            ///
            /// ```
            /// use greenloop::Deadline;
            /// use greenloop::net::tls::{TlsAcceptor, TlsConnector};
            /// use greenloop::net::{TcpListener, TcpStream};
            /// use std::io::{Read, Write};
            /// # let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            /// # let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
            /// # let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
            /// # let config = rustls::ServerConfig::builder_with_provider(ring)
            /// #     .with_safe_default_protocol_versions().unwrap()
            /// #     .with_no_client_auth()
            /// #     .with_single_cert(vec![own.cert.der().clone()], key).unwrap();
            ///
            /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
            /// let client = TcpStream::connect(listener.local_addr()?)?;
            /// let acceptor = TlsAcceptor::with_config(config.into());
            /// let echo = greenloop::spawn(move || {
            ///     let stream = listener.accept()?.0;
            ///     let (mut reader, mut writer) = acceptor.accept(stream, Deadline::NEVER)?.split()?;
            ///     std::io::copy(&mut reader, &mut writer)?;
            ///     Ok::<_, greenloop::Error>(writer.shutdown()?)
            /// });
            /// let connector = TlsConnector::trusting(own.cert.pem().as_bytes())?;
            /// let stream = connector.connect("localhost", client, Deadline::NEVER)?;
            /// let (mut reader, mut writer) = stream.split()?;
            /// let answer = greenloop::spawn(move || {
            ///     let mut text = String::new();
            ///     reader.read_to_string(&mut text).map(|_| text)
            /// });
            /// writer.write_all(b"hello")?;
            /// writer.shutdown()?; // the server reads the end
            /// assert_eq!(answer.join().unwrap()?, "hello");
            /// echo.join().unwrap()?;
            /// # Ok::<(), greenloop::Error>(())
            /// ```
            ///
            /// gevent: one `SSLSocket` used by two greenlets.
            pub fn split(self) -> io::Result<(TlsReadHalf<C>, TlsWriteHalf<C>)> {
                self.into_halves()
            }
        }
    };
}

split!(TcpStream);
split!(UnixStream);

impl<S, C> TlsStream<S, C> {
    pub(crate) fn into_halves(self) -> io::Result<(TlsReadHalf<C>, TlsWriteHalf<C>)>
    where
        S: Into<StreamSocket>,
    {
        let mut reading = self.stream.into();
        reading.set_read_timeout(self.read_timeout);
        let writing = reading.second()?;
        let shared = Arc::new(Mutex::new(Shared {
            tls: self.tls,
            outgoing: Vec::new(),
            is_writing: false,
            has_ended: self.has_ended,
        }));
        let reader = TlsReadHalf {
            stream: reading,
            shared: shared.clone(),
            sealed: vec![0; SEALED_BYTES],
            filled: 0,
            opened: 0,
        };
        let writer = TlsWriteHalf {
            stream: writing,
            shared,
            write_timeout: self.write_timeout,
        };
        Ok((reader, writer))
    }
}

impl<C, D> Shared<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    /// Takes what rustls has to send.
    fn collect(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.outgoing)?;
        }
        Ok(())
    }

    /// Sends what there is room for, unless the writing half does.
    fn send_some(&mut self, socket: &StreamSocket) {
        if !self.is_writing && !self.outgoing.is_empty() {
            // Where it fails, the other half will hear why.
            let sent = socket.try_send(&self.outgoing).unwrap_or(0);
            self.outgoing.drain(..sent);
        }
    }

    /// Opens of what has come as much as rustls takes at a time; says how much that was.
    fn open(&mut self, mut sealed: &[u8], socket: &StreamSocket) -> io::Result<usize> {
        let count = self.tls.read_tls(&mut sealed)?;
        let opened = self.tls.process_new_packets();
        // What it answers is sent also where it fails: an alert says why.
        self.collect()?;
        self.send_some(socket);
        match opened {
            Ok(_) => Ok(count),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

impl<C, D> TlsReadHalf<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    /// Like [`Stream::read_deadline`].
    ///
    /// # Errors
    /// As there; `UnexpectedEof` where the stream below ends without TLS' goodbye.
    #[track_caller]
    pub fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(count) = self.read_opened(buf)? {
                return Ok(count);
            }
            self.opened = 0;
            self.filled = 0;
            self.filled = self.stream.read_deadline(&mut self.sealed, limit)?;
            if self.filled == 0 {
                // Tells rustls of the end; what that means, the next read says.
                lock(&self.shared).open(&[], &self.stream)?;
            }
        }
    }

    /// Reads what can be had without the socket.
    fn read_opened(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let mut shared = lock(&self.shared);
        loop {
            match shared.tls.reader().read(buf) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let cut = "the connection was cut without TLS' goodbye";
                    return Err(io::Error::new(error.kind(), cut));
                }
                Err(error) => return Err(error),
            }
            if self.opened == self.filled {
                return Ok(None);
            }
            let sealed = &self.sealed[self.opened..self.filled];
            self.opened += shared.open(sealed, &self.stream)?;
        }
    }

    /// Like [`Stream::set_read_timeout`].
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.stream.set_read_timeout(limit);
    }
}

impl<C, D> TlsWriteHalf<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    /// Like [`Stream::write_deadline`]. First it sends what earlier calls have left: if
    /// `limit` passes there, it has taken nothing. Then it returns when what it took is sent,
    /// or, as that cannot be undone, at `limit`: the next call sends the rest.
    ///
    /// # Errors
    /// As there; `BrokenPipe` after [`TlsWriteHalf::shutdown`].
    #[track_caller]
    pub fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        // Before anything is sealed, which cannot be undone: a call that must not wait
        // sends nothing.
        park::check(Deadline::NEVER)?;
        // Or what a peer leaves unread would grow with every call that tries again.
        self.send_all(limit)?;
        let count = {
            let mut shared = lock(&self.shared);
            if shared.has_ended {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = shared.tls.writer().write(buf)?;
            shared.collect()?;
            count
        };
        match self.send_all(limit) {
            // An error would say that nothing was taken, and have it sent twice.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && limit.is_passed() => Ok(count),
            sent => sent.map(|()| count),
        }
    }

    /// Like [`Stream::write_all_deadline`]: returns when all of it is sent.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn write_all_deadline(&mut self, mut buf: &[u8], limit: Deadline) -> io::Result<()> {
        while !buf.is_empty() {
            let count = self.write_deadline(buf, limit)?;
            buf = &buf[count..];
        }
        self.send_all(limit)
    }

    /// Like [`Stream::set_write_timeout`].
    pub fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    /// Like [`WriteHalf::shutdown`](crate::net::WriteHalf::shutdown), after TLS' goodbye, for
    /// which it waits at most the write timeout.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.say_goodbye()?;
        self.send_all(self.write_timeout.into())?;
        self.stream.shutdown(Shutdown::Write)
    }

    fn say_goodbye(&mut self) -> io::Result<()> {
        let mut shared = lock(&self.shared);
        if !std::mem::replace(&mut shared.has_ended, true) {
            shared.tls.send_close_notify();
        }
        shared.collect()
    }

    /// Sends all that is sealed, also by the other half.
    #[track_caller]
    fn send_all(&mut self, limit: Deadline) -> io::Result<()> {
        loop {
            let mut bytes = {
                let mut shared = lock(&self.shared);
                shared.is_writing = !shared.outgoing.is_empty();
                std::mem::take(&mut shared.outgoing)
            };
            if bytes.is_empty() {
                return Ok(());
            }
            let mut sent = 0;
            while sent < bytes.len() {
                match self.stream.write_deadline(&bytes[sent..], limit) {
                    Ok(count) => sent += count,
                    Err(error) => {
                        let mut shared = lock(&self.shared);
                        shared.is_writing = false;
                        bytes.drain(..sent);
                        bytes.append(&mut shared.outgoing);
                        shared.outgoing = bytes;
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl<C> Drop for TlsWriteHalf<C> {
    fn drop(&mut self) {
        // It fails if the peer has reset the connection or the writing has ended: fine.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

impl<C, D> Read for TlsReadHalf<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.stream.read_timeout().into())
    }
}

impl<C, D> Write for TlsWriteHalf<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<D>>,
    D: SideData,
{
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_deadline(buf, self.write_timeout.into())
    }

    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.write_all_deadline(buf, self.write_timeout.into())
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        self.send_all(self.write_timeout.into())
    }
}

impl<C> fmt::Debug for TlsReadHalf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.show("TlsReadHalf", f)
    }
}

impl<C> fmt::Debug for TlsWriteHalf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.show("TlsWriteHalf", f)
    }
}

/// A record and what belongs to it (RFC 8446, 5.2: 16 KiB + 256 bytes, and a header).
const SEALED_BYTES: usize = 18 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::TcpListener;
    use crate::net::tls::{TlsAcceptor, TlsConnector};
    use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

    type Halves<C> = (TlsReadHalf<C>, TlsWriteHalf<C>);

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    /// Both sides of a connection, split.
    fn pair(
        version: &'static SupportedProtocolVersion,
    ) -> (Halves<ClientConnection>, Halves<ServerConnection>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der());
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(ring)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::with_config(config.into());
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepting = crate::spawn(move || {
            let stream = listener.accept().unwrap().0;
            acceptor.accept(stream, soon()).unwrap().split().unwrap()
        });
        let connector = TlsConnector::trusting(own.cert.pem().as_bytes()).unwrap();
        let client = connector.connect("localhost", client, soon()).unwrap();
        (client.split().unwrap(), accepting.join().unwrap())
    }

    fn content(count: usize, seed: usize) -> Vec<u8> {
        (0..count)
            .map(|i| (i.wrapping_mul(31) ^ (i >> 7) ^ seed) as u8)
            .collect()
    }

    fn send_all<C, D>(mut writer: TlsWriteHalf<C>, data: Vec<u8>, new_keys: fn(&mut C))
    where
        C: DerefMut + Deref<Target = ConnectionCommon<D>>,
        D: SideData,
    {
        for chunk in data.chunks(100_000) {
            writer.write_all_deadline(chunk, soon()).unwrap();
            new_keys(&mut lock(&writer.shared).tls);
        }
        writer.shutdown().unwrap();
    }

    fn read_all<C, D>(mut reader: TlsReadHalf<C>) -> Vec<u8>
    where
        C: DerefMut + Deref<Target = ConnectionCommon<D>>,
        D: SideData,
    {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn both_directions_are_full_at_once_also_while_keys_change() {
        let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
        for version in versions {
            let (client, server) = pair(version);
            let (up, down) = (content(4 << 20, 1), content(4 << 20, 2));
            let (sent_up, sent_down) = (up.clone(), down.clone());
            // Before TLS 1.3 there is no such thing: it is refused, and nothing happens.
            let sending = crate::spawn(move || {
                send_all(client.1, sent_up, |tls| {
                    let _ = tls.refresh_traffic_keys();
                });
            });
            let answering = crate::spawn(move || {
                send_all(server.1, sent_down, |tls| {
                    let _ = tls.refresh_traffic_keys();
                });
            });
            let got_up = crate::spawn(move || read_all(server.0));
            let got_down = crate::spawn(move || read_all(client.0));
            assert!(got_up.join().unwrap() == up && got_down.join().unwrap() == down);
            sending.join().unwrap();
            answering.join().unwrap();
        }
    }

    #[test]
    fn a_direction_ends_alone_and_then_takes_nothing() {
        let ((mut hear, mut say), server) = pair(&rustls::version::TLS13);
        say.shutdown().unwrap();
        assert_eq!(read_all(server.0), b"");
        let error = say.write(b"more").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        send_all(server.1, b"answer".to_vec(), |_| ());
        let mut text = String::new();
        hear.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
    }

    #[test]
    fn writes_that_time_out_lose_nothing_and_keep_little() {
        let ((_hear, mut say), server) = pair(&rustls::version::TLS13);
        let mut taken = Vec::new();
        let mut timeouts = 0;
        while timeouts < 40 {
            let block = content(64 * 1024, taken.len() / 7 + timeouts);
            match say.write_deadline(&block, Deadline::after(Duration::from_millis(1))) {
                Ok(count) => taken.extend_from_slice(&block[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    timeouts += 1;
                }
            }
            let kept = lock(&say.shared).outgoing.len();
            assert!(kept < 66 * 1024, "{kept} bytes after {timeouts} timeouts");
        }
        // Who wants to know that it is sent hears that it is not.
        let limit = Deadline::after(Duration::from_millis(1));
        let error = say.write_all_deadline(b"more", limit).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let reading = crate::spawn(move || read_all(server.0));
        say.shutdown().unwrap();
        assert!(reading.join().unwrap() == taken, "all of it, once");
    }

    #[test]
    fn cut_without_goodbye_is_an_error() {
        let ((mut hear, _say), server) = pair(&rustls::version::TLS13);
        drop(server);
        let error = hear.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("without TLS' goodbye"));
    }

    #[test]
    fn reads_wait_no_longer_than_their_limit() {
        let ((mut hear, _say), _server) = pair(&rustls::version::TLS13);
        let limit = Deadline::after(Duration::from_millis(5));
        let error = hear.read_deadline(&mut [0], limit).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        hear.set_read_timeout(Some(Duration::from_millis(5)));
        assert_eq!(
            hear.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }
}
