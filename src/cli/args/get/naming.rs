//! Where files go and what they are called.

use crate::cli::units;
use crate::fetch::{Downloader, Existing, NameTemplate};
use clap::{Args, ValueEnum};
use std::path::{Component, Path, PathBuf};

#[derive(Debug, Args)]
#[command(next_help_heading = "Names and places")]
pub(crate) struct NamingArgs {
    /// Save into this folder, made if missing
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = ".",
        visible_alias = "output-dir",
        alias = "directory-prefix",
        visible_short_alias = 'P'
    )]
    pub(crate) dir: PathBuf,

    /// Save the one URL under this name, which may have folders below --dir in front
    #[arg(short, long, value_name = "NAME", value_parser = out_name)]
    pub(crate) out: Option<String>,

    /// What to do where a file of the name is there already
    #[arg(long, value_enum, value_name = "HOW", default_value = "number")]
    pub(crate) existing: ExistingArg,

    /// Replace files that are there; --existing overwrite
    #[arg(
        long,
        visible_alias = "overwrite",
        value_name = "BOOL",
        conflicts_with = "existing"
    )]
    pub(crate) allow_overwrite: Option<bool>,

    /// Number new files where one is there; false: --existing fail
    #[arg(long, value_name = "BOOL", conflicts_with = "existing")]
    pub(crate) auto_file_renaming: Option<bool>,

    /// Leave files that are there, as done; --existing skip
    #[arg(long, visible_alias = "skip-existing", conflicts_with_all = ["existing", "allow_overwrite"])]
    pub(crate) no_clobber: bool,

    /// Count a file that is there as done if it is proven to be the one asked for: by its
    /// checksum, by the journal, or by size and date; others stay untouched
    #[arg(short, long = "continue", value_name = "BOOL")]
    pub(crate) continuing: Option<bool>,

    /// Replace a file that is there if the server has a newer one, asking without a body
    #[arg(short = 'N', long, visible_aliases = ["timestamping", "conditional-get"],
        value_name = "BOOL", conflicts_with_all = ["existing", "allow_overwrite", "no_clobber"])]
    pub(crate) newer: Option<bool>,

    /// Give files the server's date of change [default: yes with --newer]
    #[arg(short = 'R', long, value_name = "BOOL")]
    pub(crate) remote_time: Option<bool>,

    /// Take the name that the server suggests [default: yes, without --tree]
    #[arg(long, value_name = "BOOL", overrides_with = "no_content_disposition")]
    pub(crate) content_disposition: Option<bool>,

    /// As --content-disposition=false
    #[arg(long, hide = true)]
    pub(crate) no_content_disposition: bool,

    /// Take names from the URL that redirects led to
    #[arg(long, value_name = "BOOL")]
    pub(crate) trust_server_names: Option<bool>,

    /// Name files by a pattern, as {host}/{path}/{id:4}-{name}; there are name, stem, ext,
    /// scheme, host, path, query, id, line, date
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["out", "tree"])]
    pub(crate) name_template: Option<NameTemplate>,

    /// Save in folders as in the URL: HOST/a/b/name?query
    #[arg(long, visible_alias = "force-directories")]
    pub(crate) tree: bool,

    /// Leave the host's folder out of the tree
    #[arg(long, requires = "tree")]
    pub(crate) no_host_directories: bool,

    /// Leave so many of the path's folders out of the tree
    #[arg(long, value_name = "N", default_value = "0", requires = "tree",
        value_parser = units::any_count)]
    pub(crate) cut_dirs: usize,

    /// Put a folder http or https on top of the tree
    #[arg(long, requires = "tree")]
    pub(crate) protocol_directories: bool,

    /// Which names are possible: windows also leaves out "*:<>?|, dots at the end and device
    /// names
    #[arg(long, value_enum, value_name = "SYSTEM", default_value = "unix")]
    pub(crate) restrict_file_names: SystemArg,

    /// Let dir= in a list lead out of --dir
    #[arg(long)]
    pub(crate) allow_any_dir: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExistingArg {
    /// Save beside it: photo.1.jpg
    Number,
    /// Replace it when the new one is whole
    Overwrite,
    /// Leave it and count the URL as done
    Skip,
    /// Leave it and count the URL as failed
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SystemArg {
    /// Whatever can be created here
    Unix,
    /// What Windows and its file systems take too
    Windows,
}

impl NamingArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        let mut downloader = downloader
            .dir(&self.dir)
            .existing(self.existing())
            .portable_names(self.restrict_file_names == SystemArg::Windows)
            .allow_any_dir(self.allow_any_dir)
            .trust_server_names(self.trust_server_names == Some(true))
            .continuing(self.continuing == Some(true))
            .newer(self.newer == Some(true));
        if let Some(remote) = self.remote_time {
            downloader = downloader.remote_time(remote);
        }
        let no_disposition = self.no_content_disposition.then_some(false);
        if let Some(take) = self.content_disposition.or(no_disposition) {
            downloader = downloader.content_disposition(take);
        }
        if let Some(template) = &self.name_template {
            downloader = downloader.name_template(template.clone());
        }
        match self.tree {
            false => downloader,
            true => downloader
                .tree_hosts(!self.no_host_directories)
                .tree_protocols(self.protocol_directories)
                .tree_cut(self.cut_dirs),
        }
    }

    fn existing(&self) -> Existing {
        match self.existing {
            _ if self.no_clobber => Existing::Skip,
            _ if self.allow_overwrite == Some(true) => Existing::Overwrite,
            ExistingArg::Number if self.auto_file_renaming == Some(false) => Existing::Fail,
            ExistingArg::Number => Existing::Number,
            ExistingArg::Overwrite => Existing::Overwrite,
            ExistingArg::Skip => Existing::Skip,
            ExistingArg::Fail => Existing::Fail,
        }
    }
}

/// A name below the folder. The library would make one of anything; who types one is told.
fn out_name(text: &str) -> Result<String, String> {
    let mut parts = Path::new(text).components();
    let is_below = parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match is_below && Path::new(text).file_name().is_some() {
        true => Ok(text.to_owned()),
        false => Err("not the name of a file below --dir, which gives the folder".to_owned()),
    }
}
