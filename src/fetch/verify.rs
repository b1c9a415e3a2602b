//! A file held against its checksums: while it is written, or as it is on disk.
//!
//! The state of a hash is not kept between runs: what an earlier run has left is read back
//! once, which costs less than a second per gigabyte.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::checksum::{Algorithm, Checksum};
use super::failure::{Failure, FailureKind};
use super::hasher::Hasher;
use crate::error::Error;
use crate::runtime::blocking::files;
use crate::runtime::deadline::Deadline;
use crate::runtime::reason::Wait;

/// Bytes of a file that one call on the lane hashes, so that a kill is seen and the others
/// have their turn.
const PIECE_BYTES: u64 = 8 << 20;
/// Bytes read at once: they stay in the cache of a core until they are hashed.
const BUFFER_BYTES: usize = 128 << 10;

/// Holds one file against its checksums while it is written.
///
/// Bytes are hashed as they come, as long as they come in order. What did not (segments,
/// the front of a resumed file) is read back from the file.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    /// What the user or the list says. All hold.
    given: Vec<Checksum>,
    /// What the server says; looked at only where nothing is given.
    served: Option<Checksum>,
    /// Hashes that are computed for their own sake.
    told: Vec<Algorithm>,
    hasher: Hasher,
}

/// What is known about a whole file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified {
    /// Its hashes.
    pub(crate) checksums: Vec<Checksum>,
    /// Those that it was held against.
    pub(crate) verified: Vec<Algorithm>,
}

impl Verification {
    pub(crate) fn new(given: Vec<Checksum>, told: &[Algorithm]) -> Self {
        let mut new = Self {
            given,
            told: told.to_vec(),
            ..Self::default()
        };
        new.reset();
        new
    }

    /// Begins anew, for a body from its first byte and what its answer says of it.
    pub(crate) fn restart(&mut self, served: Option<Checksum>) {
        self.served = served;
        self.reset();
    }

    /// Takes what the answer with the rest of the file says of the whole.
    pub(crate) fn go_on(&mut self, served: Option<Checksum>) {
        if served.is_none() || served == self.served {
            return;
        }
        self.served = served;
        // An algorithm that has not seen the front has to see it all.
        if self.wanted() != self.hasher.algorithms().collect::<Vec<_>>() {
            self.reset();
        }
    }

    /// Takes bytes of the file from `offset` on; those that are out of order are left to
    /// [`Verification::catch_up`].
    pub(crate) fn take(&mut self, offset: u64, bytes: &[u8]) {
        let position = self.hasher.bytes();
        if offset == position && !self.is_idle() {
            self.hasher.update(bytes);
        }
    }

    /// Tells whether there is nothing to compute.
    pub(crate) fn is_idle(&self) -> bool {
        self.hasher.is_idle()
    }

