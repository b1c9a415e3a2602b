//! Downloads: a greenlet per URL, at most eight at once; progress as events, a report at
//! the end. Ctrl-C in the middle leaves parts that the next run goes on from.
//!
//! Run `cargo run --example download https://example.com/ https://example.org/`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::fetch::{Downloader, Event};

fn main() -> greenloop::Result<()> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    let report = Downloader::new()
        .dir("downloads")
        .jobs(8)
        .observer(|_id: u64, event: &Event<'_>| match event {
            Event::Started { url } => println!("GET: {url}"),
            Event::Done(outcome) => {
                println!("{} bytes received from {}.", outcome.bytes, outcome.url);
            }
            Event::Failed(outcome) => println!("{}: {:?}", outcome.url, outcome.failure()),
            _ => {}
        })
        .run(urls.iter().map(String::as_str))?;
    println!("{} saved, {} failed", report.saved, report.failed);
    Ok(())
}
