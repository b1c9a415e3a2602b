//! A question to everybody, and their answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::{UdpOptions, UdpSocket};
use crate::runtime::deadline::Deadline;

/// Sends a message to broadcast addresses, and hears who answers.
///
/// # Examples
///
/// ```
/// use greenloop::apps::broadcast::Broadcast;
/// use greenloop::server::{Datagram, DatagramServer};
/// use std::time::Duration;
///
/// let server = DatagramServer::bind("0.0.0.0:0")?
///     .start(|datagram: &mut Datagram| datagram.reply(b"Hello"))?;
/// let port = server.addr().ip().unwrap().port();
/// let mut answers = Vec::new();
/// let heard = Broadcast::new(port, "Hi")
///     .to([127, 255, 255, 255])
///     .wait(Some(Duration::from_millis(100)))
///     .run(|peer, answer| answers.push((peer.port(), answer.to_vec())))?;
/// assert_eq!((heard, answers), (1, vec![(port, b"Hello".to_vec())]));
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Broadcast {
    message: Vec<u8>,
    port: u16,
    addresses: Vec<Ipv4Addr>,
    wait: Option<Duration>,
}

impl Broadcast {
    /// Asks everybody on the local network (`255.255.255.255`) at this port, and listens
    /// until it is ended.
    pub fn new(port: u16, message: impl Into<Vec<u8>>) -> Self {
        Self {
            message: message.into(),
            port,
            addresses: Vec::new(),
            wait: None,
        }
    }

    /// Asks at this address, and no more at `255.255.255.255`; may be called again.
    pub fn to(mut self, address: impl Into<Ipv4Addr>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Listens so long; `None`, the default, is until it is ended.
    pub fn wait(mut self, limit: Option<Duration>) -> Self {
        self.wait = limit;
        self
    }

    /// Asks, and shows each answer to `hear` with its sender; says how many there were.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// No address can be reached; cancelled, when the greenlet was killed.
    pub fn run(&self, mut hear: impl FnMut(SocketAddr, &[u8])) -> Result<u64> {
        let mut socket = UdpOptions::new().broadcast(true).bind("0.0.0.0:0")?;
        self.ask(&mut socket)?;
        let limit = Deadline::from(self.wait);
        let mut buf = vec![0; 65_536];
        let mut heard = 0;
        loop {
            match socket.recv_from_deadline(&mut buf, limit) {
                Ok((len, peer)) => {
                    heard += 1;
                    hear(peer, &buf[..len]);
                }
                Err(error) => match Error::from(error) {
                    error if error.is_own_limit() => return Ok(heard),
                    error => return Err(error),
                },
            }
            // However many answer, the time ends.
            if limit.is_passed() {
                return Ok(heard);
            }
        }
    }

    /// Fails only if nobody can be asked.
    fn ask(&self, socket: &mut UdpSocket) -> Result<()> {
        let everybody = [Ipv4Addr::BROADCAST];
        let addresses = match &self.addresses[..] {
            [] => &everybody,
            some => some,
        };
        let (mut asked, mut failed) = (false, None);
        for address in addresses {
            let to = (*address, self.port);
            match socket.send_to(&self.message, to) {
                Ok(_) => asked = true,
                Err(error) => {
                    let to = SocketAddr::from(to);
                    failed = Some(Error::from(error).context(format!("sending to {to}")));
                }
            }
        }
        match failed {
            Some(error) if !asked || error.is_cancelled() => Err(error),
            _ => Ok(()),
        }
    }
}
