//! The concurrency models as functions. `tests/cli` has the suite over the command, where
//! each has a process of its own.

use crate::support::{child_var, eventually, run_child, test_name};
use greenloop::apps::models::{Model, Served, Settings, Stop};
use rustix::event::{EventfdFlags, eventfd};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};

/// A model at work on a thread.
struct Server {
    address: SocketAddr,
    stop: Stop,
    thread: JoinHandle<io::Result<Served>>,
}

impl Server {
    fn start(model: Model) -> Self {
        let settings = Settings::new(&Stop::new().unwrap());
        Self::start_with(model, settings)
    }

    fn start_with(model: Model, mut settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if settings.child.is_empty() {
            settings.child.push("cat".into());
        }
        Self {
            address: listener.local_addr().unwrap(),
            stop: settings.stop.clone(),
            thread: spawn(move || model.serve(listener, &settings)),
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    fn stop(self) -> Served {
        self.stop.ask();
        self.thread.join().unwrap().unwrap()
    }
}

/// Sends `bytes`, ends the sending direction, and takes everything that comes back.
fn echo_to_the_end(mut client: TcpStream, bytes: &[u8]) -> Vec<u8> {
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    answer
}

/// Runs the block in a process of its own: descriptors are counted there, and no other test
/// takes those that `select` can watch.
macro_rules! in_own_process {
    ($body:block) => {
        if child_var("GREENLOOP_TEST_MODELS").is_some() {
            $body
        } else {
            let output = run_child(test_name!(), &[("GREENLOOP_TEST_MODELS", "1")]);
            assert!(output.status.success(), "{}", output.text);
            assert!(output.text.contains("1 passed"), "{}", output.text);
        }
    };
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn every_model_echoes_and_leaves_nothing_behind() {
    in_own_process!({
        let before = (descriptors(), threads());
        for model in Model::ALL {
            let server = Server::start(model);
            for text in ["我爱Python", "你是who?\0\u{1b}[2J", ""] {
                let answer = echo_to_the_end(server.connect(), text.as_bytes());
                assert_eq!(answer, text.as_bytes(), "{model}");
            }
            // Blocking serves one; the others are in the kernel's queue when the stop comes.
            let mut open = server.connect();
            open.write_all(b"x").unwrap();
            open.read_exact(&mut [0]).unwrap();
            let served = server.stop();
            assert_eq!(served.accepted, 4, "{model}");
            // A `cat` closes its side a moment before it ends, and may be cut in between.
            let cut = if model == Model::Process {
                1..=4
            } else {
                1..=1
            };
            assert!(cut.contains(&served.cut), "{model}: {served:?}");
            assert_eq!((served.failed, served.refused), (0, 0), "{model}");
            assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)), "{model}");
        }
        let after = || (descriptors(), threads());
        eventually("threads are gone", || after() == before);
    });
}

#[test]
fn stop_that_was_asked_before_ends_every_model_at_once() {
    in_own_process!({
        for model in Model::ALL {
            let stop = Stop::new().unwrap();
            stop.ask();
            stop.ask();
            let server = Server::start_with(model, Settings::new(&stop));
            assert_eq!(
                server.thread.join().unwrap().unwrap(),
                Served::default(),
                "{model}"
            );
        }
    });
}

#[test]
fn stop_does_not_wait_for_a_client_that_never_reads() {
    in_own_process!({
        for model in Model::ALL {
            let server = Server::start(model);
            let mut client = server.connect();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            // More than all buffers hold: the server stops reading, and is in a write or waits
            // for room.
            client.set_nonblocking(true).unwrap();
            let junk = vec![7; 1 << 20];
            let full = |result: io::Result<usize>| {
                result.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
            };
            eventually("the buffers are full", || full(client.write(&junk)));
            let served = server.stop();
            assert_eq!(served.cut, 1, "{model}");
        }
    });
}

#[test]
fn limit_of_clients_leaves_the_others_in_the_queue() {
    in_own_process!({
        for model in Model::ALL {
            let mut settings = Settings::new(&Stop::new().unwrap());
            settings.max_connections = Some(1);
            let server = Server::start_with(model, settings);
            let mut first = server.connect();
            first.write_all(b"x").unwrap();
            first.read_exact(&mut [0]).unwrap();
            let mut second = server.connect();
            second.write_all(b"y").unwrap();
            second.set_nonblocking(true).unwrap();
            assert!(second.read(&mut [0]).is_err(), "{model}");
            second.set_nonblocking(false).unwrap();
            drop(first);
            let mut answer = [0];
            second.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"y", "{model}");
            assert_eq!(server.stop().open_max, 1, "{model}");
        }
    });
}

#[test]
fn select_sends_clients_away_that_it_cannot_watch() {
    in_own_process!({
        for model in [Model::Select, Model::SelectQueue] {
            let server = Server::start(model);
            assert_eq!(echo_to_the_end(server.connect(), b"x"), b"x");
            let mut ballast = Vec::new();
            while ballast.len() < 1100 {
                ballast.push(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
            }
            let mut away = server.connect();
            assert!(matches!(away.read(&mut [0]), Ok(0) | Err(_)), "{model}");
            let error = Model::Select.serve(
                TcpListener::bind("127.0.0.1:0").unwrap(),
                &Settings::new(&server.stop),
            );
            let text = error.unwrap_err().to_string();
            assert!(
                text.contains("below 1024, and the listener has 1"),
                "{text}"
            );
            drop((ballast, away));
            assert_eq!(echo_to_the_end(server.connect(), b"y"), b"y");
            let served = server.stop();
            assert_eq!((served.accepted, served.refused), (2, 1), "{model}");
        }
    });
}

#[test]
fn process_model_says_what_it_cannot_start() {
    let mut settings = Settings::new(&Stop::new().unwrap());
    settings.child = vec!["/nowhere/to be found".into()];
    let server = Server::start_with(Model::Process, settings);
    let mut client = server.connect();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let error = server.thread.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("starting /nowhere/to be found"));
}

#[test]
fn models_are_not_for_greenlets() {
    let error = greenloop::spawn(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Model::Epoll.serve(listener, &Settings::new(&Stop::new().unwrap()))
    });
    let error = error.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("from an OS thread"), "{error}");
}
