//! A tiny HTTP origin on plain threads: files, and files that stop halfway.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Serves `/file-N` (N bytes long) and `/stall-N`, of which half comes and then nothing,
/// whatever the query.
/// A range is honoured, also for a file that stalled: the rest comes then.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// One per file that has come to its halt.
    pub(crate) stalled: Receiver<()>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let (tell, stalled) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || serve(stream, &tell));
            }
        });
        Self { address, stalled }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

/// What is at `/file-N` and `/stall-N`.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8)) as u8)
        .collect()
}

/// Answers until the peer has had enough.
fn serve(stream: TcpStream, stalled: &Sender<()>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        let request = lines.next()?.ok()?;
        let (mut from, mut last) = (0, None);
        for header in lines.by_ref() {
            let header = header.ok()?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(range) = header.strip_prefix("range: bytes=") {
                let (first, end) = range.split_once('-')?;
                from = first.parse().ok()?;
                last = end.parse::<usize>().ok();
            }
        }
        let name = request.split(' ').nth(1)?.trim_start_matches('/');
        let name = name.split('?').next()?;
        let Some((kind @ ("file" | "stall"), bytes)) = name.split_once('-') else {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .ok()?;
            continue;
        };
        let body = content(bytes.parse().ok()?);
        let total = body.len();
        let end = last.map_or(total, |last| total.min(last + 1));
        let head = if from > 0 {
            let range = format!("bytes {from}-{}/{total}", end - 1);
            format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\n")
        } else {
            "HTTP/1.1 200 OK\r\n".to_owned()
        };
        let length = end - from;
        let head = format!("{head}ETag: \"v1\"\r\nContent-Length: {length}\r\n\r\n");
        out.write_all(head.as_bytes()).ok()?;
        if kind == "stall" && from == 0 {
            out.write_all(&body[..total / 2]).ok()?;
            let _ = stalled.send(());
            // The peer's end, when it has enough of waiting.
            while lines.next()?.is_ok() {}
        }
        out.write_all(&body[from..end]).ok()?;
    }
}
