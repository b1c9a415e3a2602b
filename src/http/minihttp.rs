//! An HTTP origin on the `may_minihttp` engine, for trusted loopback use only.
//!
//! The engine is fast and not safe to expose: it parses an unread or chunked body as the
//! next request, panics on a `Content-Length` that is no number, has no limits and no
//! timeouts, and its accept loop spins when descriptors run out. So [`Origin`] binds
//! loopback only and serves a fixed set of files from memory to the program's own client.
//!
//! What belongs here: the one wrapper that names the engine. What does not: an HTTP server
//! for others.

use crate::error::{Error, Result};
use may_minihttp::{HttpServer, HttpService, Request, Response};
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A set of files in memory, to be served on loopback.
///
/// # Examples
///
/// ```
/// # fn main() -> greenloop::Result<()> {
/// use greenloop::http::minihttp::Origin;
/// use std::io::{Read, Write};
///
/// let text = greenloop::run(|| -> greenloop::Result<String> {
///     let address = Origin::new().file("/hello", "hello!").start()?;
///     let mut stream = greenloop::net::TcpStream::connect(address)?;
///     stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")?;
///     let mut answer = [0; 1024];
///     let count = stream.read(&mut answer)?;
///     Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
/// })?;
/// assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("hello!"), "{text}");
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Origin {
    files: HashMap<String, Arc<[u8]>>,
}

impl Origin {
    /// Begins with no file: every request is answered 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file under `path`, which begins with a slash and is compared as it is sent:
    /// nothing is decoded.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into().into());
        self
    }

    /// Serves the files on a free port of 127.0.0.1 until the process ends, and returns the
    /// address.
    ///
    /// There is no stop: the engine's only one is a cancel that can abort the process.
    /// Only `GET` without a body is understood; a range is ignored, as RFC 9110 allows.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// What the system said to the bind.
    pub fn start(self) -> Result<SocketAddr> {
        let reserved = reserve_port().map_err(|e| Error::from(e).context("reserving a port"))?;
        let address = reserved.local_addr()?.as_socket().ok_or_else(|| {
            Error::message("the reserved socket has no internet address") // it was bound as one
        })?;
        let service = Files(Arc::new(self.files));
        // Dropping the handle detaches the accept loop.
        let accepting = HttpServer(service).start(address);
        accepting.map_err(|e| Error::from(e).context(format!("listening on {address}")))?;
        Ok(address)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("files", &self.files.len())
            .finish()
    }
}

/// Takes a free port and holds it while the engine binds it.
///
/// The engine binds by itself and does not tell which port 0 became. It sets SO_REUSEPORT,
/// so a socket that is bound to the port the same way and never listens keeps other
/// programs off it without taking a connection. (Bind, read the number and close would
/// leave a gap in which another program can get the port.)
fn reserve_port() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

#[derive(Clone)]
struct Files(Arc<HashMap<String, Arc<[u8]>>>);

impl HttpService for Files {
    fn call(
        &mut self,
        request: Request<'_, '_, '_>,
        response: &mut Response<'_>,
    ) -> io::Result<()> {
        if request.method() != "GET" {
            response
                .status_code(405, "Method Not Allowed")
                .header("Allow: GET");
            return Ok(());
        }
        match self.0.get(request.path()) {
            Some(content) => {
                response.header("Content-Type: application/octet-stream");
                response.body_mut().extend_from_slice(content);
            }
            None => {
                response
                    .status_code(404, "Not Found")
                    .body("no such file\n");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Sends `request` and returns what came until the answer's end.
    #[expect(clippy::disallowed_methods, reason = "the test is a plain thread")]
    fn ask(address: SocketAddr, request: &str, answer_end: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut buffer) = (String::new(), [0; 1024]);
        while !answer.ends_with(answer_end) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "ended after {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        answer
    }

    #[test]
    fn files_are_served_and_the_rest_is_refused() {
        let address = crate::run(|| Origin::new().file("/a", "whole").start()).unwrap();
        let get = |path: &str, end: &str| {
            ask(
                address,
                &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
                end,
            )
        };
        let answer = get("/a", "\r\n\r\nwhole");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Content-Length: 5\r\n"));
        assert!(get("/b", "no such file\n").starts_with("HTTP/1.1 404"));
        let head = ask(address, "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 405") && head.contains("Allow: GET"));
    }

    #[test]
    fn reserved_port_lets_the_engine_in_and_keeps_others_out() {
        let reserved = reserve_port().unwrap();
        let address = reserved.local_addr().unwrap();
        let bind = |reuse_port: bool| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_port(reuse_port).unwrap();
            socket.bind(&address)
        };
        assert!(bind(true).is_ok());
        assert_eq!(bind(false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
