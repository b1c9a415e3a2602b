//! `greenloop man`: a page for each command, from its definition.

use super::args::ManArgs;
use super::{Outcome, help, out};
use crate::error::{Error, Result};
use crate::util::escape;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Writes the pages into the folder that `args` name.
pub(crate) fn run(args: &ManArgs) -> Outcome {
    let dir = &args.dir;
    let said =
        |error: io::Error| Error::from(error).context(format!("writing into {}", dir.display()));
    fs::create_dir_all(dir).map_err(said)?;
    let pages = pages().map_err(said)?;
    for (name, text) in &pages {
        write_whole(dir, name, text)?;
    }
    let dir = escape(dir.as_os_str().as_encoded_bytes());
    out::line(format_args!("wrote {} pages into {dir}", pages.len()))
}

/// The file names and the texts.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut definition = help::definition().disable_help_subcommand(true);
    definition.build();
    let mut pages = Vec::new();
    add_pages(&definition, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    pages.push(page(command)?);
    let inner = command.get_subcommands().filter(|c| !c.is_hide_set());
    inner.into_iter().try_for_each(|c| add_pages(c, pages))
}

#[expect(
    clippy::large_stack_frames,
    reason = "a definition by value, on the OS thread's stack"
)]
fn page(command: &Command) -> io::Result<(String, Vec<u8>)> {
    let source = format!("greenloop {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("greenloop");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let notes = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    if let Some(notes) = notes {
        after_help(&notes.to_string()).to_writer(&mut text)?;
    }
    Ok((man.get_filename(), text))
}

/// The examples, up to the first empty line, and what is said after them.
fn after_help(text: &str) -> Roff {
    let (examples, notes) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in examples.lines().skip(1) {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
    }
    for (n, paragraph) in notes.split("\n\n").enumerate() {
        if n > 0 {
            roff.control("PP", []);
        }
        // The rows of a table stay lines.
        let is_table = paragraph.contains("\n  ");
        if is_table {
            roff.control("nf", []);
        }
        roff.text([roman(paragraph.trim_end())]);
        if is_table {
            roff.control("fi", []);
        }
    }
    roff
}

/// Writes a file under another name first: a page is whole, or the old one.
fn write_whole(dir: &Path, name: &str, text: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let part = dir.join(format!("{name}.{}.part", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&part)
        .and_then(|mut file| file.write_all(text))
        .and_then(|()| fs::rename(&part, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        Error::from(error).context(format!("writing {}", path.display()))
    })
}
