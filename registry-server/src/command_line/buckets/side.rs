//! [`Side`]: a directory or a bucket, from which or to which a registry is copied. Paths are those of a directory, below
//! `docker/registry/v2`.

use axum::body::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use registry_core::storage::{Result, StorageError};
use registry_storage_object::Objects;
use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::{fs::File, io::AsyncReadExt as _, task::spawn_blocking};

/// Directory of everything.
const TOP: &str = "docker/registry/v2";

/// Number of bytes that are read from a file at once.
const PIECE: usize = 1 << 20;

/// Content in pieces.
pub(super) type Content<'a> = BoxStream<'a, Result<Bytes>>;

/// A directory or a bucket.
pub(super) enum Side {
    Directory {
        /// The directory `docker/registry/v2`.
        top: PathBuf,
        staged: AtomicU64,
    },
    Bucket(Box<Objects>),
}

/// A path with the size of what is there.
pub(super) type Found = (String, u64);

impl Side {
    pub(super) fn directory(root: &Path) -> Self {
        Self::Directory {
            top: root.join(TOP),
            staged: AtomicU64::new(0),
        }
    }

    /// Returns true if there is nothing.
    pub(super) async fn is_empty(&self) -> Result<bool> {
        match self {
            Self::Directory { top, .. } => match fs::read_dir(top) {
                Ok(mut entries) => Ok(entries.next().is_none()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
                Err(error) => Err(failed("list", TOP, error)),
            },
            Self::Bucket(objects) => Ok(objects.list(TOP).try_next().await?.is_none()),
        }
    }

    /// Lists all files below a directory. A bucket has media types elsewhere, and histories and records in another form.
    pub(super) fn list(&self, directory: &str) -> BoxStream<'static, Result<Found>> {
        match self {
            Self::Directory { top, .. } => {
                let (top, start) = (top.clone(), top.join(directory));
                let listed = spawn_blocking(move || walk(&top, &start));
                let listed = async move {
                    let found = listed.await.map_err(|error| failed("list", "files", error))?;
                    found.map(|found| stream::iter(found.into_iter().map(Ok)))
                };
                stream::once(listed).try_flatten().boxed()
            }
            Self::Bucket(objects) => objects
                .list(&format!("{TOP}/{directory}"))
                .map_ok(|(key, size)| {
                    let path = key.strip_prefix(TOP).unwrap_or(&key).trim_start_matches('/');
                    (path.to_owned(), size)
                })
                .boxed(),
        }
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        match self {
            Self::Directory { top, .. } => match tokio::fs::read(top.join(path)).await {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("read", path, error)),
            },
            Self::Bucket(objects) => objects.read(&format!("{TOP}/{path}")).await,
        }
    }

    pub(super) async fn stream(&self, path: &str) -> Result<Option<Content<'static>>> {
        match self {
            Self::Directory { top, .. } => match File::open(top.join(path)).await {
                Ok(file) => Ok(Some(pieces(file, path.to_owned()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("read", path, error)),
            },
            Self::Bucket(objects) => objects.stream(&format!("{TOP}/{path}")).await,
        }
    }

    /// Writes something small, unless it is there.
    pub(super) async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        match self {
            Self::Directory { .. } => {
                if self.read(path).await?.is_some_and(|found| found == content) {
                    return Ok(());
                }
                let content = stream::iter([Ok(content)]).boxed();
                self.write_stream(path, 0, content).await
            }
            Self::Bucket(objects) => objects.write(&format!("{TOP}/{path}"), content).await,
        }
    }

    /// Writes content of this size. If it ends with an error, nothing is there.
    pub(super) async fn write_stream(&self, path: &str, size: u64, mut content: Content<'_>) -> Result<()> {
        let (top, staged) = match self {
            Self::Bucket(objects) => {
                return objects
                    .write_stream(&format!("{TOP}/{path}"), size, content)
                    .await;
            }
            Self::Directory { top, staged } => (top, staged.fetch_add(1, Ordering::Relaxed)),
        };
        let fail = |error| failed("write", path, error);
        let target = top.join(path);
        // The next server that opens the directory empties it.
        let new = top.join("_staging").join(format!("copy-{staged}"));
        for made in [target.parent(), new.parent()].into_iter().flatten() {
            tokio::fs::create_dir_all(made).await.map_err(fail)?;
        }
        let mut file = fs::File::create(&new).map_err(fail)?;
        let written = async {
            while let Some(piece) = content.try_next().await? {
                file.write_all(&piece).map_err(fail)?;
            }
            file.sync_data().map_err(fail)?;
            tokio::fs::rename(&new, &target).await.map_err(fail)
        };
        let written = written.await;
        if written.is_err() {
            // What stays there is removed with the rest.
            let _ = tokio::fs::remove_file(&new).await;
        }
        written
    }

    /// Makes durable what was written.
    pub(super) async fn settle(&self) -> Result<()> {
        let Self::Directory { top, .. } = self else {
            return Ok(());
        };
        let top = top.clone();
        let synced =
            spawn_blocking(move || rustix::fs::syncfs(fs::File::open(top)?).map_err(io::Error::from));
        let synced = synced.await.map_err(io::Error::other).flatten();
        synced.map_err(|error| failed("make durable", "the directory", error))
    }
}

fn pieces(file: File, path: String) -> Content<'static> {
    stream::try_unfold((file, path), |(mut file, path)| async move {
        let mut piece = Vec::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await;
        match read.map_err(|error| failed("read", &path, error))? {
            0 => Ok(None),
            _ => Ok(Some((Bytes::from(piece), (file, path)))),
        }
    })
    .boxed()
}

/// Returns all files below a directory. An absent directory has none.
fn walk(top: &Path, start: &Path) -> Result<Vec<Found>> {
    let fail = |path: &Path, error| failed("list", &path.display().to_string(), error);
    let mut found = Vec::new();
    let mut open = vec![start.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fail(&directory, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| fail(&directory, error))?;
            let path = entry.path();
            let about = entry.metadata().map_err(|error| fail(&path, error))?;
            if about.is_dir() {
                open.push(path);
            } else if about.is_file()
                && let Some(text) = path.strip_prefix(top).ok().and_then(Path::to_str)
            {
                found.push((text.to_owned(), about.len()));
            }
        }
    }
    Ok(found)
}

fn failed(what: &str, path: &str, error: impl Into<registry_core::BoxError>) -> StorageError {
    StorageError::failed(format!("cannot {what} {path}"), error)
}
