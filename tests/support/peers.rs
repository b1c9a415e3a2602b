//! Programs of others that tests talk to, where they are installed.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Names folders, separated as in `PATH`, with peers that are not installed as packages.
const FOLDERS: &str = "GREENLOOP_PEERS";
/// Names a file in which the peers that ran are noted, a line each; for `.ci/run`.
const LOG: &str = "GREENLOOP_PEERS_LOG";
/// Where servers stand, which the `PATH` of plain users may lack.
const SYSTEM_FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Where `.ci/run` unpacks what cannot be installed beside another package.
const UNPACKED: &[&str] = &["target/peers/usr/sbin", "target/peers/usr/bin"];

/// Where the program `name` is; says that the test skips it where it is not installed.
#[expect(
    clippy::print_stdout,
    reason = "who reads the tests' output wants to know"
)]
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let found = find(name);
    match &found {
        Some(_) => note(name),
        None => println!("skipped: {name} is not installed"),
    }
    found
}

fn find(name: &str) -> Option<PathBuf> {
    folders()
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

fn note(name: &str) {
    let log = std::env::var_os(LOG).and_then(|log| OpenOptions::new().append(true).open(log).ok());
    let _ = log.map(|mut log| log.write_all(format!("{name}\n").as_bytes()));
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let listed = |name| std::env::var_os(name).unwrap_or_default();
    let split = |list: OsString| std::env::split_paths(&list).collect::<Vec<_>>();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    split(listed("PATH"))
        .into_iter()
        .chain(split(listed(FOLDERS)))
        .filter(|folder| !folder.as_os_str().is_empty())
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .chain(UNPACKED.iter().map(|folder| package.join(folder)))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[test]
fn peers_are_found_where_the_path_lacks_them() {
    assert!(find("sh").is_some_and(|path| path.is_absolute()));
    assert_eq!(find("no-such-program"), None);
}
