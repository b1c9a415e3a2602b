//! The greenlets that fetch one file together, each a segment at a time.
//!
//! ```text
//!   claim ──► request for its range ──► answer judged ──► bytes written where they belong
//!     ▲                                    │    │                    │
//!     │ the next one, or half of another's │    │ another version    │ broke off: what came
//!     └────────────────────────────────────┘    ▼ ends all           ▼ is kept, the rest
//!                                                                      given back
//! ```
//!
//! Who is hired, and what becomes of the file, is decided by the download's own greenlet:
//! see [`segments`](super::segments).

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::claims::{Claim, Claims};
use super::client::{Answer, Rest};
use super::failure::{Failure, FailureKind};
use super::heard::Heard;
use super::part_file::{PartFile, Writer};
use super::report::Event;
use super::resume::{Pin, Segment};
use super::segments::Job;
use super::slot::Slot;
use crate::sync::Event as Signal;
use crate::util::lock;

/// What the greenlets of one file share.
pub(crate) struct Crew<'a> {
    pub(crate) job: Job<'a>,
    pub(crate) pin: Pin,
    pub(crate) claims: Arc<Claims>,
    /// `None`: nothing is saved.
    pub(crate) file: Option<Arc<PartFile>>,
    /// Somebody has come, gone or had an answer.
    pub(crate) news: Signal,
    helpers: AtomicUsize,
    received: AtomicU64,
    requests: AtomicU32,
    state: Mutex<State>,
}

/// What is known by now.
#[derive(Debug, Default)]
struct State {
    /// A range came as it was asked for.
    proven: bool,
    /// The server does not keep to ranges, not always at least.
    unusable: bool,
    /// What ends all of it.
    end: Option<End>,
    /// Segments that failed since one went well.
    failed: u32,
    last: Option<Failure>,
    /// Of the last answer.
    heard: Option<Heard>,
}

/// Why the crew cannot go on.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The file is another one by now.
    Changed(&'static str),
    /// Nobody can do anything about it.
    Failed(Failure),
}

impl<'a> Crew<'a> {
    pub(crate) fn new(
        job: Job<'a>,
        pin: Pin,
        claims: Arc<Claims>,
        file: Option<Arc<PartFile>>,
    ) -> Self {
        Self {
            job,
            pin,
            claims,
            file,
            news: Signal::new(),
            helpers: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            state: Mutex::default(),
        }
    }

    /// Fetches `claim`, and then whatever else is to be had.
    ///
    /// Whatever fails, the bytes that came are in the file and the others given back.
    pub(crate) fn help(&self, mut claim: Claim, mut slot: Slot) {
        loop {
            while claim.left() > 0 && !self.is_over() {
                match self.fetch(&mut claim, &mut slot) {
                    Ok(()) => {}
                    Err(Gone::Failed(failure)) => return self.failed(slot.failed(failure)),
                    Err(Gone::Changed(why)) => return self.end(End::Changed(why)),
                    Err(Gone::Unusable(why)) => return self.unusable(why),
                }
            }
            drop(claim);
            match self.claims.next(self.job.piece_min(), 1) {
                Some(next) if !self.is_over() => claim = next,
                _ => break,
            }
        }
        slot.succeeded();
    }

    /// One request for what is left of `claim`; the answer may bring less.
    fn fetch(&self, claim: &mut Claim, slot: &mut Slot) -> Result<(), Gone> {
        let (first, end) = (claim.at(), claim.end());
        self.requests.fetch_add(1, Ordering::Relaxed);
        let rest = Rest {
            validator: self.pin.validator(),
            first,
            last: Some(end - 1),
        };
        let answer = self.job.get(rest).map_err(Gone::Failed)?;
        let status = answer.status();
        lock(&self.state).heard = Some(answer.heard());
        match self.pin.judge_segment(status, first, &answer.fields()) {
            Segment::Part { bytes } => {
                lock(&self.state).proven = true;
                self.news.set();
                let bytes = bytes.min(end - first);
                self.pour(answer, claim, bytes, slot, |_| Ok(()))
                    .map_err(Gone::Failed)?;
                lock(&self.state).failed = 0;
                Ok(())
            }
            Segment::Whole => Err(Gone::Unusable("the range was ignored")),
            Segment::Changed(why) => Err(Gone::Changed(why)),
            Segment::Unusable(why) => Err(Gone::Unusable(why)),
            Segment::NoFile => Err(Gone::Failed(self.job.refusal(&answer))),
        }
    }

