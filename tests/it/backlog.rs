//! The backlog experiment: exactly as many connections get in as the text says.

use std::time::Duration;

use greenloop::apps::backlog::{Kernel, Probe, SlowServer, explain};
use greenloop::net::Endpoint;
use greenloop::spawn;

use crate::support::on_workers;

/// Less than the first retry of a SYN.
const SOON: Duration = Duration::from_millis(700);

fn probe(address: Endpoint, connections: usize, limit: Duration) -> Probe {
    Probe {
        address,
        connections,
        limit: Some(limit),
    }
}

#[test]
fn queue_takes_one_connection_more_than_the_backlog() {
    // One worker: no two handshakes at the same moment.
    on_workers!([1], {
        let kernel = Kernel::read().unwrap();
        for backlog in [0, 1, 2, 5, 16, 128] {
            let server = SlowServer::bind("127.0.0.1:0", backlog).unwrap();
            let address: Endpoint = server.addr().unwrap().into();
            let queue = backlog as usize + 1;
            let attempts = probe(address.clone(), queue + 3, SOON).run().unwrap();
            let at_once = attempts.iter().filter(|a| a.is_at_once()).count();
            assert_eq!(at_once, queue, "backlog {backlog}");
            assert_eq!(kernel.queue(backlog), queue as u64);
            let failed: Vec<_> = attempts.iter().filter_map(|a| a.error.as_ref()).collect();
            assert!(failed.len() == 3 && failed.iter().all(|e| e.is_timeout()));

            let text = explain(&kernel, &address, Some(backlog), &attempts).join("\n");
            for part in [
                format!("{queue} of {} connected at once.", queue + 3),
                format!(
                    "min({backlog}, somaxconn {}) + 1 = {queue}",
                    kernel.somaxconn
                ),
                "3 failed; the first: ".to_owned(),
            ] {
                assert!(text.contains(&part), "{part:?} is not in {text}");
            }
        }
    });
}

#[test]
fn unix_sockets_queue_as_many() {
    on_workers!([1], {
        for backlog in [0, 3] {
            let name = format!("unix:@gl-backlog-{}-{backlog}", std::process::id());
            let server = SlowServer::bind(name, backlog).unwrap();
            let address = server.addr().unwrap().into();
            let limit = Duration::from_millis(50);
            let attempts = probe(address, 10, limit).run().unwrap();
            let at_once = attempts.iter().filter(|a| a.is_at_once()).count();
            assert_eq!(at_once, backlog as usize + 1);
        }
    });
}

#[test]
fn who_finds_the_queue_full_gets_in_at_a_retry() {
    on_workers!([1], {
        let kernel = Kernel::read().unwrap();
        let mut server = SlowServer::bind("127.0.0.1:0", 1).unwrap();
        let address: Endpoint = server.addr().unwrap().into();
        let accepting = spawn(move || server.serve(Duration::from_millis(300), |_| {}));
        let probe = probe(address.clone(), 4, Duration::from_secs(20));
        let attempts = probe.run().unwrap();
        assert!(accepting.kill_and_wait(None).unwrap());
        assert!(attempts.iter().all(|a| a.error.is_none()), "{attempts:?}");
        assert_eq!(attempts.iter().filter(|a| a.is_at_once()).count(), 2);
        let text = explain(&kernel, &address, Some(1), &attempts).join("\n");
        assert!(
            text.contains("got in when it was sent again after 1 s."),
            "{text}"
        );
        assert!(text.contains("drops the SYN"), "{text}");
    });
}
