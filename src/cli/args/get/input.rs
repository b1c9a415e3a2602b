//! What is downloaded.

use crate::fetch::ListFormat;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// What to download
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Read what to download from a list; `-` is standard input; may be given more than once
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input_file: Vec<PathBuf>,

    /// How the lists are written; each may be gzipped
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    pub(crate) input_format: FormatArg,

    /// Take {a,b}, [01-20] and [a-z] in URLs, also those of lists, for many URLs; `#1` in --out
    /// is what the first one stands for
    #[arg(long, value_name = "BOOL", visible_alias = "parameterized-uri")]
    pub(crate) glob: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// By the first line
    Auto,
    /// A URL a line, `#` comments
    Urls,
    /// A URL a line, mirrors after TABs; indented KEY=VALUE lines below it: out, dir,
    /// checksum, header, referer, user-agent
    Aria2,
    /// A JSON object a line: url, mirrors, out, dir, checksum, headers, referer, size
    Jsonl,
    /// HASH  URL a line
    Sha256sums,
    /// Metalink 4 or 3
    Metalink,
}

impl From<FormatArg> for ListFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Auto => Self::Auto,
            FormatArg::Urls => Self::Urls,
            FormatArg::Aria2 => Self::Aria2,
            FormatArg::Jsonl => Self::JsonLines,
            FormatArg::Sha256sums => Self::Checksums,
            FormatArg::Metalink => Self::Metalink,
        }
    }
}
