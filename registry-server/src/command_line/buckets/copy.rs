//! `registry copy-storage`: moves a registry from a directory into a bucket, back, or into another one.
//!
//! Both have the same files below `blobs` and `repositories`, so a copy takes them as they are, and what registry:2 wrote
//! with them. Content comes before what refers to it, and tags come last. Upload sessions, damaged content in quarantine and
//! derived data stay behind.

use super::{
    history, named,
    options::CopyStorage,
    side::{Content, Found, Side},
};
use crate::{
    backend, bucket,
    causes::with_causes,
    config::{Settings, StorageKind},
    counted::counted,
    printable,
};
use axum::body::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registry_core::{
    Digest,
    hash::{Checkpoint, Hasher},
    storage::{Result, StorageError},
};
use registry_storage_fs::FsStorage;
use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

/// Number of blobs that are copied at once.
const BLOBS: usize = 8;

/// Number of small files that are copied at once.
const SMALL: usize = 32;

pub(super) fn run(options: &CopyStorage) -> std::result::Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let (from, to) = (
        named::settings(Some(&options.from))?,
        named::settings(Some(&options.to))?,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (source, _) = open(&from, false).await?;
        if source.is_empty().await? {
            let place = named_place(&from);
            return Err(
                format!("there is no registry in {place}: nothing is below docker/registry/v2").into(),
            );
        }
        let (target, owned) = open(&to, true).await?;
        let copy = Copy {
            source,
            target,
            done: Done::default(),
        };
        let ended = async {
            copy.all().await?;
            copy.target.settle().await
        };
        ended.await.map_err(|error| {
            let why = with_causes(&error);
            format!(
                "the copy ended early ({}): {why}; repeat it, and it goes on",
                copy.done
            )
        })?;
        drop(owned);
        let failed = copy.done.failed.load(Ordering::Relaxed);
        writeln!(io::stdout(), "{}", copy.done)?;
        Ok(if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

/// Opens a place. A directory that is written belongs to this process until the end, so that no server uses it.
async fn open(
    settings: &Settings,
    is_target: bool,
) -> std::result::Result<(Side, Option<FsStorage>), String> {
    match &settings.storage.kind {
        StorageKind::Directory { root, .. } => {
            let options = FsStorage::options();
            let options = if is_target { options } else { options.read_only() };
            let opened = options.open(root).map_err(|error| backend::explained(&error))?;
            Ok((Side::directory(root), is_target.then_some(opened)))
        }
        StorageKind::Bucket(bucket) => {
            let opened = bucket::objects(bucket).await;
            let objects = opened.map_err(|error| bucket::explained(bucket, &error))?;
            Ok((Side::Bucket(Box::new(objects)), None))
        }
        StorageKind::Memory => Err("images in memory end with the server, and cannot be copied".to_owned()),
    }
}

/// Names a place without its credentials.
fn named_place(settings: &Settings) -> String {
    match &settings.storage.kind {
        StorageKind::Directory { root, .. } => root.display().to_string(),
        StorageKind::Bucket(bucket) => bucket.to_string(),
        StorageKind::Memory => "the memory".to_owned(),
    }
}

struct Copy {
    source: Side,
    target: Side,
    done: Done,
}

/// Numbers of copied things.
#[derive(Debug, Default)]
struct Done {
    blobs: AtomicU64,
    bytes: AtomicU64,
    present: AtomicU64,
    links: AtomicU64,
    tags: AtomicU64,
    records: AtomicU64,
    failed: AtomicU64,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "copied {} ({} bytes), {}, {} and {}; {}",
            counted(number(&self.blobs), "blob", "blobs"),
            number(&self.bytes),
            counted(number(&self.links), "link", "links"),
            counted(number(&self.tags), "tag", "tags"),
            counted(
                number(&self.records),
                "record of deletions or histories",
                "records of deletions or histories"
            ),
            counted(number(&self.present), "blob was there", "blobs were there"),
        )?;
        match number(&self.failed) {
            0 => Ok(()),
            failed => write!(f, "; {} not copied", counted(failed, "file was", "files were")),
        }
    }
}

/// Kind of a small file, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Link,
    Tag,
    Other,
}

fn kind(path: &str) -> Kind {
    if path.split('/').any(|part| part == "_uploads") {
        Kind::Other
    } else if path.ends_with("/current/link") {
        Kind::Tag
    } else if path.ends_with("/link") {
        Kind::Link
    } else {
        Kind::Other
    }
}

impl Copy {
    async fn all(&self) -> Result<()> {
        self.blobs().await?;
        self.media_types().await?;
        self.links(Kind::Link).await?;
        self.records().await?;
        self.histories().await?;
        self.links(Kind::Tag).await
    }

