//! One client at a time, in blocking calls: the first program of every tutorial.
//!
//! While one is served, the others wait in the kernel's queue, connected and unanswered. One
//! that says nothing keeps them out for ever.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::client::echo;
use super::door::{Trouble, accept_or_stop};
use super::stop::Stop;
use super::tally::{Served, Tally};

pub(super) fn serve(listener: TcpListener, stop: &Stop) -> io::Result<Served> {
    listener.set_nonblocking(false)?;
    let listener = Arc::new(listener);
    let _cut = stop.cuts(listener.clone());
    let (mut trouble, mut tally) = (Trouble::default(), Tally::default());
    while let Some(stream) = accept_or_stop(&listener, stop, &mut trouble)? {
        tally.begin();
        let stream = Arc::new(stream);
        let _cut = stop.cuts(stream.clone());
        let ended = echo(&stream);
        if !stop.is_asked() {
            tally.end(ended.is_ok());
        }
    }
    Ok(tally.finish())
}
