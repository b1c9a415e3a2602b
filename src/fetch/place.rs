//! Where one file goes: the folders and the name, out of the options, the URL and the
//! answer. Pure.
//!
//! Who decides, first to last: the entry's own name, the run's name, the template, the
//! tree; else the name that the server suggests or the URL has, in no folder. The entry's
//! `dir` stands in front of all. Every folder and name is made safe by itself, so that a
//! place is below the folder of the run whatever the parts were; what symbolic links make
//! of that is for [`Folders`](super::folders::Folders).

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::Url;

use super::failure::{Failure, FailureKind};
use super::name::{component, decode, folders_of, from_disposition, from_url, harmless, portable};
use super::options::{Naming, Tree};
use super::template::Values;
use crate::util::escape;

/// Where one file goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Another folder to begin from than the run's: only with
    /// [`allow_any_dir`](super::Downloader::allow_any_dir).
    pub(crate) base: Option<PathBuf>,
    /// From there down.
    pub(crate) folders: Vec<String>,
    /// Wished for; a variant of it may be what is free.
    pub(crate) name: String,
}

/// What is known of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) url: &'a Url,
    pub(crate) id: u64,
    pub(crate) line: Option<u64>,
    /// Its own name and folder.
    pub(crate) out: Option<&'a str>,
    pub(crate) dir: Option<&'a Path>,
}

/// What an answer tells about the name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// The URL that answered, after redirects.
    pub(crate) url: &'a Url,
    pub(crate) disposition: Option<&'a [u8]>,
}

/// Folders in one place, at most: servers make up longer paths than people do.
const DEPTH_MAX: usize = 64;

/// What has no name of its own.
pub(crate) const NAMELESS: &str = "_";

impl Place {
    /// The place for what was asked, by as much as has been told: before the answer,
    /// nothing.
    ///
    /// # Errors
    /// The entry's own folder is outside the run's.
    pub(crate) fn of(
        naming: &Naming,
        asked: Asked<'_>,
        told: Option<Told<'_>>,
    ) -> Result<Self, Failure> {
        let mut place = Self::default();
        if let Some(dir) = asked.dir {
            place.enter(naming, dir)?;
        }
        let mut path = match asked.out.or(naming.out_name.as_deref()) {
            Some(out) => components(out),
            None => named(naming, asked, told),
        };
        place.name = path.pop().unwrap_or_else(|| NAMELESS.to_owned());
        place.folders.append(&mut path);
        place.folders.truncate(DEPTH_MAX);
        if naming.portable {
            place.name = portable(&place.name);
            for folder in &mut place.folders {
                *folder = portable(folder);
            }
        }
        Ok(place)
    }

    /// The folders and the name as one path.
    pub(crate) fn path(&self) -> PathBuf {
        let folders: PathBuf = self.folders.iter().collect();
        folders.join(&self.name)
    }

    /// Goes into an entry's own folder.
    fn enter(&mut self, naming: &Naming, dir: &Path) -> Result<(), Failure> {
        // The run's own folder, spelt out, is no way out of it.
        let absolute = |path: &Path| std::path::absolute(path).ok();
        let below = match (dir.is_absolute(), absolute(&naming.dir)) {
            (true, Some(root)) => dir.strip_prefix(root).ok(),
            (is_absolute, _) => Some(dir).filter(|_| !is_absolute),
        };
        let mut folders = Vec::new();
        let fits = below.is_some_and(|below| {
            below.components().all(|part| match part {
                Component::Normal(name) => {
                    folders.extend(component(&name.to_string_lossy()));
                    true
                }
                Component::CurDir => true,
                _ => false,
            })
        });
        if fits {
            self.folders = folders;
        } else if naming.any_dir {
            self.base = Some(naming.dir.join(dir));
        } else {
            let text = format!(
                "dir={}: leads out of the folder that is saved to (--allow-any-dir permits it)",
                escape(dir.as_os_str().as_encoded_bytes())
            );
            return Err(Failure::new(FailureKind::CannotCreate, text));
        }
        Ok(())
    }
}

/// The folders and the name that follow from the URL and the answer.
fn named(naming: &Naming, asked: Asked<'_>, told: Option<Told<'_>>) -> Vec<String> {
    let redirected = told.filter(|told| naming.trust_server_names && told.url != asked.url);
    let url = redirected.map_or(asked.url, |told| told.url);
    let suggested = told
        .and_then(|told| told.disposition)
        .filter(|_| naming.uses_disposition())
        .and_then(from_disposition);
    let is_suggested = suggested.is_some();
    let name = suggested.unwrap_or_else(|| match redirected {
        Some(_) => harmless(from_url(url)),
        None => from_url(url),
    });
    if let Some(template) = &naming.template {
        let values = Values {
            name: &name,
            scheme: url.scheme(),
            host: &host_of(url),
            path: &folders_of(url),
            query: &decode(url.query().unwrap_or_default()),
            date: naming.date.get_or_init(|| day_of(SystemTime::now())),
            id: asked.id,
            line: asked.line.unwrap_or(0),
        };
        return components(&template.expand(&values));
    }
    match naming.tree {
        Some(tree) => in_tree(tree, url, name, is_suggested),
        None => vec![name],
    }
}

