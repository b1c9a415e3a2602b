//! The file that a Unix socket is bound to: replaced if nobody is behind it any more, and
//! removed with its socket.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::net::unix::addr::UnixAddr;

/// A socket's file, as long as it is that socket's; the drop removes it.
#[derive(Debug)]
pub(in crate::net) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another socket may have taken the name meanwhile.
    identity: (u64, u64),
}

/// Binds `socket` to `addr`, whose file gets the permissions `mode` if given, and has
/// `begin` make it one that answers.
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
    begin: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<Option<SocketFile>> {
    let name = addr.to_sockaddr()?;
    let Some(path) = addr.path() else {
        socket.bind(&name)?;
        begin(socket)?;
        return Ok(None);
    };
    // Until it answers: a socket that is bound and does not listen yet looks abandoned.
    let _claim = claim(path)?;
    match socket.bind(&name) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_abandoned(socket, &name, path)? => {
            fs::remove_file(path)?;
            socket.bind(&name)?;
        }
        bound => bound?,
    }
    let file = SocketFile::of(path)?;
    if let Some(mode) = mode {
        // Before it listens, so nobody has connected under other permissions.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    begin(socket)?;
    Ok(Some(file))
}

/// The right to take a name, while the result lives. Two servers that find the same dead
/// file must not remove each other's new one.
///
/// It is a name in the abstract namespace, which leaves nothing behind whatever happens. Who
/// has it is about to take the path, so nobody has to wait for it.
///
/// # Errors
/// `AddrInUse` if somebody else has it; the folder is not there.
fn claim(path: &Path) -> io::Result<Socket> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = fs::metadata(folder)?;
    let mut hash = DefaultHasher::new();
    (folder.dev(), folder.ino(), path.file_name()).hash(&mut hash);
    let name = UnixAddr::Abstract(format!("greenloop-claim-{:016x}", hash.finish()).into());
    let claim = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    claim.bind(&name.to_sockaddr()?)?;
    Ok(claim)
}

/// Tells whether the file is a socket's and none is bound to it, by asking.
fn is_abandoned(socket: &Socket, name: &SockAddr, path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        return Ok(false);
    }
    let probe = Socket::new(Domain::UNIX, socket.r#type()?, None)?;
    // A full queue would wait.
    probe.set_nonblocking(true)?;
    let answer = probe.connect(name);
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
