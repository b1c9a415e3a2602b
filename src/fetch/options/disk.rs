//! How files are written.

use crate::fetch::Downloader;

/// How files get to the disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Nothing is saved.
    pub(crate) discard: bool,
    pub(crate) sync: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            discard: false,
            sync: true,
        }
    }
}

impl Downloader {
    /// Saves nothing: bodies are read, counted and dropped.
    pub fn discard(mut self) -> Self {
        self.settings.disk.discard = true;
        self
    }

    /// Whether a file is flushed to the disk before it gets its name. Default: yes.
    ///
    /// Without, a power failure can leave an empty file under a final name; a crash or
    /// kill of the program cannot. Many small files are several times as fast without.
    pub fn sync(mut self, sync: bool) -> Self {
        self.settings.disk.sync = sync;
        self
    }
}
