//! Echo: every byte comes back.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use crate::error::Result;
use crate::net::Addr;
use crate::server::{Conn, Datagram, DatagramHandler, Handler};

/// Sends back what it reads, until the peer ends its direction or the server drains; or each
/// datagram to its sender.
///
/// It never reads while an answer is unsent, so a peer that does not read its echo stops
/// being read: a connection costs 16 KiB here, whatever the peer sends.
///
/// # Examples
///
/// ```
/// use greenloop::apps::echo::Echo;
/// use greenloop::server::{DatagramServer, StreamServer};
/// use std::time::Duration;
///
/// let server = StreamServer::bind("127.0.0.1:0")?.start(Echo::new())?;
/// assert!(server.drain(Duration::from_secs(1))?.is_clean());
/// let server = DatagramServer::bind("127.0.0.1:0")?.start(Echo::new())?;
/// assert!(server.drain(Duration::from_secs(1))?.is_clean());
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Echo {
    logger: Option<Arc<Logger>>,
}

type Logger = dyn Fn(&Addr, &[u8]) + Send + Sync;

impl Echo {
    /// An echo that tells nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// An echo that shows `logger` the peer and all it reads, before it answers.
    ///
    /// The logger runs in the connection's greenlet; while it takes its time, that
    /// connection waits. So does the next datagram.
    pub fn with_logger(logger: impl Fn(&Addr, &[u8]) + Send + Sync + 'static) -> Self {
        Self {
            logger: Some(Arc::new(logger)),
        }
    }
}

impl Handler for Echo {
    fn handle(&self, conn: &mut Conn) -> Result<()> {
        // On the heap: a greenlet's stack is small.
        let mut buf = vec![0; BUFFER_BYTES];
        loop {
            let count = conn.read_next(&mut buf)?;
            if count == 0 {
                return Ok(());
            }
            if let Some(logger) = &self.logger {
                logger(conn.peer_addr(), &buf[..count]);
            }
            conn.write_all(&buf[..count])?;
        }
    }
}

impl DatagramHandler for Echo {
    fn handle(&self, datagram: &mut Datagram) -> Result<()> {
        if let Some(logger) = &self.logger {
            logger(datagram.peer(), datagram.data());
        }
        datagram.reply(datagram.data())
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo")
            .field("logs", &self.logger.is_some())
            .finish()
    }
}

/// The size of HAProxy's buffers: a system call is a small part of the cost of moving so
/// many bytes, and 10,000 connections take 160 MB.
const BUFFER_BYTES: usize = 16 * 1024;
