//! Where files go and what they are called.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::fetch::Downloader;
use crate::fetch::place::{NAMELESS, components};
use crate::fetch::template::NameTemplate;

/// What to do where a file of the name is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Existing {
    /// Save beside it, under the next free number: `photo.1.jpg`.
    #[default]
    Number,
    /// Replace it, when the new one is whole. Two URLs of one run never replace each
    /// other: the second is numbered.
    Overwrite,
    /// Leave it alone and count the URL as done. Nothing is asked of the server if the
    /// URL alone tells the name.
    Skip,
    /// Leave it alone and count the URL as failed, with
    /// [`FailureKind::Exists`](crate::fetch::FailureKind::Exists). Two URLs of one run that have
    /// one name are numbered all the same.
    Fail,
}

/// How files are named.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    pub(crate) dir: PathBuf,
    /// May have folders in front; each part is safe.
    pub(crate) out_name: Option<String>,
    pub(crate) existing: Existing,
    /// `None`: yes, unless the layout is a tree.
    pub(crate) content_disposition: Option<bool>,
    pub(crate) trust_server_names: bool,
    pub(crate) template: Option<NameTemplate>,
    pub(crate) tree: Option<Tree>,
    pub(crate) portable: bool,
    pub(crate) any_dir: bool,
    /// Whether a file that is proven to be the one asked for counts as done.
    pub(crate) continuing: bool,
    /// Whether a file that is there is replaced if the server's is another one.
    pub(crate) newer: bool,
    /// `None`: if `newer` is set.
    pub(crate) remote_time: Option<bool>,
    /// The day of the run, once it was asked for.
    pub(crate) date: OnceLock<String>,
}

/// The layout of a tree: folders as in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) protocols: bool,
    pub(crate) hosts: bool,
    /// Folders of the path that are left out, from the left.
    pub(crate) cut: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            protocols: false,
            hosts: true,
            cut: 0,
        }
    }
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("."),
            out_name: None,
            existing: Existing::default(),
            content_disposition: None,
            trust_server_names: false,
            template: None,
            tree: None,
            portable: false,
            any_dir: false,
            continuing: false,
            newer: false,
            remote_time: None,
            date: OnceLock::new(),
        }
    }
}

impl Naming {
    pub(crate) fn uses_disposition(&self) -> bool {
        self.content_disposition
            .unwrap_or_else(|| self.tree.is_none())
    }

    pub(crate) fn sets_remote_time(&self) -> bool {
        self.remote_time.unwrap_or(self.newer)
    }
}

impl Downloader {
    /// The folder to save to; created if need be. Default: the current one.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.naming.dir = dir.into();
        self
    }

    /// The name to save under, instead of the server's or the URL's. Made safe as those
    /// are; with several URLs the others are numbered.
    ///
    /// It may have folders in front, `sub/name`, which are made below the folder of the
    /// run; `..` and a leading `/` are left out.
    pub fn out_name(mut self, name: &str) -> Self {
        let mut path = components(name);
        if path.is_empty() {
            path.push(NAMELESS.to_owned());
        }
        self.settings.naming.out_name = Some(path.join("/"));
        self
    }

    /// What to do where a file of the name is there. Default: [`Existing::Number`].
    pub fn existing(mut self, existing: Existing) -> Self {
        self.settings.naming.existing = existing;
        self
    }

    /// Whether the name that a server suggests (`Content-Disposition`) is taken, rather
    /// than the URL's. Default: yes, except with [`tree`](Self::tree), whose names a later
    /// run should find again.
    pub fn content_disposition(mut self, take: bool) -> Self {
        self.settings.naming.content_disposition = Some(take);
        self
    }

    /// Whether names come from the URL that redirects led to, rather than from the one
    /// that was given. Default: no, so that a server does not choose them.
    pub fn trust_server_names(mut self, trust: bool) -> Self {
        self.settings.naming.trust_server_names = trust;
        self
    }

    /// Names files by a pattern. A name given with [`out_name`](Self::out_name), or in a
    /// list, comes first.
    pub fn name_template(mut self, template: NameTemplate) -> Self {
        self.settings.naming.template = Some(template);
        self
    }

    /// Whether files are saved in folders as in their URLs, `HOST/a/b/name`, as `wget -x`
    /// does: `HOST:PORT` if the URL has a port, and `name?query`. Default: no.
    pub fn tree(mut self, tree: bool) -> Self {
        self.settings.naming.tree = tree.then(Tree::default);
        self
    }

    /// Whether a [`tree`](Self::tree) has a folder per host; makes it one. Default: yes.
    pub fn tree_hosts(mut self, hosts: bool) -> Self {
        self.settings.naming.tree.get_or_insert_default().hosts = hosts;
        self
    }

    /// Whether a [`tree`](Self::tree) has `http` and `https` on top; makes it one.
    /// Default: no.
    pub fn tree_protocols(mut self, protocols: bool) -> Self {
        self.settings.naming.tree.get_or_insert_default().protocols = protocols;
        self
    }

    /// How many of the path's folders a [`tree`](Self::tree) leaves out, from the left;
    /// makes it one. Default: 0.
    pub fn tree_cut(mut self, folders: usize) -> Self {
        self.settings.naming.tree.get_or_insert_default().cut = folders;
        self
    }

    /// Whether names are such that Windows takes them too: without `"*:<>?|`, dots and
    /// spaces at the end, and device names such as `nul`. Default: no.
    pub fn portable_names(mut self, portable: bool) -> Self {
        self.settings.naming.portable = portable;
        self
    }

    /// Whether an entry's own `dir` may lead anywhere. Default: no: it is a folder below
    /// the one of the run, and an entry whose `dir` leads elsewhere fails, for a list may
    /// be a stranger's.
    pub fn allow_any_dir(mut self, allow: bool) -> Self {
        self.settings.naming.any_dir = allow;
        self
    }
}
