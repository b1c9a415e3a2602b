//! A server that takes files into a folder, and a client that sends one; or one of the two.
//!
//! Run `cargo run --example file_upload`, which is both; or `… file_upload 127.0.0.1:7789`, a
//! server until Ctrl-C, with `greenloop upload Cargo.toml 127.0.0.1:7789` as its partner.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::Result;
use greenloop::apps::upload::{Received, Sent, UploadClient, UploadHandler};
use greenloop::server::{ConnInfo, StreamServer};
use std::time::Duration;

/// Escaped: a terminal is not for what strangers call their files.
fn told(_: &ConnInfo, received: &Received<'_>) {
    match received {
        Received::Stored { name, size } => println!("stored {name:?}, {size} bytes"),
        Received::Refused { name, answer } => println!("refused {name:?}: {:?}", answer.text),
        other => println!("{other:?}"),
    }
}

fn serve(address: &str, handler: UploadHandler) -> Result<()> {
    let server = StreamServer::bind(address)?;
    println!("files are taken on {}", server.addr());
    server.serve_until_signal(handler).map(drop)
}

fn both(handler: UploadHandler) -> Result<()> {
    let server = StreamServer::bind("127.0.0.1:0")?.start(handler)?;
    let mut client = UploadClient::connect(server.addr(), Duration::from_secs(10))?;
    // The second has the name of the first, the third none that a file can have.
    for name in ["../notes.txt", "notes.txt", ".."] {
        match client.send("Cargo.toml", Some(name), |_sent, _size| {})? {
            Sent::Stored { name, .. } => println!("it is called {name}"),
            Sent::Refused(answer) => println!("no: {}", answer.text),
            _ => {}
        }
    }
    drop(client);
    server.drain(Duration::from_secs(5)).map(drop)
}

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("greenloop-uploads-{}", std::process::id()));
    let handler = UploadHandler::open(&dir)?.size_max(1 << 20).observer(told);
    match std::env::args().nth(1) {
        Some(address) => serve(&address, handler)?,
        None => both(handler)?,
    }
    greenloop::fs::remove_dir_all(dir)
}
