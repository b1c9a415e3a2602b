//! Downloads twenty files at once from a small server of its own, so it runs offline.
//!
//! ```text
//! cargo run --example download
//! ```
//!
//! Partner: `greenloop get URL…`, the same library with a command line.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::{BufRead, BufReader, Write};

use greenloop::fetch::{Downloader, Event};
use greenloop::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    greenloop::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            greenloop::spawn(move || {
                let mut stream = BufReader::new(stream);
                // A request ends with an empty line; each is answered with one page.
                let mut line = String::new();
                while stream.read_line(&mut line)? > 0 {
                    if line == "\r\n" {
                        let page = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
                        stream.get_mut().write_all(page.as_bytes())?;
                    }
                    line.clear();
                }
                std::io::Result::Ok(())
            });
        }
    });

    let folder = std::env::temp_dir().join(format!("greenloop-download-{}", std::process::id()));
    let report = Downloader::new()
        .dir(&folder)
        .jobs(8)
        .observer(|id: u64, event: &Event<'_>| {
            if let Event::Done(outcome) = event {
                println!("{id}: {} bytes from {}", outcome.bytes, outcome.url);
            }
        })
        .run((1..=20).map(|n| format!("http://{address}/page-{n}.txt")))?;
    println!(
        "{} saved, {} failed in {:?}",
        report.saved, report.failed, report.elapsed
    );
    std::fs::remove_dir_all(&folder)?;
    if report.is_success() {
        Ok(())
    } else {
        Err("not all were saved".into())
    }
}
