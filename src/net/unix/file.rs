//! The file that a Unix socket is bound to: replaced if nobody is behind it any more, and
//! removed with its socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use socket2::{Domain, Socket};

use crate::net::unix::addr::UnixAddr;

/// A socket's file, as long as it is that socket's; the drop removes it.
#[derive(Debug)]
pub(in crate::net) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another socket may have taken the name meanwhile.
    identity: (u64, u64),
}

/// Binds `socket` to `addr`, whose file gets the permissions `mode` if given.
///
/// A file that a socket has left behind is replaced. (These are calls of microseconds on a
/// local file system, so they are made where the caller is.)
///
/// # Errors
/// `AddrInUse` if somebody is behind it, or it is no socket; what the system reports.
pub(in crate::net) fn bind(
    socket: &Socket,
    addr: &UnixAddr,
    mode: Option<u32>,
) -> io::Result<Option<SocketFile>> {
    let name = addr.to_sockaddr()?;
    let bound = socket.bind(&name);
    match (addr.path(), bound) {
        (Some(path), Err(e)) if e.kind() == io::ErrorKind::AddrInUse => {
            replace(socket, addr, path)?;
        }
        (_, bound) => bound?,
    }
    let Some(path) = addr.path() else {
        return Ok(None);
    };
    let file = SocketFile::of(path)?;
    if let Some(mode) = mode {
        // Before it listens, so nobody has connected under other permissions.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(Some(file))
}

/// Binds where a file is, if nobody is behind that any more.
fn replace(socket: &Socket, addr: &UnixAddr, path: &Path) -> io::Result<()> {
    let in_use = || Err(rustix::io::Errno::ADDRINUSE.into());
    // Two servers that find the same dead file must not remove each other's new one. Who
    // has locked the folder is about to take the name.
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        return in_use();
    }
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket || !is_abandoned(socket, addr)? {
        return in_use();
    }
    fs::remove_file(path)?;
    socket.bind(&addr.to_sockaddr()?)
}

/// Tells whether no socket is bound to the file, by asking it.
fn is_abandoned(socket: &Socket, addr: &UnixAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, socket.r#type()?, None)?;
    // A full queue would wait.
    probe.set_nonblocking(true)?;
    let answer = probe.connect(&addr.to_sockaddr()?);
    Ok(answer.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused))
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }

    /// Leaves the file to whoever has the socket now.
    pub(in crate::net) fn keep(self) {
        std::mem::forget(self);
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // It may have been removed just now.
            let _ = fs::remove_file(&self.path);
        }
    }
}