    /// Takes up to `left` bytes of a body for `claim`, and for what follows it as long as
    /// nobody else fetches that.
    ///
    /// `before` is called before each chunk is waited for, and at the end of the claim
    /// before it is looked what follows.
    pub(crate) fn pour(
        &self,
        answer: Answer,
        claim: &mut Claim,
        left: u64,
        slot: &mut Slot,
        before: impl FnMut(&Claim) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        slot.answered();
        let file = self.file.as_ref();
        let mut writer = file.map(|file| self.job.writer(file, claim.at()));
        let poured = self.pour_into(answer, claim, left, writer.as_mut(), slot, before);
        // What came before a failure counts, too, as far as the file has it.
        let flushed = writer.as_mut().map_or(Ok(()), Writer::flush);
        claim.settle_to(writer.map_or(u64::MAX, |writer| writer.written()));
        poured.and(flushed)
    }

    fn pour_into(
        &self,
        mut answer: Answer,
        claim: &mut Claim,
        mut left: u64,
        mut writer: Option<&mut Writer>,
        slot: &mut Slot,
        mut before: impl FnMut(&Claim) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut intake = self.job.intake();
        while left > 0 && !self.is_over() {
            before(claim)?;
            if claim.left() == 0 && !claim.extend() {
                break;
            }
            let Some(chunk) = intake.chunk(&mut answer)? else {
                let text = format!("the answer ended {left} bytes early");
                return Err(Failure::new(FailureKind::BadResponse, text).transient());
            };
            let came = chunk.len() as u64;
            self.received.fetch_add(came, Ordering::Relaxed);
            // More than was announced is not ours to write.
            let ours = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
            left -= ours as u64;
            let goes_on = write(&chunk[..ours], claim, writer.as_deref_mut(), &mut before)?;
            self.job.tell(&Event::Progress {
                bytes: self.claims.there(),
            });
            intake.came(came, Some(&mut *slot))?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Counts one more helper, until the place is dropped.
    pub(crate) fn place(&self) -> Place<'_, 'a> {
        self.helpers.fetch_add(1, Ordering::SeqCst);
        Place(self)
    }

    pub(crate) fn helpers(&self) -> usize {
        self.helpers.load(Ordering::SeqCst)
    }

    /// A segment has failed; the others go on.
    pub(crate) fn failed(&self, failure: Failure) {
        if matches!(
            failure.kind(),
            FailureKind::DiskFull | FailureKind::CannotCreate | FailureKind::Io
        ) {
            return self.end(End::Failed(failure));
        }
        let mut state = lock(&self.state);
        state.failed += 1;
        state.last = Some(failure);
    }

    /// The server does not keep to ranges: no more is made of them.
    pub(crate) fn unusable(&self, why: &str) {
        log::debug!("{}: no more segments: {why}", self.job.name());
        lock(&self.state).unusable = true;
    }

    /// Ends all of it.
    pub(crate) fn end(&self, end: End) {
        lock(&self.state).end.get_or_insert(end);
        self.news.set();
    }

    pub(crate) fn ended(&self) -> Option<End> {
        lock(&self.state).end.clone()
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.state).end.is_some()
    }

    pub(crate) fn is_proven(&self) -> bool {
        lock(&self.state).proven
    }

    pub(crate) fn is_unusable(&self) -> bool {
        lock(&self.state).unusable
    }

    /// How many segments failed since one went well.
    pub(crate) fn failures(&self) -> u32 {
        lock(&self.state).failed
    }

    /// The last failure of a segment.
    pub(crate) fn last_failure(&self) -> Option<Failure> {
        lock(&self.state).last.clone()
    }

    /// The head of the last answer to a segment's request.
    pub(crate) fn heard(&self) -> Option<Heard> {
        lock(&self.state).heard
    }

    /// Bytes that came, and requests made.
    pub(crate) fn counts(&self) -> (u64, u32) {
        (
            self.received.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
        )
    }
}

/// Writes what of a chunk belongs to `claim`, or to what it can be extended by. False if
/// the end was not ours: the answer has passed by what comes next, and is of no more use.
fn write(
    mut bytes: &[u8],
    claim: &mut Claim,
    mut writer: Option<&mut Writer>,
    before: &mut impl FnMut(&Claim) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    while !bytes.is_empty() {
        if claim.left() == 0 {
            before(claim)?;
            if !claim.extend() {
                return Ok(false);
            }
        }
        // At most as long as the chunk.
        let taken = claim.take(bytes.len() as u64) as usize;
        if let Some(writer) = &mut writer {
            writer.write(&bytes[..taken])?;
        }
        bytes = &bytes[taken..];
    }
    Ok(true)
}

/// Why a segment was not fetched to its end.
enum Gone {
    Failed(Failure),
    Changed(&'static str),
    Unusable(&'static str),
}

/// A helper's place in its crew.
pub(crate) struct Place<'c, 'a>(&'c Crew<'a>);

impl Drop for Place<'_, '_> {
    fn drop(&mut self) {
        self.0.helpers.fetch_sub(1, Ordering::SeqCst);
        self.0.news.set();
    }
}
