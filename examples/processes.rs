//! Two child processes side by side, under one limit; what a child wrote before the limit
//! is kept. gevent has the same in its `processes.py`.
//!
//! Run `cargo run --example processes`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::Deadline;
use greenloop::process::Command;
use std::time::Duration;

fn main() -> greenloop::Result<()> {
    // One deadline for both, however long the first one takes.
    let limit = Deadline::after(Duration::from_millis(500));
    let scripts = ["uname", "echo so far; exec sleep 60"];
    let children = scripts.map(|script| {
        greenloop::spawn(move || {
            Command::new("sh")
                .args(["-c", script])
                .output_deadline(limit)
        })
    });
    for (script, child) in scripts.iter().zip(children) {
        match child.join()? {
            Ok(output) => print!("{script}: {}", String::from_utf8_lossy(&output.stdout)),
            Err(cut) => {
                println!("{script}: {}", cut.error);
                print!("  until then: {}", String::from_utf8_lossy(&cut.stdout));
            }
        }
    }
    Ok(())
}
