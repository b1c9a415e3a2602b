//! Files through links: what client and server do alike once they agree.

use std::io::{self, Read, Write};

use super::link::Link;
use crate::error::{Error, Result};
use crate::proto::tftp::{Decoder, End, Mode, Received, Receiver, Sender, encode};
use crate::runtime::deadline::Deadline;

/// Why a transfer did not come to its own end.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file could not be read or written.
    File(io::Error),
    /// Killed, timed out, or the socket failed.
    Stopped(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

/// Tells a fault of the file from a kill during its reading or writing.
pub(super) fn file_fault(error: io::Error) -> Fault {
    let error = Error::from(error);
    if error.is_cancelled() || error.timeout_id().is_some() {
        return Fault::Stopped(error);
    }
    Fault::File(error.into())
}

/// Sends what `file` holds, to its end or to `size` bytes, and shows `seen` how far it is.
///
/// # Errors
/// A file that ends before `size` is one: its peer must not take it for whole.
#[track_caller]
pub(super) fn send(
    link: &mut Link,
    sender: &mut Sender,
    file: &mut dyn Read,
    (mode, size): (Mode, Option<u64>),
    seen: &mut dyn FnMut(&Sender),
) -> Result<End, Fault> {
    let mut source = Source {
        file,
        mode,
        size,
        taken: 0,
        buffer: Vec::new(),
        encoded: Vec::new(),
    };
    let mut packet = Vec::new();
    let mut limit = Deadline::after(sender.wait());
    loop {
        while sender.room() > 0 {
            source.feed(sender)?;
        }
        while sender.next_packet(&mut packet) {
            link.send(&packet)?;
        }
        if let Some(end) = sender.end() {
            return Ok(end.clone());
        }
        seen(sender);
        match link.receive(limit)? {
            Some(packet) if sender.receive(&packet) => limit = Deadline::after(sender.wait()),
            Some(_) => {}
            None => {
                sender.time_out();
                limit = Deadline::after(sender.wait());
            }
        }
    }
}

/// A file that is read in large pieces.
struct Source<'a> {
    file: &'a mut dyn Read,
    mode: Mode,
    size: Option<u64>,
    taken: u64,
    buffer: Vec<u8>,
    encoded: Vec<u8>,
}

impl Source<'_> {
    #[track_caller]
    fn feed(&mut self, sender: &mut Sender) -> Result<(), Fault> {
        let left = self.size.map_or(u64::MAX, |size| size - self.taken);
        let room = sender
            .room()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.buffer.resize(room, 0);
        let count = match room {
            0 => 0,
            _ => self.file.read(&mut self.buffer).map_err(file_fault)?,
        };
        if count == 0 {
            if left > 0 && self.size.is_some() {
                let text = "the file became shorter while it was sent";
                return Err(Fault::File(io::Error::other(text)));
            }
            sender.finish();
            return Ok(());
        }
        self.taken += count as u64;
        match self.mode {
            Mode::Octet => sender.feed(&self.buffer[..count]),
            Mode::Netascii => {
                self.encoded.clear();
                encode(&self.buffer[..count], &mut self.encoded);
                sender.feed(&self.encoded);
            }
        }
        Ok(())
    }
}

/// Gets a file up to its last byte, which is not confirmed yet: `None`. Otherwise how it
/// ended. No more than `most` bytes are taken.
#[track_caller]
pub(super) fn receive(
    link: &mut Link,
    receiver: &mut Receiver,
    file: &mut dyn Write,
    (mode, most): (Mode, u64),
    seen: &mut dyn FnMut(u64),
) -> Result<Option<End>, Fault> {
    let mut sink = Sink {
        file,
        decoder: (mode == Mode::Netascii).then(Decoder::new),
        buffer: Vec::new(),
    };
    let mut packet = Vec::new();
    let mut limit = Deadline::after(receiver.wait());
    loop {
        while receiver.next_packet(&mut packet) {
            link.send(&packet)?;
        }
        if let Some(end) = receiver.end() {
            return Ok(Some(end.clone()));
        }
        let Some(packet) = link.receive(limit)? else {
            receiver.time_out();
            limit = Deadline::after(receiver.wait());
            continue;
        };
        let received = receiver.receive(&packet);
        if receiver.bytes() > most {
            return Err(Fault::File(io::ErrorKind::FileTooLarge.into()));
        }
        match received {
            Received::Nothing => {}
            Received::Bytes(bytes) => {
                sink.take(bytes).map_err(file_fault)?;
                limit = Deadline::after(receiver.wait());
                seen(receiver.bytes());
            }
            Received::Last(bytes) => {
                sink.take(bytes).map_err(file_fault)?;
                sink.finish().map_err(file_fault)?;
                seen(receiver.bytes());
                return Ok(None);
            }
        }
    }
}

/// A file that is written in large pieces.
struct Sink<'a> {
    file: &'a mut dyn Write,
    decoder: Option<Decoder>,
    buffer: Vec<u8>,
}

/// A write costs a hand-over to another thread.
const WRITE_BYTES: usize = 64 * 1024;

impl Sink<'_> {
    #[track_caller]
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.decoder {
            Some(decoder) => decoder.decode(bytes, &mut self.buffer),
            None => self.buffer.extend_from_slice(bytes),
        }
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    #[track_caller]
    fn finish(&mut self) -> io::Result<()> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(&mut self.buffer);
        }
        self.write_out()?;
        self.file.flush()
    }

    #[track_caller]
    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Confirms the last block, and stays for as long as `limit` allows: who asks again has not
/// seen that.
#[track_caller]
pub(super) fn dally(link: &mut Link, receiver: &mut Receiver, limit: Deadline) -> Result<()> {
    receiver.confirm();
    let mut packet = Vec::new();
    loop {
        while receiver.next_packet(&mut packet) {
            link.send(&packet)?;
        }
        match link.receive(limit)? {
            Some(packet) => {
                receiver.receive(&packet);
            }
            None => return Ok(()),
        }
    }
}