    /// Counts a success. Reports a failure of one file, and goes on with the rest.
    ///
    /// # Errors
    ///
    /// The failure if it is one of the store: each of the other files would wait for it as long.
    fn ended(&self, counter: &AtomicU64, path: &str, copied: Result<()>) -> Result<()> {
        match copied {
            Ok(()) => counter.fetch_add(1, Ordering::Relaxed),
            Err(error @ StorageError::Unavailable { .. }) => return Err(error),
            Err(error) => {
                // Nothing is left to tell it to if standard error is gone.
                let _ = writeln!(
                    io::stderr(),
                    "registry: {}: {}",
                    printable::Line(path),
                    printable::Line(with_causes(&error))
                );
                self.done.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        Ok(())
    }

    /// Copies all blobs that the target does not have with their size. A directory at a time, of which there are 256.
    async fn blobs(&self) -> Result<()> {
        for algorithm in ["sha256", "sha512"] {
            for fan in 0..=u8::MAX {
                let directory = format!("blobs/{algorithm}/{fan:02x}");
                let source: Vec<Found> = self.source.list(&directory).try_collect().await?;
                if source.is_empty() {
                    continue;
                }
                let there: HashMap<String, u64> = self.target.list(&directory).try_collect().await?;
                let missing = source.into_iter().filter(|(path, size)| {
                    let is_there = there.get(path) == Some(size);
                    self.done
                        .present
                        .fetch_add(u64::from(is_there), Ordering::Relaxed);
                    !is_there
                });
                stream::iter(missing.map(Ok))
                    .try_for_each_concurrent(BLOBS, |(path, size)| async move {
                        let copied = self.blob(&path, size).await;
                        if copied.is_ok() {
                            self.done.bytes.fetch_add(size, Ordering::Relaxed);
                        }
                        self.ended(&self.done.blobs, &path, copied)
                    })
                    .await?;
            }
        }
        Ok(())
    }

    async fn blob(&self, path: &str, size: u64) -> Result<()> {
        let digest = digest(path).ok_or_else(|| StorageError::internal("the name is not that of a blob"))?;
        let content = self.source.stream(path).await?;
        let content = content.ok_or_else(|| StorageError::internal("the blob has gone"))?;
        self.target
            .write_stream(path, size, checked(content, digest))
            .await
    }

    /// Copies the small files of a kind below `repositories`.
    async fn links(&self, wanted: Kind) -> Result<()> {
        let counter = match wanted {
            Kind::Tag => &self.done.tags,
            _ => &self.done.links,
        };
        self.source
            .list("repositories")
            .try_for_each_concurrent(SMALL, |(path, _)| async move {
                if kind(&path) == wanted {
                    let copied = self.small(&path, &path).await;
                    self.ended(counter, &path, copied)?;
                }
                Ok(())
            })
            .await
    }

    async fn small(&self, from: &str, to: &str) -> Result<()> {
        match self.source.read(from).await? {
            Some(content) => self.target.write(to, content).await,
            None => Err(StorageError::internal(
                "it has gone; copy again while nothing is changed",
            )),
        }
    }

    /// Copies the media types of manifests that do not state theirs. In a bucket they are beside `repositories`.
    async fn media_types(&self) -> Result<()> {
        let directory = match self.source {
            Side::Directory { .. } => "repositories",
            Side::Bucket(_) => "_index",
        };
        self.source
            .list(directory)
            .try_for_each_concurrent(SMALL, |(path, _)| async move {
                if let Some((repository, rest)) = media_type(&path) {
                    let to = match self.target {
                        Side::Directory { .. } => {
                            format!("repositories/{repository}/_manifests/media-types/{rest}")
                        }
                        Side::Bucket(_) => format!("_index/{repository}/_media-types/{rest}"),
                    };
                    let copied = self.small(&path, &to).await;
                    self.ended(&self.done.links, &path, copied)?;
                }
                Ok(())
            })
            .await
    }

    /// Copies the records of deletions. In a bucket each has a directory of its own.
    async fn records(&self) -> Result<()> {
        self.source
            .list("_trash")
            .try_for_each_concurrent(SMALL, |(path, _)| async move {
                let record = path.strip_suffix("/record").unwrap_or(&path);
                let to = match self.target {
                    Side::Directory { .. } => record.to_owned(),
                    Side::Bucket(_) => format!("{record}/record"),
                };
                let copied = self.small(&path, &to).await;
                self.ended(&self.done.records, &path, copied)
            })
            .await
    }

    async fn histories(&self) -> Result<()> {
        // The files of a directory, or the objects of a bucket by the file that they would be.
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut listed = self.source.list("_history");
        while let Some((path, _)) = listed.try_next().await? {
            match (&self.source, path.rsplit_once('/')) {
                (Side::Bucket(_), Some((file, name))) => {
                    files.entry(file.to_owned()).or_default().push(name.to_owned());
                }
                _ => {
                    files.entry(path).or_default();
                }
            }
        }
        stream::iter(files.into_iter().map(Ok))
            .try_for_each_concurrent(SMALL, |(file, names)| async move {
                let copied = self.history(&file, names).await;
                self.ended(&self.done.records, &file, copied)
            })
            .await
    }

    async fn history(&self, file: &str, mut names: Vec<String>) -> Result<()> {
        names.sort_unstable();
        let mut objects = Vec::new();
        for name in names {
            if let Some(content) = self.source.read(&format!("{file}/{name}")).await? {
                let content = String::from_utf8_lossy(&content).into_owned();
                objects.push(history::Object { name, content });
            }
        }
        let is_bucket = |side: &Side| matches!(side, Side::Bucket(_));
        match (is_bucket(&self.source), is_bucket(&self.target)) {
            (false, false) => self.small(file, file).await,
            (true, false) => {
                let lines: Vec<String> = objects.iter().filter_map(history::line).collect();
                self.target.write(file, lines.join("\n").into()).await
            }
            (from_bucket, true) => {
                if !from_bucket && let Some(text) = self.source.read(file).await? {
                    let (repository, tag) = file.rsplit_once("/_tags/").unwrap_or((file, ""));
                    let repository = repository.strip_prefix("_history/").unwrap_or(repository);
                    objects = history::objects(&text, repository, tag);
                }
                for object in objects {
                    let path = format!("{file}/{}", object.name);
                    self.target.write(&path, object.content.into()).await?;
                }
                Ok(())
            }
        }
    }
}

/// Returns the repository, and the digest as a path, of a file that states a media type.
fn media_type(path: &str) -> Option<(&str, &str)> {
    let of_directory = || {
        let path = path.strip_prefix("repositories/")?;
        path.split_once("/_manifests/media-types/")
    };
    let of_bucket = || path.strip_prefix("_index/")?.split_once("/_media-types/");
    of_directory().or_else(of_bucket)
}

/// Returns the digest of a path `blobs/<algorithm>/<first two digits>/<hex>/data`.
fn digest(path: &str) -> Option<Digest> {
    let mut parts = path.strip_prefix("blobs/")?.split('/');
    let (algorithm, _fan, hex) = (parts.next()?, parts.next()?, parts.next()?);
    match (parts.next(), parts.next()) {
        (Some("data"), None) => Digest::parse(&format!("{algorithm}:{hex}")).ok(),
        _ => None,
    }
}

/// Passes content on, with an error at its end unless it has this digest.
fn checked(content: Content<'_>, digest: Digest) -> Content<'_> {
    let hasher = Hasher::resume(&Checkpoint::start(digest.algorithm()));
    stream::try_unfold((content, Some(hasher)), move |(mut content, hasher)| async move {
        let Some(mut hasher) = hasher else {
            return Ok(None);
        };
        match content.try_next().await? {
            Some(piece) => {
                hasher.update(&piece);
                Ok(Some((piece, (content, Some(hasher)))))
            }
            None if hasher.digest() == Some(digest) => Ok(Some((Bytes::new(), (content, None)))),
            None => Err(StorageError::internal(
                "the content has another digest than its name; it is damaged, and stays where it is",
            )),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_paths() {
        for (path, wanted) in [
            ("repositories/a/_layers/sha256/00/link", Kind::Link),
            ("repositories/a/_manifests/revisions/sha256/00/link", Kind::Link),
            (
                "repositories/a/_manifests/tags/v1/index/sha256/00/link",
                Kind::Link,
            ),
            ("repositories/a/_manifests/tags/v1/current/link", Kind::Tag),
            ("repositories/a/_manifests/media-types/sha256/00", Kind::Other),
            ("repositories/a/_uploads/1/data", Kind::Other),
        ] {
            assert_eq!(kind(path), wanted, "{path}");
        }
        let of_directory = media_type("repositories/a/b/_manifests/media-types/sha256/00");
        assert_eq!(of_directory, Some(("a/b", "sha256/00")));
        assert_eq!(
            media_type("_index/a/b/_media-types/sha256/00"),
            Some(("a/b", "sha256/00"))
        );
        assert_eq!(media_type("_index/a/b/_referrers/x"), None);
    }

    #[tokio::test]
    async fn damaged_content_ends_with_an_error() {
        let digest = Digest::of(registry_core::Algorithm::Sha256, b"abc");
        for (text, is_right) in [("abc", true), ("abz", false), ("", false)] {
            let content = stream::iter([Ok(Bytes::from(text))]).boxed();
            let read: Result<Vec<Bytes>> = checked(content, digest).try_collect().await;
            assert_eq!(read.is_ok(), is_right, "{text}");
        }
    }
}
