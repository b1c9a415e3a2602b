//! A hostile HTTP origin: plain threads and sockets, and a script that answers each
//! request byte by byte as it likes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// How many requests for this path came before.
    pub(crate) nth: usize,
    pub(crate) at: Instant,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The first byte that is asked for.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.range().map(|(start, _)| start)
    }

    /// The first byte that is asked for, and the last one if it is named.
    pub(crate) fn range(&self) -> Option<(usize, Option<usize>)> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        let (start, last) = range.split_once('-')?;
        let last = Some(last).filter(|last| !last.is_empty());
        Some((start.parse().ok()?, last.map(str::parse).transpose().ok()?))
    }
}

/// What happens to the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
    /// With a reset, so that the client loses what it has not read.
    Reset,
    /// Nothing more is sent until the client closes.
    Stall,
}

/// The client's connection, as scripts see it.
pub(crate) struct Wire(TcpStream);

impl Wire {
    /// Sends bytes; a client that has gone is no matter here.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a whole answer with a length.
    pub(crate) fn answer(&mut self, status: &str, headers: &[&str], body: &[u8]) -> Then {
        let head = head(status, headers, body.len());
        self.send([head.as_bytes(), body].concat());
        Then::Keep
    }

    /// Waits until the client closes its side.
    pub(crate) fn wait_for_close(&mut self) {
        let _ = self.0.set_read_timeout(Some(Duration::from_secs(20)));
        let _ = std::io::copy(&mut &self.0, &mut std::io::sink());
    }
}

pub(crate) fn head(status: &str, headers: &[&str], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head + "\r\n"
}

type Script = dyn Fn(&Request, &mut Wire) -> Then + Send + Sync;

/// A running origin; stops when dropped.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    log: Mutex<Vec<Request>>,
    stopping: AtomicBool,
}

impl Origin {
    pub(crate) fn start(
        script: impl Fn(&Request, &mut Wire) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            log: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                for stream in listener.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = shared.clone();
                    // The client's end ends the thread; nobody waits for it.
                    std::thread::spawn(move || shared.serve(stream.unwrap()));
                }
            }
        });
        Self {
            addr,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accept.
        let _ = TcpStream::connect(self.addr);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(input) = stream.try_clone() else {
            return;
        };
        let mut input = BufReader::new(input);
        let mut wire = Wire(stream);
        while let Some(request) = self.read(&mut input) {
            match (self.script)(&request, &mut wire) {
                Then::Keep => {}
                Then::Close => break,
                Then::Reset => {
                    let socket = socket2::SockRef::from(&wire.0);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    break;
                }
                Then::Stall => {
                    wire.wait_for_close();
                    break;
                }
            }
        }
    }

    fn read(&self, input: &mut impl BufRead) -> Option<Request> {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            input.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut log = self.log.lock().unwrap();
        let nth = log.iter().filter(|request| request.path == path).count();
        let request = Request {
            method,
            path,
            headers,
            nth,
            at: Instant::now(),
        };
        log.push(request.clone());
        Some(request)
    }
}

/// A file that honours ranges, and how much of it one answer sends before it breaks off.
pub(crate) struct Served<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) etag: &'a str,
    /// Compares `If-Range`, as it should.
    pub(crate) honours_if_range: bool,
    /// Sends so many bytes of the body, then `then`.
    pub(crate) cut_after: Option<(usize, Then)>,
}

impl<'a> Served<'a> {
    pub(crate) fn new(body: &'a [u8], etag: &'a str) -> Self {
        Self {
            body,
            etag,
            honours_if_range: true,
            cut_after: None,
        }
    }

    pub(crate) fn cut(self, bytes: usize, then: Then) -> Self {
        Self {
            cut_after: Some((bytes, then)),
            ..self
        }
    }

    pub(crate) fn ignoring_if_range(self) -> Self {
        Self {
            honours_if_range: false,
            ..self
        }
    }

    pub(crate) fn answer(&self, request: &Request, wire: &mut Wire) -> Then {
        let same = request.header("if-range") == Some(self.etag) || !self.honours_if_range;
        let total = self.body.len();
        let range = request.range().filter(|(start, _)| same && *start < total);
        let etag = format!("ETag: {}", self.etag);
        let (head, body) = match range {
            Some((start, last)) => {
                let end = last.map_or(total, |last| total.min(last + 1));
                let range = format!("Content-Range: bytes {start}-{}/{total}", end - 1);
                let head = head("206 Partial Content", &[&etag, &range], end - start);
                (head, &self.body[start..end])
            }
            None => (head("200 OK", &[&etag], total), self.body),
        };
        wire.send(head);
        match self.cut_after {
            None => {
                wire.send(body);
                Then::Keep
            }
            Some((bytes, then)) => {
                wire.send(&body[..bytes.min(body.len())]);
                then
            }
        }
    }
}
