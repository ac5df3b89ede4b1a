//! Sockets in the run folder, whose path may be longer than the 108 bytes that a socket address holds: such a one
//! is reached through `/proc/self/fd/<folder>`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The control line.
pub(crate) const CONTROL: &str = "control.sock";
/// Where programs report readiness.
pub(crate) const NOTIFY: &str = "notify.sock";

/// Bytes of a path in a socket address, the closing NUL included.
const MAX_PATH: usize = 108;

/// The path to use for `name` in `folder`, and the folder's descriptor when the path leads through it.
fn reach(folder: &Path, name: &str) -> io::Result<(PathBuf, Option<File>)> {
    let path = folder.join(name);
    if path.as_os_str().len() < MAX_PATH {
        return Ok((path, None));
    }
    let open = File::open(folder)?;
    Ok((format!("/proc/self/fd/{}/{name}", open.as_raw_fd()).into(), Some(open)))
}

pub(crate) fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let (path, _open) = reach(folder, name)?;
    UnixStream::connect(path)
}

pub(crate) fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    let (path, _open) = reach(folder, name)?;
    remove_stale(&path)?;
    UnixListener::bind(path)
}

/// The datagram socket, and the address that children find in `NOTIFY_SOCKET`. They cannot reach a long path
/// through our descriptors, so for them the socket has an abstract name with `token` in it; who sends is checked
/// by credentials either way.
pub(crate) fn datagram(folder: &Path, name: &str, token: &str) -> io::Result<(UnixDatagram, String)> {
    use std::os::linux::net::SocketAddrExt;
    let folder = folder.canonicalize()?;
    let path = folder.join(name);
    if let Some(text) = path.to_str().filter(|text| text.len() < MAX_PATH) {
        remove_stale(&path)?;
        return Ok((UnixDatagram::bind(&path)?, text.to_owned()));
    }
    let abstract_name = format!("regie/{token}/{name}");
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name)?;
    Ok((UnixDatagram::bind_addr(&address)?, format!("@{abstract_name}")))
}

/// The lock says that nobody listens there any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
