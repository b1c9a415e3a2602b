//! TFTP: the two ends in memory, then client and server over sockets with faults between
//! them, then other people's programs.

mod client;
mod exchange;
mod peers;
mod relay;
mod server;
mod transfers;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use greenloop::apps::tftp::{Client, Ended, Handle, Server};
use greenloop::proto::tftp::Retry;

pub(crate) use crate::dice::Dice;

/// Short waits, so that losses cost little, and many: a busy machine is no silent peer.
pub(crate) fn retry() -> Retry {
    Retry::new(Duration::from_millis(80), 7)
}

/// A client with these waits.
pub(crate) fn client(server: SocketAddr) -> Client {
    Client::new(server.into())
        .retry(retry())
        .dally(Duration::from_millis(1))
}

/// A server's folder, and one of a client's beside it.
pub(crate) struct Site {
    folder: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("greenloop-tftp-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("root")).unwrap();
        fs::create_dir_all(folder.join("local")).unwrap();
        Self { folder }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub(crate) fn local(&self, name: &str) -> PathBuf {
        self.folder.join("local").join(name)
    }

    pub(crate) fn start(&self, change: impl FnOnce(Server) -> Server) -> Handle {
        let server = Server::new(self.root()).retry(retry());
        change(server).start("127.0.0.1:0").unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.root().join(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.root().join(name)).unwrap()
    }

    pub(crate) fn read_local(&self, name: &str) -> Vec<u8> {
        fs::read(self.local(name)).unwrap()
    }

    /// How many uploads are on their way, or were left behind.
    pub(crate) fn hidden(&self) -> usize {
        let is_hidden = |path: &Path| path.file_name().unwrap().as_encoded_bytes()[0] == b'.';
        let entries = fs::read_dir(self.root()).unwrap();
        entries
            .filter(|e| is_hidden(&e.as_ref().unwrap().path()))
            .count()
    }

    pub(crate) fn ended(&self) -> Ends {
        let (tell, told) = mpsc::channel();
        Ends { tell, told }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The transfers of a server that are over.
pub(crate) struct Ends {
    tell: mpsc::Sender<Ended>,
    told: mpsc::Receiver<Ended>,
}

impl Ends {
    pub(crate) fn watch(&self, server: Server) -> Server {
        let tell = self.tell.clone();
        server.observer(move |ended| drop(tell.send(ended.clone())))
    }

    pub(crate) fn next(&self) -> Ended {
        self.told
            .recv_timeout(Duration::from_secs(30))
            .expect("a transfer ends")
    }
}
