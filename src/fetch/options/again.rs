//! What becomes of files that an earlier run has brought.

use crate::fetch::Downloader;

impl Downloader {
    /// Whether a file that is there counts as done if it is proven to be the one asked for.
    /// Default: no.
    ///
    /// The proof is one of these:
    /// - the entry has checksums, and the file has them all; nothing is asked then;
    /// - its size is that of the server's file, and so is its date of change, as
    ///   [`remote_time`](Self::remote_time) sets it;
    /// - its size is that, and the journal of the folder has the server's entity tag for it.
    ///
    /// Any other file is dealt with as [`existing`](Self::existing) says. Its bytes are
    /// never joined with those of the server: nobody knows what they are a part of. Partial
    /// files that this program has left are always gone on from, with or without this.
    pub fn continuing(mut self, continuing: bool) -> Self {
        self.settings.naming.continuing = continuing;
        self
    }

    /// Whether a file that is there is replaced if the server's has changed since, and
    /// otherwise left alone, without a body on the wire. Default: no.
    ///
    /// The server is asked with `If-None-Match`, if the journal of the folder has an entity
    /// tag for the file, and `If-Modified-Since`. So the journal is kept after the run, and
    /// files get the server's date unless [`remote_time`](Self::remote_time) says no. A
    /// file of another size than the journal knows is fetched again.
    pub fn newer(mut self, newer: bool) -> Self {
        self.settings.naming.newer = newer;
        self
    }

    /// Whether files get the server's date of change (`Last-Modified`) as theirs. Default:
    /// no, except with [`newer`](Self::newer). A date in the future is not taken.
    pub fn remote_time(mut self, remote: bool) -> Self {
        self.settings.naming.remote_time = Some(remote);
        self
    }
}