    /// Hashes what is in the file before `end` and has not come by. If more has come by,
    /// because a tail was cut off, the file is read from its start.
    ///
    /// # Switching
    /// May switch: the file is read on a lane.
    pub(crate) fn catch_up(&mut self, file: &File, end: u64) -> Result<(), Failure> {
        if self.is_idle() {
            return Ok(());
        }
        if self.hasher.bytes() > end {
            self.reset();
        }
        let hasher = std::mem::take(&mut self.hasher);
        match read_on(hasher, file, end) {
            Ok(hasher) => self.hasher = hasher,
            Err(failure) => {
                self.reset();
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Takes the front of the file, as it is in memory, where it has not come by like this.
    pub(crate) fn catch_up_with(&mut self, front: &[u8]) {
        let end = front.len() as u64;
        if self.hasher.bytes() > end {
            self.reset();
        }
        let position = self.hasher.bytes();
        // Both are below the length of a slice.
        self.take(position, &front[position as usize..]);
    }

    /// Tells whether all the `length` bytes of the file have come by, so that
    /// [`Verification::finish`] may be called.
    pub(crate) fn has_all(&self, length: u64) -> bool {
        self.is_idle() || self.hasher.bytes() == length
    }

    /// Compares; to be called when every byte has come by or was caught up with.
    pub(crate) fn finish(&mut self) -> Result<Verified, Failure> {
        let checksums = std::mem::take(&mut self.hasher).finish();
        self.reset();
        let (expected, source) = match &self.served {
            Some(served) if self.given.is_empty() => (std::slice::from_ref(served), "the server"),
            _ => (self.given.as_slice(), ""),
        };
        let verified = compare(&checksums, expected, source)?;
        Ok(Verified {
            checksums,
            verified,
        })
    }

    fn wanted(&self) -> Vec<Algorithm> {
        let served = self.served.iter().filter(|_| self.given.is_empty());
        let mut wanted: Vec<_> = self
            .given
            .iter()
            .chain(served)
            .map(Checksum::algorithm)
            .collect();
        wanted.extend_from_slice(&self.told);
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    fn reset(&mut self) {
        self.hasher = Hasher::new(self.wanted());
    }
}

/// Holds a whole file against checksums; all of them must hold.
///
/// # Switching
/// May switch: the file is read on a lane.
pub(crate) fn verify_file(file: &File, checksums: &[Checksum]) -> Result<Verified, Failure> {
    let length = file
        .metadata()
        .map_err(|e| Failure::file(&e, "its size"))?
        .len();
    let mut verification = Verification::new(checksums.to_vec(), &[]);
    verification.catch_up(file, length)?;
    verification.finish()
}

/// The algorithms that were compared, or what differs.
fn compare(
    computed: &[Checksum],
    expected: &[Checksum],
    source: &str,
) -> Result<Vec<Algorithm>, Failure> {
    let mut verified = Vec::new();
    for expected in expected {
        let algorithm = expected.algorithm();
        let actual = computed
            .iter()
            .find(|computed| computed.algorithm() == algorithm)
            .ok_or_else(|| Failure::new(FailureKind::Internal, "a hash was not computed"))?;
        if actual != expected {
            let of = if source.is_empty() { "" } else { " of " };
            let text = format!(
                "the {algorithm}{of}{source} is {}, what came has {}",
                expected.to_hex(),
                actual.to_hex()
            );
            return Err(Failure::new(FailureKind::Checksum, text));
        }
        if !verified.contains(&algorithm) {
            verified.push(algorithm);
        }
    }
    Ok(verified)
}

/// Hashes the bytes of `file` up to `end`, on a lane, a piece at a time.
fn read_on(mut hasher: Hasher, file: &File, end: u64) -> Result<Hasher, Failure> {
    let lost = |error: Error| Failure::new(FailureKind::Stopped, error.to_string());
    while hasher.bytes() < end {
        let file = file.try_clone().map_err(|e| reading(&e))?;
        let piece_end = end.min(hasher.bytes() + PIECE_BYTES);
        let read = move || read_piece(hasher, &file, piece_end);
        hasher = files()
            .run_for(Wait::Lane, Deadline::NEVER, read)
            .map_err(lost)??;
    }
    Ok(hasher)
}

/// Blocks its thread.
pub(crate) fn read_piece(mut hasher: Hasher, file: &File, end: u64) -> Result<Hasher, Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while hasher.bytes() < end {
        let want =
            usize::try_from(end - hasher.bytes()).map_or(BUFFER_BYTES, |n| n.min(BUFFER_BYTES));
        match file.read_at(&mut buffer[..want], hasher.bytes()) {
            Ok(0) => {
                let text = format!("reading it back: it ends after {} bytes", hasher.bytes());
                return Err(Failure::new(FailureKind::Io, text));
            }
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(reading(&error)),
        }
    }
    Ok(hasher)
}

fn reading(error: &std::io::Error) -> Failure {
    Failure::file(error, "reading it back")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn sum(algorithm: Algorithm, body: &[u8]) -> Checksum {
        let mut hasher = Hasher::new([algorithm]);
        hasher.update(body);
        hasher.finish().remove(0)
    }

    /// An unnamed file with this content.
    fn file(body: &[u8]) -> File {
        let fd = rustix::fs::memfd_create("verify", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(fd);
        file.write_all(body).unwrap();
        file
    }

    fn body() -> Vec<u8> {
        (0..300_000u32).map(|n| (n ^ (n >> 8)) as u8).collect()
    }

    #[test]
    fn what_comes_in_order_is_not_read_back() {
        let body = body();
        let given = vec![sum(Algorithm::Sha256, &body), sum(Algorithm::Md5, &body)];
        let mut verification = Verification::new(given, &[Algorithm::Blake3]);
        for (n, chunk) in body.chunks(70_000).enumerate() {
            verification.take(n as u64 * 70_000, chunk);
        }
        assert!(verification.has_all(body.len() as u64));
        let verified = verification.finish().unwrap();
        assert_eq!(verified.verified, [Algorithm::Sha256, Algorithm::Md5]);
        let told: Vec<_> = verified.checksums.iter().map(Checksum::algorithm).collect();
        assert_eq!(told, [Algorithm::Md5, Algorithm::Sha256, Algorithm::Blake3]);
        assert_eq!(verified.checksums[2], sum(Algorithm::Blake3, &body));
    }

    #[test]
    fn what_was_there_or_came_out_of_order_is_read_back() {
        let body = body();
        let length = body.len() as u64;
        let file = file(&body);
        let given = vec![sum(Algorithm::Sha1, &body)];

        // A front of an earlier run.
        let mut resumed = Verification::new(given.clone(), &[]);
        resumed.catch_up(&file, 1000).unwrap();
        resumed.take(1000, &body[1000..]);
        assert!(resumed.has_all(length));
        resumed.finish().unwrap();

        // Segments: the first grows in order, the others do not.
        let mut segments = Verification::new(given.clone(), &[]);
        segments.take(0, &body[..1000]);
        segments.take(200_000, &body[200_000..]);
        segments.take(1000, &body[1000..2000]);
        assert!(!segments.has_all(length));
        segments.catch_up(&file, length).unwrap();
        segments.finish().unwrap();

        // More was hashed than was kept.
        let mut cut = Verification::new(given, &[]);
        cut.take(0, b"other bytes that are not on the disk");
        cut.catch_up(&file, 10).unwrap();
        cut.take(10, &body[10..]);
        cut.finish().unwrap();
        let mut in_memory = Verification::new(vec![sum(Algorithm::Sha1, &body)], &[]);
        in_memory.take(0, &body[..20]);
        in_memory.catch_up_with(&body[..10]);
        in_memory.take(10, &body[10..500]);
        in_memory.catch_up_with(&body);
        in_memory.finish().unwrap();

        let failure = Verification::new(vec![sum(Algorithm::Md5, b"")], &[])
            .catch_up(&file, length + 1)
            .unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Io);
    }

    #[test]
    fn a_mismatch_is_told_with_both_hashes() {
        let good = sum(Algorithm::Md5, b"good");
        let mut verification = Verification::new(vec![good.clone()], &[]);
        verification.take(0, b"evil");
        let failure = verification.finish().unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Checksum);
        let text = failure.to_string();
        let both = [good.to_hex(), sum(Algorithm::Md5, b"evil").to_hex()];
        assert!(both.iter().all(|hex| text.contains(hex)), "{text}");
        // It can be used again, from zero.
        verification.restart(None);
        verification.take(0, b"good");
        assert_eq!(verification.finish().unwrap().verified, [Algorithm::Md5]);
    }

    #[test]
    fn the_server_s_word_counts_where_there_is_no_other() {
        let mut verification = Verification::new(Vec::new(), &[]);
        assert!(verification.is_idle() && verification.has_all(7));
        verification.restart(Some(sum(Algorithm::Sha256, b"abc")));
        verification.take(0, b"abd");
        let text = verification.finish().unwrap_err().to_string();
        assert!(text.contains("of the server"), "{text}");

        // The rest comes with another word than the front did.
        verification.restart(Some(sum(Algorithm::Md5, b"abc")));
        verification.take(0, b"ab");
        verification.go_on(None);
        verification.go_on(Some(sum(Algorithm::Sha256, b"abc")));
        verification.catch_up(&file(b"abc"), 2).unwrap();
        verification.take(2, b"c");
        assert_eq!(verification.finish().unwrap().verified, [Algorithm::Sha256]);

        let given = sum(Algorithm::Md5, b"abd");
        let mut verification = Verification::new(vec![given], &[]);
        verification.restart(Some(sum(Algorithm::Sha256, b"abc")));
        verification.take(0, b"abd");
        assert_eq!(verification.finish().unwrap().verified, [Algorithm::Md5]);
    }

    #[test]
    fn a_file_on_disk_is_held_against_all_its_checksums() {
        let body = body();
        let file = file(&body);
        let both = [sum(Algorithm::Sha512, &body), sum(Algorithm::Md5, &body)];
        assert_eq!(verify_file(&file, &both).unwrap().verified.len(), 2);
        let one = [both[0].clone(), sum(Algorithm::Md5, b"other")];
        let failure = verify_file(&file, &one).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Checksum);
        assert!(verify_file(&file, &[]).unwrap().verified.is_empty());
    }
}
