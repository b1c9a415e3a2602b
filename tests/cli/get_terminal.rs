//! `greenloop get` on a terminal: what a person sees.

use crate::origin::Origin;
use crate::support::Folder;
use crate::vt::Terminal;
use rustix::process::Signal;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

fn list(origin: &Origin, folder: &Folder, names: impl Iterator<Item = String>) {
    let lines: String = names.map(|name| origin.url(&name) + "\n").collect();
    fs::write(folder.path().join("list"), lines).unwrap();
}

#[test]
fn sixty_four_at_once_fit_every_window_and_leave_nothing_behind() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let names = (0..64).map(|n| format!("stall-{}", 400_000 + 2 * n));
    list(&origin, &folder, names);
    let args = ["get", "-i", "list", "-j", "64"];
    let mut terminal = Terminal::start(&args, folder.path(), 80, 24);
    terminal.until("all have their half", |screen| {
        let lines = screen.visible();
        let full = lines.iter().filter(|line| line.contains(" 50%")).count();
        full == 21 && lines.iter().any(|line| line == "… and 43 more")
    });
    let lines = terminal.screen.visible();
    // On a busy machine the word about a worker that was held up stands above.
    let lines = &lines[lines.len().saturating_sub(23)..];
    assert_eq!(lines.len(), 23, "{lines:#?}");
    assert!(lines[22].starts_with("0 done, 64 running"), "{lines:#?}");
    assert!(lines[0].contains("[=========>        ]"), "{lines:#?}");
    assert!(lines[0].contains("stall-400000"), "{lines:#?}");

    let (begun, frames) = (Instant::now(), terminal.screen.frames);
    terminal.look_for(Duration::from_millis(900));
    let frames = (terminal.screen.frames - frames) as f64;
    let most = 10.0 * begun.elapsed().as_secs_f64() + 1.0;
    assert!(frames >= 1.0 && frames <= most, "{frames} of {most}");

    // Narrower and lower, and wide again.
    for (columns, rows) in [(30, 10), (100, 40)] {
        let frames = terminal.screen.frames;
        terminal.resize(columns, rows);
        // One may have been under way.
        terminal.until("two frames", |screen| screen.frames > frames + 2);
        let lines = terminal.screen.visible();
        let last = lines.last().map(String::as_str).unwrap_or_default();
        assert!(last.starts_with("0 done, 64 running"), "{lines:#?}");
        let bars = lines.iter().filter(|line| line.contains("stall-"));
        assert!(bars.count() >= rows - 3, "{lines:#?}");
        let widest = lines.iter().map(|line| line.chars().count()).max();
        assert!(widest < Some(columns), "{lines:#?}");
    }
    assert_eq!(terminal.screen.cut, 0, "lines were wider than the terminal");

    terminal.signal(Signal::USR1);
    terminal.until("how things stand is a line of its own", |screen| {
        screen.text().matches("0 done, 64 running").count() > 1
    });

    terminal.signal(Signal::INT);
    let status = terminal.finish();
    assert_eq!(status.signal(), Some(2));
    let text = terminal.screen.text();
    let last = text.rsplit("stopping; once more ends at once").next();
    let last = last.unwrap_or_default();
    assert!(
        !last.contains(['[', '…']) && !last.contains("running"),
        "{text}"
    );
    assert!(text.contains("saved 0 of 64 files"), "{text}");
    assert!(text.contains("the same command"), "{text}");
}

#[test]
fn small_files_are_lines_without_a_flicker() {
    let (origin, folder) = (Origin::start(), Folder::new());
    list(&origin, &folder, (1..500).map(|n| format!("file-{n}")));
    let begun = Instant::now();
    let args = ["get", "-i", "list", "--no-sync"];
    let mut terminal = Terminal::start(&args, folder.path(), 80, 24);
    let status = terminal.finish();
    let seconds = begun.elapsed().as_secs_f64();
    let text = terminal.screen.text();
    assert!(status.success(), "{text}");
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains(" B in "))
        .collect();
    assert_eq!(lines.len(), 499, "{text}");
    assert!(text.contains("file-499  499 B in"), "{text}");
    assert!(text.contains("saved 499 of 499 files"), "{text}");
    assert!(!text.contains("running"), "{text}");
    let most = 10.0 * seconds + 2.0;
    assert!(
        terminal.screen.frames as f64 <= most,
        "{}",
        terminal.screen.frames
    );
}
