//! What is shown meanwhile and at the end, and who else is told.

use crate::cli::units::{self, Limit};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct WatchArgs {
    /// Print errors only
    #[arg(short, long, conflicts_with_all = ["brief", "json"])]
    pub(crate) quiet: bool,

    /// Print `GET: URL` and `N bytes received from URL.`, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) brief: bool,

    /// Print events as JSON objects, one a line, instead of text; the keys are listed at the
    /// end of --help
    #[arg(long)]
    pub(crate) json: bool,

    /// Write how each URL and the whole ended into this file, as --json tells it; it is there
    /// when the run has ended, also after Ctrl-C, and FILE.part until then; a pipe or device is
    /// written to as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write what failed or was stopped under way into this file, with the options that lists
    /// and the command line have for it alone, as a list for --input-file. It begins with the
    /// command that reads it. Only its owner can read it: there may be passwords in it
    #[arg(long, value_name = "FILE")]
    pub(crate) save_session: Option<PathBuf>,

    /// Add to this file what happens, when and why: beginnings, retries, ends, and what -vv says
    #[arg(short, long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Say how things stand so often, where there are no bars; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::limit)]
    pub(crate) summary_interval: Limit,

    /// List so many of the slowest downloads at the end [default: 3, after 10 s or more]
    #[arg(long, value_name = "N", value_parser = units::any_count)]
    pub(crate) slowest: Option<usize>,

    /// Run this program for each URL that is there, with its path as last argument, or with
    /// {path}, {url}, {bytes}, {id}, {status} filled in where they stand; other words in
    /// braces are an error, unless after a $. No shell is used
    #[arg(long, value_name = "COMMAND", visible_alias = "on-complete")]
    pub(crate) on_download_complete: Option<String>,

    /// Run this program for each URL that failed, with the path of the part if one is left,
    /// or else the URL, or with the places filled in
    #[arg(long, value_name = "COMMAND", visible_alias = "on-error")]
    pub(crate) on_download_error: Option<String>,

    /// Kill such a program after so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::limit)]
    pub(crate) hook_timeout: Limit,
}
