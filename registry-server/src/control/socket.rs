//! [`ControlSocket`]: the Unix socket of a server beside its storage.
//!
//! A volume need not be able to hold sockets (some network file systems, Docker Desktop). The socket is then in a private
//! directory elsewhere. The lock file of the storage names it either way.

use crate::socket::UnixSocket;
use axum::http::Extensions;
use registry_listener::{Established, Handshake, Listener};
use registry_storage_fs::FsStorage;
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{DirBuilder, File, Permissions},
    io,
    net::SocketAddr,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{DirBuilderExt as _, PermissionsExt as _},
            net,
        },
    },
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::net::UnixStream;

/// Socket on which a server takes commands. Dropping it removes the file, and its name from the lock file.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    // Dropped in this order: the file is removed by a path in the directory.
    listener: UnixSocket,
    _reached: ShortPath,
    _elsewhere: Option<TempDir>,
    path: PathBuf,
    storage: FsStorage,
}

impl ControlSocket {
    /// Listens beside a storage, or else below `elsewhere`. Returns `None` if the storage is read-only.
    ///
    /// The process owns the storage, so that a socket in its place is one that a killed process left behind.
    pub(crate) fn bind(storage: &FsStorage, elsewhere: Option<&Path>) -> Result<Option<Self>, String> {
        let Some(path) = storage.control_socket() else {
            return Ok(None);
        };
        let failed = |path: &Path, error: io::Error| format!("cannot listen on {}: {error}", path.display());
        let beside = match bind_beside(&path) {
            Ok((listener, reached)) => return Self::name(storage, path, listener, reached, None).map(Some),
            Err(error) => failed(&path, error),
        };
        let Some(elsewhere) = elsewhere else {
            return Err(beside);
        };
        match bind_below(elsewhere) {
            Ok((listener, reached, directory, path)) => {
                tracing::debug!("{beside}; listening on {} instead", path.display());
                Self::name(storage, path, listener, reached, Some(directory)).map(Some)
            }
            Err(error) => Err(format!("{beside}; {}", failed(elsewhere, error))),
        }
    }

    /// Names the socket in the lock file: `path` below the storage, or an absolute path.
    fn name(
        storage: &FsStorage,
        path: PathBuf,
        listener: UnixSocket,
        reached: ShortPath,
        elsewhere: Option<TempDir>,
    ) -> Result<Self, String> {
        let named = storage.name_socket(Some(&path));
        named.map_err(|error| format!("cannot name {} in the lock file: {error}", path.display()))?;
        Ok(Self {
            listener,
            _reached: reached,
            _elsewhere: elsewhere,
            path,
            storage: storage.clone(),
        })
    }

    /// Returns the path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A name that stays leads nowhere, and commands see that.
        if let Err(error) = self.storage.name_socket(None) {
            tracing::debug!(%error, "the lock file still names the control socket");
        }
    }
}

impl Listener for ControlSocket {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, SocketAddr)> {
        self.listener.accept().await
    }
}

/// Listens in a directory beside the storage, which only this user can enter.
fn bind_beside(path: &Path) -> io::Result<(UnixSocket, ShortPath)> {
    let directory = path.parent().unwrap_or(path);
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Not the target of a link, which may be any directory.
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = File::from(rustix::fs::open(directory, flags, Mode::empty())?);
            directory.set_permissions(Permissions::from_mode(0o700))?;
        }
        made => made?,
    }
    let reached = ShortPath::to(path)?;
    Ok((UnixSocket::bind(reached.as_path())?, reached))
}

/// Listens in a new directory below another one.
fn bind_below(elsewhere: &Path) -> io::Result<(UnixSocket, ShortPath, TempDir, PathBuf)> {
    let elsewhere = std::path::absolute(elsewhere)?;
    let directory = tempfile::Builder::new()
        .prefix("registry-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(elsewhere)?;
    let path = directory.path().join("socket");
    let reached = ShortPath::to(&path)?;
    Ok((UnixSocket::bind(reached.as_path())?, reached, directory, path))
}

/// Path of a socket that the system accepts, although the real one may be longer than it allows (107 bytes).
#[derive(Debug)]
pub(super) struct ShortPath {
    path: PathBuf,
    /// Directory of the socket, by whose descriptor it is reached.
    _directory: Option<File>,
}

impl ShortPath {
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        if net::SocketAddr::from_pathname(path).is_ok() {
            return Ok(Self {
                path: path.to_path_buf(),
                _directory: None,
            });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let directory = File::open(parent)?;
        Ok(Self {
            path: Path::new("/proc/self/fd")
                .join(directory.as_raw_fd().to_string())
                .join(name),
            _directory: Some(directory),
        })
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}

/// Checks who connects, and tells each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peers {
    /// User of this process.
    user: u32,
}

/// Id of the user who connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) u32);

impl Peers {
    /// Accepts the user of this process, and root.
    pub(super) fn of_this_process() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
        }
    }

    const fn admit(self, user: u32) -> bool {
        is_admitted(user, self.user)
    }
}

