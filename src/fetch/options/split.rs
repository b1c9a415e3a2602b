//! Large files in segments.

use crate::fetch::Downloader;

/// How many connections a large file gets.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// Segments of a file at once; 1 does not split.
    pub(crate) segments: usize,
    /// The least a segment is made for.
    pub(crate) piece_min: u64,
}

/// A connection costs a few round trips and starts slowly; below this it does not pay.
const PIECE_MIN: u64 = 1024 * 1024;

impl Default for Split {
    fn default() -> Self {
        Self {
            segments: 1,
            piece_min: PIECE_MIN,
        }
    }
}

impl Downloader {
    /// Fetches a large file in up to so many segments at once, each by a request of its own.
    /// Default: 1, no segments; at least 1.
    ///
    /// Nothing is asked beforehand: the first answer is a whole one, and if it says that
    /// its server has ranges and which version of the file this is, others ask for parts
    /// from the middle on. Whoever is done takes half of what the slowest still has to
    /// fetch. A server that does not keep to a range loses the segments, never the file;
    /// a file that changes meanwhile starts over.
    ///
    /// Where the file is hashed, what came out of order is read back when all is there: the
    /// hash costs one more read of the file, mostly from memory.
    ///
    /// All segments of a file count as one for [`jobs`](Self::jobs). For
    /// [`per_host`](Self::per_host) each counts as the request that it is, and only takes
    /// what is free: it waits for no slot.
    pub fn split(mut self, segments: usize) -> Self {
        self.settings.split.segments = segments.max(1);
        self
    }

    /// The least bytes that a segment is made for. Default: 1 MiB; at least 1. A file of
    /// less than twice as many is not split.
    pub fn split_min(mut self, bytes: u64) -> Self {
        self.settings.split.piece_min = bytes.max(1);
        self
    }
}
