//! A TFTP server and its client in one program: a file goes up, and comes back.
//!
//! Run: `cargo run --example tftp`, or with an address (`127.0.0.1:6969`) to serve only.
//! Partner then: `curl tftp://127.0.0.1:6969/hello.txt`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::apps::tftp::{Client, Server};
use greenloop::signal::{SIGINT, SIGTERM, Signals};
use std::fs;
use std::time::Duration;

fn main() -> greenloop::Result<()> {
    let given = std::env::args().nth(1);
    let folder = std::env::temp_dir().join(format!("greenloop-tftp-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("hello.txt"), "hello over UDP\n")?;

    let signals = Signals::new(&[SIGTERM, SIGINT])?;
    let server = Server::new(&folder)
        .writable(true)
        .observer(|ended| println!("server: {}, {}", ended.file, ended.outcome))
        .start(given.as_deref().unwrap_or("127.0.0.1:0"))?;
    println!("listening on {}", server.addr());
    if given.is_some() {
        signals.wait()?;
    } else {
        talk(&Client::new(server.addr().into()))?;
    }
    server.drain(Duration::from_secs(5))?;
    Ok(fs::remove_dir_all(&folder)?)
}

fn talk(client: &Client) -> greenloop::Result<()> {
    // A server that had missed our last ACK would not find us any more, and that is all.
    let client = client.clone().dally(Duration::ZERO);
    let mut text = Vec::new();
    client.get_to("hello.txt", &mut text)?;
    print!("client: {}", String::from_utf8_lossy(&text));
    let put = client.put("Cargo.toml", "manifest")?;
    println!("client: all {} bytes are there", put.bytes);
    let error = client
        .get("../etc/passwd", "stolen")
        .expect_err("it is outside");
    println!("client: {error}");
    Ok(())
}