fn in_tree(tree: Tree, url: &Url, name: String, is_suggested: bool) -> Vec<String> {
    let mut path = Vec::new();
    if tree.protocols {
        path.push(url.scheme().to_owned());
    }
    if tree.hosts {
        path.extend(component(&host_of(url)));
    }
    path.extend(folders_of(url).into_iter().skip(tree.cut));
    path.truncate(DEPTH_MAX);
    let query = url
        .query()
        .filter(|query| !query.is_empty() && !is_suggested);
    path.push(match query {
        None => name,
        Some(query) => {
            let query = decode(query).replace(['/', '\\'], "_");
            component(&format!("{name}?{query}")).unwrap_or(name)
        }
    });
    path
}

/// The host, with its port if the URL has one.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Takes a path apart and makes each part safe; what names nothing is left out.
pub(crate) fn components(path: &str) -> Vec<String> {
    path.split(['/', '\\']).filter_map(component).collect()
}

/// The day of a time, as `2026-12-31`, in UTC.
fn day_of(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let days = since.unwrap_or(Duration::ZERO).as_secs() / (24 * 60 * 60);
    // Years that begin in March have their leap day last; an era is 400 of them. From the
    // first of March of the year 0 to 1970 there are 719,468 days (H. Hinnant, "chrono-
    // Compatible Low-Level Date Algorithms").
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> Naming {
        Naming {
            dir: "/run".into(),
            ..Naming::default()
        }
    }

    fn asked(url: &Url) -> Asked<'_> {
        Asked {
            url,
            id: 7,
            line: Some(3),
            out: None,
            dir: None,
        }
    }

    fn path_of(place: &Place) -> String {
        let mut parts = place.folders.clone();
        parts.push(place.name.clone());
        parts.join("/")
    }

    /// Where `url` goes, before any answer.
    fn path(naming: &Naming, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        let place = Place::of(naming, asked(&url), None).unwrap();
        assert_eq!(place.base, None);
        path_of(&place)
    }

    #[test]
    fn trees_are_laid_out_as_their_urls() {
        let tree = |tree| Naming {
            tree: Some(tree),
            ..naming()
        };
        let plain = tree(Tree::default());
        for (url, expected) in [
            ("http://h/a/b/c.txt", "h/a/b/c.txt"),
            ("http://h:8080/a.txt", "h:8080/a.txt"),
            ("http://h:80/a.txt", "h/a.txt"),
            ("http://H./a.txt", "h/a.txt"),
            ("http://[::1]:81/a", "[::1]:81/a"),
            ("http://u:p@h/a", "h/a"),
            ("http://h", "h/index.html"),
            ("http://h/a/", "h/a/index.html"),
            ("http://h/a.php?x=1&y=%2f..%2f", "h/a.php?x=1&y=_.._"),
            ("http://h/a?", "h/a"),
            ("http://h/a//b", "h/a/b"),
            ("http://h/../../b", "h/b"),
            ("http://h/%2e%2e/%2e%2e%2fx/b", "h/.._x/b"),
            ("http://h/a%2fb/..%5c/c", "h/a_b/.._/c"),
            ("http://h/a%00%1b/c", "h/a__/c"),
            (
                "http://h/.greenloop.journal/x.part/c",
                "h/_greenloop.journal/x.part_/c",
            ),
        ] {
            assert_eq!(path(&plain, url), expected, "{url}");
        }
        let url = "https://h/a/b/c.txt";
        let default = Tree::default();
        for (layout, expected) in [
            (
                Tree {
                    hosts: false,
                    ..default
                },
                "a/b/c.txt",
            ),
            (Tree { cut: 1, ..default }, "h/b/c.txt"),
            (Tree { cut: 9, ..default }, "h/c.txt"),
            (
                Tree {
                    cut: 9,
                    hosts: false,
                    ..default
                },
                "c.txt",
            ),
            (
                Tree {
                    protocols: true,
                    ..default
                },
                "https/h/a/b/c.txt",
            ),
        ] {
            assert_eq!(path(&tree(layout), url), expected);
        }
        let deep = format!("http://h/{}x", "a/".repeat(1000));
        assert_eq!(path(&plain, &deep).matches('/').count(), DEPTH_MAX);
    }

    #[test]
    fn templates_make_folders_and_lead_nowhere_else() {
        for (template, expected) in [
            ("{host}/{path}/{id:3}-{name}", "h/a/b/007-c.txt"),
            ("{line}{ext}", "3.txt"),
            ("../{name}", "c.txt"),
            ("/etc/{name}", "etc/c.txt"),
            ("{query}/{name}", "q=_.._/c.txt"),
            ("x/", "x"),
            ("/", "_"),
            ("{stem}.part", "c.part_"),
        ] {
            let naming = Naming {
                template: Some(template.parse().unwrap()),
                ..naming()
            };
            let url = "http://h/a/b/c.txt?q=/../";
            assert_eq!(path(&naming, url), expected, "{template}");
        }
    }

    #[test]
    fn a_given_name_comes_first_and_stays_below() {
        let url = Url::parse("http://h/a/b.txt").unwrap();
        for (out, expected) in [
            ("x.bin", "x.bin"),
            ("sub/x.bin", "sub/x.bin"),
            ("../../x", "x"),
            ("/etc/passwd", "etc/passwd"),
            ("a\\..\\x", "a/x"),
            ("..", "_"),
            ("", "_"),
            ("a/./b", "a/b"),
            (".hidden", ".hidden"),
        ] {
            let run = Naming {
                out_name: Some(out.to_owned()),
                template: Some("{name}".parse().unwrap()),
                tree: Some(Tree::default()),
                ..naming()
            };
            assert_eq!(path(&run, "http://h/a/b.txt"), expected, "{out}");
            let entry = Asked {
                out: Some(out),
                ..asked(&url)
            };
            let run = Naming {
                out_name: Some("other".to_owned()),
                ..run
            };
            let place = Place::of(&run, entry, None).unwrap();
            assert_eq!(path_of(&place), expected, "{out}");
        }
    }

    #[test]
    fn the_folder_of_an_entry_is_below_the_one_of_the_run() {
        let url = Url::parse("http://h/f").unwrap();
        let place = |naming: &Naming, dir: &str| {
            let entry = Asked {
                dir: Some(Path::new(dir)),
                ..asked(&url)
            };
            Place::of(naming, entry, None)
        };
        for (dir, expected) in [
            ("sub", "sub/f"),
            ("./sub//x/", "sub/x/f"),
            ("/run/sub", "sub/f"),
            ("/run", "f"),
            ("", "f"),
        ] {
            let place = place(&naming(), dir).unwrap();
            assert_eq!(
                (place.base.clone(), path_of(&place)),
                (None, expected.into())
            );
        }
        let any = Naming {
            any_dir: true,
            ..naming()
        };
        for (dir, base) in [
            ("/etc", "/etc"),
            ("/runaway", "/runaway"),
            ("../x", "/run/../x"),
            ("a/../../x", "/run/a/../../x"),
            ("/run/../x", "/run/../x"),
        ] {
            let failure = place(&naming(), dir).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::CannotCreate, "{dir}");
            let place = place(&any, dir).unwrap();
            assert_eq!(
                (place.base.as_deref(), path_of(&place)),
                (Some(Path::new(base)), "f".into())
            );
        }
        // In a tree, the tree begins there.
        let tree = Naming {
            tree: Some(Tree::default()),
            ..naming()
        };
        assert_eq!(path_of(&place(&tree, "sub").unwrap()), "sub/h/f");
    }

    #[test]
    fn a_server_names_the_file_as_far_as_it_may() {
        let first = Url::parse("http://h/get?id=1").unwrap();
        let last = Url::parse("http://cdn/d/.x.bin").unwrap();
        let disposition = |name: Option<&'static str>| Told {
            url: &last,
            disposition: name.map(str::as_bytes),
        };
        let named = disposition(Some("attachment; filename=\"n.bin\""));
        let unnamed = disposition(None);
        let tree = Some(Tree::default());
        for (naming, told, expected) in [
            (naming(), named, "n.bin"),
            (naming(), unnamed, "get"),
            (
                Naming {
                    content_disposition: Some(false),
                    ..naming()
                },
                named,
                "get",
            ),
            (
                Naming {
                    trust_server_names: true,
                    ..naming()
                },
                named,
                "n.bin",
            ),
            (
                Naming {
                    trust_server_names: true,
                    ..naming()
                },
                unnamed,
                "_x.bin",
            ),
            (Naming { tree, ..naming() }, named, "h/get?id=1"),
            (
                Naming {
                    tree,
                    content_disposition: Some(true),
                    ..naming()
                },
                named,
                "h/n.bin",
            ),
            (
                Naming {
                    tree,
                    trust_server_names: true,
                    ..naming()
                },
                named,
                "cdn/d/_x.bin",
            ),
            (
                Naming {
                    portable: true,
                    tree,
                    ..naming()
                },
                unnamed,
                "h/get_id=1",
            ),
        ] {
            let place = Place::of(&naming, asked(&first), Some(told)).unwrap();
            assert_eq!(path_of(&place), expected, "{naming:?}");
        }
    }

    #[test]
    fn days_are_told() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_675_199, "2026-12-30"),
            (4_107_542_400, "2100-03-01"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(day_of(time), day);
        }
    }
}
