//! What a second look at the toolbox found, and what it looked for: user code that panics
//! where nobody expects it, and calls that cross at the worst moment.

use std::panic::panic_any;
use std::sync::mpsc::channel;
use std::time::Duration;

use greenloop::sync::Event;
use greenloop::{drain, spawn};

use crate::support::on_workers;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Panics when it is dropped, unless that would end the process.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the bomb goes off");
        }
    }
}

#[test]
fn a_link_that_panics_with_a_bomb_harms_nobody() {
    on_workers!({
        let (go, (tell, told)) = (Event::new(), channel());
        let greenlet = {
            let go = go.clone();
            spawn(move || go.wait())
        };
        greenlet.on_exit(|_| panic_any(Bomb));
        greenlet.on_exit(move |_| tell.send(()).unwrap());
        go.set();
        told.recv_timeout(LONG).unwrap();
        assert!(drain(Some(LONG)).unwrap());
    });
}
