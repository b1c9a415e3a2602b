//! What serves the files: a private nginx, or in its absence the `may_minihttp` origin.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::http::minihttp;

use super::super::support::{Server, has, wait_for_the_end};
use super::files::small;

/// The role of the `may_minihttp` origin.
pub(crate) const MINIHTTP: &str = "minihttp";
/// The role of the server whose answers take a while.
pub(crate) const DELAY: &str = "delay";
/// How long they take.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);
/// MiB per second that one connection gets at most, where connections are capped.
pub(crate) const CAP_MIB: u64 = 20;

/// Where files are asked for, and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Plain,
    /// Every answer begins after [`LATENCY`].
    Slow,
    /// Every connection gets at most [`CAP_MIB`] per second.
    Capped,
    /// Any number of names for few small files.
    Many,
}

/// A running origin.
pub(crate) struct Origin {
    address: SocketAddr,
    engine: Engine,
}

enum Engine {
    Nginx { nginx: Child, delay: Option<Server> },
    Minihttp(#[expect(dead_code, reason = "it ends when dropped")] Server),
}

impl Origin {
    /// Serves what is in `folder/www`; `folder` is for the server's own files.
    pub(crate) fn start(folder: &Path) -> Self {
        if has("nginx") {
            return Self::nginx(folder);
        }
        println!("the small files come from may_minihttp; the other rows need nginx");
        let server = Server::role(MINIHTTP);
        Self {
            address: server.address,
            engine: Engine::Minihttp(server),
        }
    }

    fn nginx(folder: &Path) -> Self {
        let delay = can_delay().then(|| Server::role(DELAY));
        if delay.is_none() {
            println!("SKIPPED: latency, which nginx without auth_request cannot give");
        }
        let address = free_address();
        let config = folder.join("nginx.conf");
        let upstream = delay.as_ref().map(|server| server.address);
        fs::write(&config, nginx_config(folder, address, upstream)).expect("there is room");
        let nginx = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it was found");
        let mut engine = Engine::Nginx { nginx, delay };
        engine.wait_until_ready(address, &folder.join("error.log"));
        Self { address, engine }
    }

    pub(crate) fn url(&self, route: Route, path: &str) -> String {
        let route = match route {
            Route::Plain | Route::Many => "",
            Route::Slow => "/slow",
            Route::Capped => "/capped",
        };
        format!("http://{}{route}/{path}", self.address)
    }

    /// Whether it can serve this; small files always.
    pub(crate) fn has(&self, route: Route, are_small: bool) -> bool {
        match (&self.engine, route) {
            (Engine::Nginx { delay, .. }, Route::Slow) => delay.is_some(),
            (Engine::Nginx { .. }, _) => true,
            (Engine::Minihttp(_), Route::Plain) => are_small,
            (Engine::Minihttp(_), _) => false,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.engine {
            Engine::Nginx { .. } => "nginx",
            Engine::Minihttp(_) => "may_minihttp",
        }
    }
}

impl Engine {
    fn wait_until_ready(&mut self, address: SocketAddr, log: &Path) {
        let Self::Nginx { nginx, .. } = self else {
            return;
        };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = nginx.try_wait().expect("it is ours");
            assert!(
                ended.is_none() && start.elapsed() < Duration::from_secs(10),
                "nginx does not come up: {}",
                fs::read_to_string(log).unwrap_or_default(),
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Self::Nginx { nginx, .. } = self {
            let _ = nginx.kill();
            let _ = nginx.wait();
        }
    }
}

/// One process, so that it can be killed whole; one is also all that two cores shared
/// with a client have room for.
fn nginx_config(folder: &Path, address: SocketAddr, delay: Option<SocketAddr>) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .concat();
    // Access is granted after a while, by a server that is asked before each answer: the
    // files themselves take the same way as without.
    let (upstream, slow) = delay.map_or_else(Default::default, |delay| {
        (
            format!("  upstream delay {{ server {delay}; keepalive 256; keepalive_requests 100000000; }}\n"),
            format!(
                "    location /slow/ {{ auth_request /-delay; alias {folder}/www/; }}\n\
                 \x20   location = /-delay {{ internal; proxy_pass http://delay; proxy_http_version 1.1;\n\
                 \x20     proxy_set_header Connection \"\"; proxy_pass_request_body off;\n\
                 \x20     proxy_pass_request_headers off; }}\n"
            ),
        )
    });
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/nginx.pid;\n\
         error_log {folder}/error.log;\nworker_rlimit_nofile 8192;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n{temporary}\
         \x20 access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_timeout 75;\n\
         \x20 keepalive_requests 100000000;\n  default_type application/octet-stream;\n\
         {upstream}  server {{\n    listen {address} backlog=1024;\n    root {folder}/www;\n\
         \x20   location / {{ }}\n\
         \x20   location /many/ {{ rewrite \"^/many/\\d*(\\d\\d)$\" /small/f$1 break; }}\n\
         \x20   location /capped/ {{ limit_rate {CAP_MIB}m; alias {folder}/www/; }}\n\
         {slow}  }}\n}}\n"
    )
}

fn can_delay() -> bool {
    let output = Command::new("nginx").arg("-V").output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stderr).contains("http_auth_request_module")
    })
}

/// A port that was free a moment ago; nginx cannot tell which one it was given.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    listener.local_addr().expect("it is bound")
}

/// Serves the small files by `may_minihttp`.
pub(crate) fn serve_minihttp() {
    let origin = (0..super::super::SMALL_FILES).fold(minihttp::Origin::new(), |origin, n| {
        origin.file(format!("/small/f{n:02}"), small(n))
    });
    println!(
        "listening on {}",
        origin.start().expect("loopback is there")
    );
    wait_for_the_end();
}

/// Answers everything after [`LATENCY`], with nothing: a thread per connection, asleep
/// nearly always.
pub(crate) fn serve_delay() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    println!(
        "listening on {}",
        listener.local_addr().expect("it is bound")
    );
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let thread = thread::Builder::new().stack_size(64 * 1024);
            let _ = thread.spawn(move || delay(stream));
        }
    });
    wait_for_the_end();
}

fn delay(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        while !lines.next()?.ok()?.is_empty() {}
        thread::sleep(LATENCY);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}