/// Returns true if a user may run commands on a server of the user `server`.
pub(super) const fn is_admitted(user: u32, server: u32) -> bool {
    user == server || user == 0
}

impl Handshake<UnixStream> for Peers {
    type Io = UnixStream;

    async fn handshake(&self, io: UnixStream, _: SocketAddr) -> io::Result<Established<UnixStream>> {
        let user = io.peer_cred()?.uid();
        if !self.admit(user) {
            tracing::warn!(user, "refusing a command of a user who does not own this server");
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut extensions = Extensions::new();
        extensions.insert(Peer(user));
        Ok(Established::new(io).with_extensions(extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_storage_fs::OwnerRecord;
    use std::{fs, os::unix::fs::MetadataExt as _};

    fn named(root: &Path) -> Option<PathBuf> {
        OwnerRecord::read(root).unwrap().unwrap().socket
    }

    #[tokio::test]
    async fn the_socket_is_beside_the_storage_and_private_and_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let storage = FsStorage::open(root).unwrap();
        let path = root.join("docker/registry/v2/_control/socket");

        for _again in 0..2 {
            let mut socket = ControlSocket::bind(&storage, None).unwrap().unwrap();

            assert_eq!(named(root).as_deref(), Some(&*path));
            let private = fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777;
            assert_eq!(private, 0o700);
            let _client = UnixStream::connect(&path).await.unwrap();
            socket.accept().await.unwrap();

            drop(socket);
            assert!(!path.exists());
            assert_eq!(named(root), None);
        }
    }

    #[tokio::test]
    async fn a_long_path_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("long".repeat(50));
        let storage = FsStorage::open(&root).unwrap();

        let mut socket = ControlSocket::bind(&storage, None).unwrap().unwrap();

        let path = named(&root).unwrap();
        let reached = ShortPath::to(&path).unwrap();
        let _client = UnixStream::connect(reached.as_path()).await.unwrap();
        socket.accept().await.unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_volume_without_sockets_gets_one_elsewhere() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = directory.path();
        let storage = FsStorage::open(root).unwrap();
        // No directory can be created there.
        fs::write(root.join("docker/registry/v2/_control"), "").unwrap();

        let refused = ControlSocket::bind(&storage, None).unwrap_err();
        assert!(refused.contains("_control/socket"), "{refused}");

        let socket = ControlSocket::bind(&storage, Some(elsewhere.path()))
            .unwrap()
            .unwrap();
        let path = named(root).unwrap();
        assert!(path.starts_with(elsewhere.path()));
        assert_eq!(socket.path(), path);
        UnixStream::connect(&path).await.unwrap();
        drop(socket);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_link_in_place_of_its_directory_is_not_followed() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let storage = FsStorage::open(directory.path()).unwrap();
        fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
        let link = directory.path().join("docker/registry/v2/_control");
        std::os::unix::fs::symlink(elsewhere.path(), link).unwrap();

        ControlSocket::bind(&storage, None).unwrap_err();

        let mode = fs::metadata(elsewhere.path()).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o755);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_socket_of_a_killed_server_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(directory.path()).unwrap();
        let path = storage.control_socket().unwrap();
        fs::create_dir(path.parent().unwrap()).unwrap();
        drop(net::UnixListener::bind(&path).unwrap());

        let _socket = ControlSocket::bind(&storage, None).unwrap().unwrap();

        UnixStream::connect(&path).await.unwrap();
    }

    #[test]
    fn a_reader_takes_no_commands() {
        let directory = tempfile::tempdir().unwrap();
        let reader = FsStorage::options().read_only().open(directory.path()).unwrap();

        assert!(ControlSocket::bind(&reader, None).unwrap().is_none());
    }

    #[test]
    fn others_than_the_owner_and_root_are_refused() {
        let peers = Peers { user: 1000 };
        for (user, admitted) in [(1000, true), (0, true), (1001, false), (65534, false)] {
            assert_eq!(peers.admit(user), admitted, "{user}");
        }
    }
}
