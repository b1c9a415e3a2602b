//! What a member has still to be sent: bounded in lines and in bytes, and written by a
//! greenlet of its own.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::apps::chat::room;
use crate::error::Result;
use crate::server::ConnWriter;
use crate::sync::Queue;

/// See the module. The room and the member's two greenlets share it.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Inner>);

struct Inner {
    lines: Queue<Arc<str>>,
    /// Of the lines in the queue.
    bytes: AtomicUsize,
    is_given_up: AtomicBool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            lines: Queue::bounded(LINES_MAX),
            bytes: AtomicUsize::new(0),
            is_given_up: AtomicBool::new(false),
        }))
    }

    /// Takes no more lines; those that are in it are still written.
    pub(super) fn close(&self) {
        self.0.lines.close();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.0.is_given_up.load(Ordering::SeqCst)
    }

    /// Writes what comes in until it is closed; the second greenlet of a member.
    ///
    /// If it is not the reader that ends the connection, the reader is told by the end of
    /// its stream.
    pub(super) fn write_to(&self, mut writer: ConnWriter) -> Result<()> {
        let mut written = self.write_lines(&mut writer);
        if self.is_given_up() {
            // What was being written is written, so this begins a line.
            written = written.and_then(|()| Ok(writer.write_all(TOO_SLOW.as_bytes())?));
        }
        if written.is_err() || self.is_given_up() {
            self.0.lines.close_now();
            // It fails if the peer has reset the connection: then the reader knows.
            let _ = writer.shutdown(Shutdown::Read);
        }
        written
    }

    fn write_lines(&self, writer: &mut ConnWriter) -> Result<()> {
        let mut batch = Vec::new();
        while let Some(first) = self.next()? {
            batch.clear();
            batch.extend_from_slice(first.as_bytes());
            while batch.len() < BATCH_BYTES
                && let Ok(Some(line)) = self.0.lines.try_get()
            {
                self.count_out(&line);
                batch.extend_from_slice(line.as_bytes());
            }
            writer.write_all(&batch)?;
        }
        Ok(())
    }

    /// Waits for a line; none when it is closed and empty.
    fn next(&self) -> Result<Option<Arc<str>>> {
        match self.0.lines.get() {
            Ok(line) => {
                self.count_out(&line);
                Ok(Some(line))
            }
            Err(error) if error.is_closed() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn count_out(&self, line: &str) {
        self.0.bytes.fetch_sub(line.len(), Ordering::Relaxed);
    }
}

impl room::Outbox for Outbox {
    fn offer(&self, line: &Arc<str>) -> bool {
        // Counted in before it can be counted out.
        let before = self.0.bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = before + line.len() <= BYTES_MAX && self.0.lines.try_put(line.clone()).is_ok();
        if !fits {
            self.count_out(line);
        }
        fits
    }

    fn give_up(&self) {
        self.0.is_given_up.store(true, Ordering::SeqCst);
        self.0.lines.close_now();
    }
}

/// What is told to who did not read.
const TOO_SLOW: &str = "* you were too slow to read, and are out\n";

/// A busy room's minute.
const LINES_MAX: usize = 1024;
/// Beside what the kernel holds for a connection, which is more. Lines are shared, so a
/// room's memory is not this for each member, but for each that said something.
const BYTES_MAX: usize = 1024 * 1024;
/// What is written at once: few calls when much is to be written, nothing held back when not.
const BATCH_BYTES: usize = 16 * 1024;
