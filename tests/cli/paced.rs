//! An origin that serves one content under every path, with ranges, and takes its time;
//! it knows what was asked for and how much was sent.

use crate::dice::Dice;
use crate::support::PATIENCE;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const MIB: usize = 1 << 20;

/// Bytes without any order that a mistake could repeat.
pub(crate) fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&dice.roll().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The running origin.
pub(crate) struct Paced {
    address: SocketAddr,
    pub(crate) content: Arc<Vec<u8>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    log: Mutex<Log>,
    grown: Condvar,
}

#[derive(Default)]
struct Log {
    sent: usize,
    requests: Vec<Asked>,
}

/// A request: its path and the first byte that it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) start: usize,
}

impl Paced {
    pub(crate) fn start(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (content, seen) = (Arc::new(content), Arc::<Seen>::default());
        let (served, log) = (content.clone(), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, log) = (served.clone(), log.clone());
                thread::spawn(move || serve(stream, &served, &log));
            }
        });
        Self {
            address,
            content,
            seen,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn sent(&self) -> usize {
        self.seen.log.lock().unwrap().sent
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.seen.log.lock().unwrap().requests.clone()
    }

    /// Waits until so much was sent, or there is nothing to send any more.
    pub(crate) fn wait_until(&self, sent: usize, is_over: impl Fn() -> bool) {
        let begun = Instant::now();
        let mut log = self.seen.log.lock().unwrap();
        while log.sent < sent && !is_over() {
            assert!(begun.elapsed() < PATIENCE, "nothing is asked for");
            let look = Duration::from_millis(20);
            log = self.seen.grown.wait_timeout(log, look).unwrap().0;
        }
    }
}

fn serve(stream: TcpStream, content: &[u8], seen: &Seen) -> Option<()> {
    // Little is under way at once: what was sent has soon arrived.
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(128 * 1024);
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        let request = lines.next()?.ok()?;
        let mut range = None;
        for header in lines.by_ref() {
            let header = header.ok()?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(asked) = header.strip_prefix("range: bytes=") {
                let (start, last) = asked.split_once('-')?;
                let last = last.parse().unwrap_or(content.len() - 1);
                range = Some((start.parse().ok()?, last.min(content.len() - 1)));
            }
        }
        let path = request.split(' ').nth(1)?.to_owned();
        let (start, last) = range.unwrap_or((0, content.len() - 1));
        seen.log
            .lock()
            .unwrap()
            .requests
            .push(Asked { path, start });
        let status = match range {
            Some(_) => format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{last}/{}",
                content.len()
            ),
            None => "200 OK".to_owned(),
        };
        let length = last + 1 - start;
        let head = format!("HTTP/1.1 {status}\r\nETag: \"v1\"\r\nContent-Length: {length}\r\n\r\n");
        out.write_all(head.as_bytes()).ok()?;
        for piece in content[start..=last].chunks(64 * 1024) {
            out.write_all(piece).ok()?;
            seen.log.lock().unwrap().sent += piece.len();
            seen.grown.notify_all();
            // 64 MB a second: slow enough that a kill hits somewhere.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
