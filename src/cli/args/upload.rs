//! The arguments of `greenloop upload`.

use crate::cli::units::{self, Limit};
use clap::Args;
use std::ffi::OsString;

#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    // One list: the parser would take a lone FILE before an option for the address.
    /// Files to send, one after the other, and last the server: HOST:PORT, tcp://HOST:PORT or
    /// unix:PATH
    #[arg(value_name = "FILE", required = true, num_args = 1..)]
    pub(crate) files_and_address: Vec<OsString>,

    /// What the file shall be called there, instead of its own name; for one file
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Fail if the server takes nothing, or does not answer, for so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::limit)]
    pub(crate) timeout: Limit,
}
