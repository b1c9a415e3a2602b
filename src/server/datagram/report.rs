//! What a server of datagrams has done.

use crate::server::datagram::filter::DropReason;
use crate::server::observe::{Outcome, counters};

/// What a server of datagrams has done.
///
/// # Examples
///
/// ```
/// use greenloop::server::{Datagram, DatagramServer};
///
/// let server = DatagramServer::bind("127.0.0.1:0")?.start(|_: &mut Datagram| Ok(()))?;
/// let report = server.stop_now()?;
/// assert!(report.is_clean());
/// assert_eq!((report.received, report.dropped()), (0, 0));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramReport {
    /// Datagrams received, also those that were dropped.
    pub received: u64,
    /// Bytes in them, as they were sent.
    pub bytes_received: u64,
    /// Datagrams sent by handlers.
    pub sent: u64,
    /// Bytes in them.
    pub bytes_sent: u64,
    /// Those received of which a part was lost.
    pub truncated: u64,
    /// Dropped: their source was the server itself.
    pub dropped_own_address: u64,
    /// Dropped: their source had port 0.
    pub dropped_port_zero: u64,
    /// Dropped: their source was broadcast, multicast or unspecified.
    pub dropped_group_source: u64,
    /// Dropped: no greenlet could be started.
    pub dropped_no_greenlet: u64,
    /// Handlers that returned.
    pub finished: u64,
    /// Handlers that failed.
    pub failed: u64,
    /// Handlers that failed with a timeout.
    pub timed_out: u64,
    /// Handlers that panicked.
    pub panicked: u64,
    /// Handlers killed at the end.
    pub killed: u64,
    /// Handlers that run now.
    pub running: u64,
    /// Handlers that ran when the server stopped.
    pub told: u64,
    /// Handlers that did not end when they were killed.
    pub stuck: u64,
    /// Errors of receiving.
    pub receive_errors: u64,
    /// The error that stopped the server, if nobody did.
    pub fatal: Option<String>,
}

impl DatagramReport {
    /// Tells whether nobody was cut off and nothing but a request stopped the server.
    pub fn is_clean(&self) -> bool {
        self.killed == 0 && self.stuck == 0 && self.fatal.is_none()
    }

    /// How many datagrams were dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_own_address
            + self.dropped_port_zero
            + self.dropped_group_source
            + self.dropped_no_greenlet
    }
}

counters!(
    DatagramCounters, DatagramReport:
    received,
    bytes_received,
    sent,
    bytes_sent,
    truncated,
    dropped_own_address,
    dropped_port_zero,
    dropped_group_source,
    dropped_no_greenlet,
    finished,
    failed,
    timed_out,
    panicked,
    killed,
    told,
    receive_errors,
);

impl DatagramCounters {
    pub(super) fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Finished => &self.finished,
            Outcome::TimedOut(_) => &self.timed_out,
            Outcome::Failed(_) => &self.failed,
            Outcome::Panicked(_) => &self.panicked,
            Outcome::Killed => &self.killed,
        };
        counter.add(1);
    }

    pub(super) fn count_drop(&self, reason: DropReason) {
        let counter = match reason {
            DropReason::OwnAddress => &self.dropped_own_address,
            DropReason::PortZero => &self.dropped_port_zero,
            DropReason::GroupSource => &self.dropped_group_source,
            DropReason::NoGreenlet => &self.dropped_no_greenlet,
        };
        counter.add(1);
    }
}
