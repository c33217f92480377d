//! Listening sockets: an address, or, with `http.net: unix`, a file for a proxy on the same machine.

use crate::listen::{self, Listen};
use registry_listener::Listener;
use std::{
    fmt, fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Tcp(Listen),
    Unix(PathBuf),
}

/// Socket that accepts connections.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixSocket),
}

impl Socket {
    /// Starts to listen.
    pub(crate) async fn bind(&self) -> Result<Bound, String> {
        match self {
            Self::Tcp(address) => {
                let bound = async {
                    let listener = listen::bind(address).await?;
                    let address = listener.local_addr()?;
                    Ok(Bound::Tcp(listener, address))
                };
                bound.await.map_err(|error: io::Error| {
                    format!("cannot listen on {address}: {error}; set another address or port with `http.addr` or --addr")
                })
            }
            Self::Unix(path) => UnixSocket::bind(path).map(Bound::Unix).map_err(|error| {
                format!("cannot listen on {self}: {error}; set another path with `http.addr`")
            }),
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Bound {
    /// Returns the address, if the socket is not a file.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Returns the URL of the socket.
    pub(crate) fn url(&self, scheme: &str) -> String {
        match self {
            Self::Tcp(_, address) => format!("{scheme}://{address}"),
            Self::Unix(socket) => format!("unix:{}", socket.path.display()),
        }
    }
}

/// Listener on a file, which is removed when the listener is dropped.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, as another process may have replaced the file.
    file: (u64, u64),
}

impl UnixSocket {
    /// Creates the file, replacing one that a killed process left behind.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                make_way(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        Ok(Self {
            listener,
            path: path.to_path_buf(),
            file: file(path)?,
        })
    }
}

impl Listener for UnixSocket {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, SocketAddr)> {
        Listener::accept(&mut self.listener).await
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if file(&self.path).is_ok_and(|there| there == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "the socket stays");
        }
    }
}

fn file(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Removes a socket on which no process listens.
fn make_way(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "a file that is not a socket exists",
        ));
    }
    if is_listened_on(path)? {
        return Err(io::Error::new(
            ErrorKind::AddrInUse,
            "another process listens there",
        ));
    }
    tracing::info!(path = %path.display(), "replacing a socket on which no process listens any more");
    fs::remove_file(path)
}

/// Returns true if a process listens on the socket. Does not block, as the queue of a busy process may be full.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&socket2::SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        connected => connected.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream as Client;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.sock");
        // Dropped without being removed, as by `kill -9`.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

        let mut bound = UnixSocket::bind(&path).unwrap();
        let refused = UnixSocket::bind(&path).unwrap_err();

        assert_eq!(refused.to_string(), "another process listens there");
        let _client = Client::connect(&path).unwrap();
        let (_, peer) = bound.accept().await.unwrap();
        assert!(peer.ip().is_loopback());
    }

    #[tokio::test]
    async fn a_socket_goes_with_its_listener_and_another_one_of_its_name_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.sock");
        drop(UnixSocket::bind(&path).unwrap());
        assert!(!path.exists());

        let first = UnixSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = UnixSocket::bind(&path).unwrap();
        drop(first);

        Client::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        fs::write(&path, "keep").unwrap();

        let refused = UnixSocket::bind(&path).unwrap_err();

        assert_eq!(refused.to_string(), "a file that is not a socket exists");
        assert_eq!(fs::read(&path).unwrap(), b"keep");
    }
}
