//! Names of Unix sockets: a path, an abstract name, or none (unix(7)).

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::SockAddr;

use crate::error::{Error, Result};
use crate::util::escape;

/// Where a Unix socket is bound.
///
/// Written as a path, or as `@NAME` for a name in the abstract namespace, which has no
/// file and vanishes with its socket (Linux).
///
/// # Examples
///
/// ```
/// use greenloop::net::UnixAddr;
/// use std::path::Path;
///
/// let address: UnixAddr = "/run/app.sock".parse()?;
/// assert_eq!(address.path(), Some(Path::new("/run/app.sock")));
/// let address: UnixAddr = "@app".parse()?;
/// assert_eq!((address.to_string().as_str(), address.path()), ("@app", None));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the path that `gevent.socket.socket(AF_UNIX)` is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnixAddr {
    /// A file of the type socket.
    Path(PathBuf),
    /// A name in the abstract namespace, without the zero byte that the system puts first.
    Abstract(Vec<u8>),
    /// None: a client that did not bind.
    Unnamed,
}

impl UnixAddr {
    /// The file, if it has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) | Self::Unnamed => None,
        }
    }

    /// The system's form.
    ///
    /// # Errors
    /// The name is too long: the system has room for 107 bytes.
    pub(crate) fn to_sockaddr(&self) -> io::Result<SockAddr> {
        let built = match self {
            Self::Path(path) => SockAddr::unix(path),
            Self::Abstract(name) => {
                let mut bytes = vec![0];
                bytes.extend_from_slice(name);
                SockAddr::unix(OsStr::from_bytes(&bytes))
            }
            Self::Unnamed => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        built.map_err(|_| io::Error::other(format!("longer than {NAME_BYTES_MAX} bytes")))
    }

    pub(crate) fn from_sockaddr(addr: &SockAddr) -> Self {
        if let Some(path) = addr.as_pathname() {
            Self::Path(path.to_owned())
        } else if let Some(name) = addr.as_abstract_namespace() {
            Self::Abstract(name.to_owned())
        } else {
            Self::Unnamed
        }
    }
}

impl From<&Path> for UnixAddr {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<&Self> for UnixAddr {
    fn from(addr: &Self) -> Self {
        addr.clone()
    }
}

impl FromStr for UnixAddr {
    type Err = Error;

    /// Reads a path or `@NAME`.
    ///
    /// # Errors
    /// It is empty, or has a zero byte in it.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what| {
            Err(Error::message(format!(
                "\"{}\" {what}",
                escape(text.as_bytes())
            )))
        };
        match text.strip_prefix('@') {
            _ if text.contains('\0') => wrong("has a zero byte in it"),
            Some("") => wrong("has no name after @"),
            Some(name) => Ok(Self::Abstract(name.into())),
            None if text.is_empty() => wrong("is no path of a socket"),
            None => Ok(Self::Path(std::ffi::OsString::from_vec(text.into()).into())),
        }
    }
}

/// Escaped, as a client's own name may be anything; empty for none.
impl fmt::Display for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(&escape(path.as_os_str().as_bytes())),
            Self::Abstract(name) => write!(f, "@{}", escape(name)),
            Self::Unnamed => Ok(()),
        }
    }
}

/// The kernel's `sun_path` has 108 bytes, the last of them zero.
const NAME_BYTES_MAX: usize = 107;
