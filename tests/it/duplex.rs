//! Handlers of two greenlets: one reads, one writes.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloop::net::{Stream, TcpStream, UnixStream};
use greenloop::server::{Conn, ConnWriter, ServerConfig, ServerHandle, StreamServer};
use greenloop::sync::{Event, Queue, scope};

use crate::support::{before_long, on_workers};

const LONG: Duration = Duration::from_secs(30);

fn start(handler: impl greenloop::server::Handler) -> ServerHandle {
    StreamServer::bind("127.0.0.1:0")
        .unwrap()
        .start(handler)
        .unwrap()
}

/// Sends back by a queue and a second greenlet.
fn echo(conn: &mut Conn) -> greenloop::Result<()> {
    let queue = Queue::bounded(4);
    let mut writer = conn.writer()?;
    let mut buf = vec![0; 16 << 10];
    scope(|s| {
        let writing = s.spawn(|| {
            let written = queue
                .iter()
                .try_for_each(|part: Vec<u8>| writer.write_all(&part));
            queue.close_now();
            written
        });
        let mut read = || loop {
            match conn.read_next(&mut buf)? {
                0 => return Ok(()),
                n => queue.put(buf[..n].to_vec())?,
            }
        };
        let ended: greenloop::Result<()> = read();
        queue.close();
        let written = writing
            .join()
            .map_err(|e| std::io::Error::other(e.to_string()))?;
        ended?;
        Ok(written?)
    })?
}

fn write_for_ever(writer: &mut ConnWriter) -> std::io::Error {
    let bytes = vec![7; 64 << 10];
    loop {
        if let Err(error) = writer.write_all(&bytes) {
            return error;
        }
    }
}

#[test]
fn both_directions_flow_at_once_and_are_counted() {
    on_workers!({
        let server = start(echo);
        let (mut reader, mut writer) = TcpStream::connect(server.addr()).unwrap().split().unwrap();
        let sent: Vec<u8> = (0..4 << 20)
            .map(|n: u32| (n.wrapping_mul(31) >> 7) as u8)
            .collect();
        let sending = {
            let sent = sent.clone();
            greenloop::spawn(move || {
                writer.write_all(&sent).unwrap();
                writer.shutdown().unwrap();
            })
        };
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        sending.join().unwrap();
        assert!(got == sent);
        let report = server.drain(LONG).unwrap();
        let total = sent.len() as u64;
        assert_eq!((report.bytes_read, report.bytes_written), (total, total));
        assert_eq!((report.finished, report.killed), (1, 0));
    });
}

#[test]
fn drain_lets_the_writer_finish_and_kill_ends_both() {
    on_workers!({
        let server = start(echo);
        let mut idle = TcpStream::connect(server.addr()).unwrap();
        idle.write_all(b"x").unwrap();
        idle.read_exact(&mut [0]).unwrap();
        let before = greenloop::greenlets().len();
        let report = server.drain(LONG).unwrap();
        assert!(report.is_clean());
        assert!(greenloop::greenlets().len() < before);

        // One greenlet in a write, the other in a read that a drain does not end.
        let inside = Event::new();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let server = {
            let (inside, ended) = (inside.clone(), ended.clone());
            start(move |conn: &mut Conn| {
                let mut writer = conn.writer()?;
                scope(|s| {
                    s.spawn(|| {
                        inside.set();
                        let error = greenloop::Error::from(write_for_ever(&mut writer));
                        ended.lock().unwrap().push(("writer", error.is_cancelled()));
                    });
                    let error = greenloop::Error::from(conn.read(&mut [0]).unwrap_err());
                    ended.lock().unwrap().push(("reader", error.is_cancelled()));
                })
            })
        };
        let _client = TcpStream::connect(server.addr()).unwrap();
        inside.wait().unwrap();
        let report = server.stop_now().unwrap();
        assert_eq!((report.killed, report.stuck), (1, 0));
        let mut ended = ended.lock().unwrap().clone();
        ended.sort_unstable();
        assert_eq!(ended, [("reader", true), ("writer", true)]);
    });
}

#[test]
fn write_timeout_holds_for_the_writer() {
    on_workers!([2], {
        let server = ServerConfig::new()
            .write_timeout(Some(Duration::from_millis(50)))
            .bind("127.0.0.1:0")
            .unwrap()
            .start(|conn: &mut Conn| Err(write_for_ever(&mut conn.writer()?).into()))
            .unwrap();
        let mut client = TcpStream::connect(server.addr()).unwrap();
        before_long("a timeout", || server.stats().timed_out == 1);
        let mut got = 0;
        let mut buf = vec![0; 64 << 10];
        while let Ok(count @ 1..) = client.read(&mut buf) {
            got += count as u64;
        }
        assert!(got > 0 && got <= server.stats().bytes_written);
        server.drain(LONG).unwrap();
    });
}

#[test]
fn writer_that_outlives_its_connection_writes_to_nobody() {
    on_workers!([2], {
        let (give, given) = channel();
        let server = start(move |conn: &mut Conn| {
            give.send(conn.writer()?).unwrap();
            Ok(())
        });
        let mut client = TcpStream::connect(server.addr()).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let mut writer = given.recv().unwrap();
        let error = writer.write(b"late").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        server.drain(LONG).unwrap();
    });
}

#[test]
fn writer_can_end_the_reading() {
    on_workers!({
        let path = std::env::temp_dir().join(format!("gl-duplex-{}", std::process::id()));
        let unix = format!("unix:{}", path.display());
        let server = ServerConfig::new()
            .bind_all(["127.0.0.1:0", &unix])
            .unwrap()
            .start(|conn: &mut Conn| {
                let mut writer = conn.writer()?;
                scope(|s| {
                    s.spawn(move || writer.shutdown(Shutdown::Read));
                    assert_eq!(conn.read_next(&mut [0])?, 0);
                    assert!(!conn.is_draining());
                    Ok(conn.write_all(b"bye")?)
                })?
            })
            .unwrap();
        let mut tcp = TcpStream::connect(server.addr()).unwrap();
        let mut unix = UnixStream::connect(path.as_path()).unwrap();
        for stream in [&mut tcp as &mut dyn Stream, &mut unix] {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "bye");
        }
        assert_eq!(server.drain(LONG).unwrap().finished, 2);
    });
}
