//! [`Bucket`]: the calls that this storage makes to an object store, of whichever vendor.
//!
//! Two kinds of writes:
//!
//! - Blind writes, for content-addressed objects and records of which one writer is known. They may be repeated.
//! - Writes that are sent once: conditional ones, and those that must not land late. Their request is a signed URL that
//!   expires, so the clock of the store bounds the time at which it takes effect. An answer that was lost is
//!   [`Sent::Unclear`], and the caller reads back. Only what a busy store has turned away is sent again.

mod begun;
mod busy;
mod clock;
mod connecting;
mod dates;
mod error;
mod foreign;
pub(crate) mod held;
mod observed;
mod once;
mod parts;
mod patient;
mod refusal;
mod signed;
mod time;

use self::error::{failed, is_odd_key};
pub(crate) use self::{
    begun::Begun,
    clock::MARGIN,
    connecting::Connecting,
    error::RETRY_AFTER,
    observed::{Observed, Observing},
    once::{Condition, Fence, Sent},
    parts::{LARGEST_COPY, Part},
    patient::Silence,
    refusal::refusal,
    time::StoreTime,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload, UpdateVersion,
    client::HttpClient, list::PaginatedListStore, multipart::MultipartStore, path::Path, signer::Signer,
};
use registry_core::{
    RangeSpec,
    storage::{Result, StorageError},
};
use std::{fmt, ops::Range, sync::Arc, time::SystemTime};

/// The vendor's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    S3,
    Gcs,
    Azure,
    Memory,
}

/// The clients of one bucket.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) dialect: Dialect,
    /// Repeats requests that fail.
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) parts: Arc<dyn MultipartStore>,
    /// `None` for memory, which lists everything at once.
    pub(crate) pages: Option<Arc<dyn PaginatedListStore>>,
    /// `None` for memory, whose calls cannot be late.
    pub(crate) signer: Option<Signing>,
    pub(crate) observed: Arc<Observed>,
    /// Size of the largest object that is copied with one request.
    pub(crate) largest_copy: u64,
    /// Makes a look and a write one step, where the store has no condition for it and no other process.
    pub(crate) one: Arc<tokio::sync::Mutex<()>>,
}

/// Means to send a request exactly once.
#[derive(Clone)]
pub(crate) struct Signing {
    /// Name of the bucket.
    pub(crate) bucket: String,
    pub(crate) signer: Arc<dyn Signer>,
    /// Repeats nothing.
    pub(crate) http: HttpClient,
    /// Headers of every write, such as those for encryption.
    pub(crate) headers: http::HeaderMap,
    /// Settings of further connections.
    pub(crate) connecting: Connecting,
}

/// A bucket, or the part of it below a root directory.
#[derive(Clone)]
pub(crate) struct Bucket {
    clients: Clients,
    root: Path,
}

/// Identity of an object's content: changes with each write of other content, and with some stores with each write.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Version(UpdateVersion);

/// A version as others keep it.
type Stored = (Option<String>, Option<String>);

impl From<Stored> for Version {
    fn from((e_tag, version): Stored) -> Self {
        Self(UpdateVersion { e_tag, version })
    }
}

impl From<Version> for Stored {
    fn from(version: Version) -> Self {
        (version.0.e_tag, version.0.version)
    }
}

impl Version {
    /// Returns true if the same entity tag means the same bytes.
    pub(crate) fn is_strong(&self) -> bool {
        let tag = self.0.e_tag.as_deref();
        tag.is_some_and(|tag| !tag.starts_with("W/"))
    }

    /// Returns a text that identifies the version.
    pub(crate) fn text(&self) -> String {
        format!(
            "{} {}",
            self.0.e_tag.as_deref().unwrap_or_default(),
            self.0.version.as_deref().unwrap_or_default()
        )
    }
}

/// A small object that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    pub(crate) version: Version,
    pub(crate) modified: SystemTime,
}

/// Properties of an object that the store knows.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// Key below the root.
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    pub(crate) version: Version,
}

impl Meta {
    /// Returns false if an object was written again since. A listing may tell its time to the millisecond, and its entity tag
    /// without quotes.
    pub(crate) fn is_the_same_as(&self, now: &Self) -> bool {
        let seconds = |meta: &Self| {
            let since = meta.modified.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or_default().as_secs()
        };
        let tag = |meta: &Self| {
            let tag = meta.version.0.e_tag.as_deref().unwrap_or_default();
            tag.trim_matches('"').to_owned()
        };
        seconds(self) == seconds(now) && tag(self) == tag(now)
    }
}

/// One answer to a request for a listing.
#[derive(Debug, Default)]
pub(crate) struct KeyPage {
    pub(crate) objects: Vec<Meta>,
    /// Common prefixes, without a slash at the end. They may be of objects that have gone.
    pub(crate) directories: Vec<String>,
    /// The store's own token for the next page.
    pub(crate) next: Option<String>,
}

/// Size of the largest link, in bytes. It is more than a digest with a mark of a deletion has.
const LARGEST_LINK: u64 = 4096;

pub(crate) type Chunks = BoxStream<'static, Result<Bytes>>;

impl Bucket {
    pub(crate) fn new(clients: Clients, root: &str) -> Self {
        Self {
            clients,
            root: Path::from(root),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.clients.dialect
    }

    /// Returns the store's clock.
    pub(crate) fn observed(&self) -> &Observed {
        &self.clients.observed
    }

    /// Reads an object whole.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Object>> {
        self.get_up_to(key, u64::MAX).await
    }

    /// Reads a link, a media type, or an entry of a log. An object that is too large for that has no content: anybody who pulls
    /// would let it be read into memory.
    pub(crate) async fn get_link(&self, key: &str) -> Result<Option<Object>> {
        self.get_up_to(key, LARGEST_LINK).await
    }

    async fn get_up_to(&self, key: &str, limit: u64) -> Result<Option<Object>> {
        let found = match self.clients.objects.get(&self.path(key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed("read", key, error)),
        };
        let (version, modified) = (version_of(&found.meta), found.meta.last_modified.into());
        let bytes = if found.meta.size > limit {
            tracing::warn!(
                key,
                size = found.meta.size,
                "an object is too large for what it is, and is not read"
            );
            Bytes::new()
        } else {
            found.bytes().await.map_err(|error| failed("read", key, error))?
        };
        Ok(Some(Object {
            bytes,
            version,
            modified,
        }))
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<Meta>> {
        match self.clients.objects.head(&self.path(key)).await {
            Ok(meta) => Ok(Some(self.meta(&meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("look at", key, error)),
        }
    }

    /// Reads a range of an object, which is not empty and lies within it.
    pub(crate) async fn read(&self, key: &str, range: Range<u64>) -> Result<Option<Chunks>> {
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range)));
        let found = match self.clients.objects.get_opts(&self.path(key), options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed("read", key, error)),
        };
        let key = key.to_owned();
        Ok(Some(
            found
                .into_stream()
                .map_err(move |error| failed("read", &key, error))
                .boxed(),
        ))
    }

    /// Reads a part of an object, of which the size is not known. `None` if there is no such part, or the store did not
    /// say: the caller then looks.
    pub(crate) async fn read_part(&self, key: &str, part: RangeSpec) -> Option<(Meta, Range<u64>, Chunks)> {
        let range = match part {
            RangeSpec::From(first) => GetRange::Offset(first),
            RangeSpec::FromTo(first, last) if first <= last => {
                GetRange::Bounded(first..last.saturating_add(1))
            }
            RangeSpec::Last(length) if length > 0 => GetRange::Suffix(length),
            _ => return None,
        };
        let options = GetOptions::new().with_range(Some(range));
        let found = self
            .clients
            .objects
            .get_opts(&self.path(key), options)
            .await
            .ok()?;
        let (meta, range) = (self.meta(&found.meta), found.range.clone());
        // Some stores answer with the whole object if the range is beyond its end.
        if part.resolve(meta.size)? != range {
            return None;
        }
        let key = key.to_owned();
        let chunks = found
            .into_stream()
            .map_err(move |error| failed("read", &key, error))
            .boxed();
        Some((meta, range, chunks))
    }

    /// Reads an object from its beginning, whatever its size, with one request.
    pub(crate) async fn read_whole(&self, key: &str) -> Result<Option<(Meta, Chunks)>> {
        let found = match self.clients.objects.get(&self.path(key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed("read", key, error)),
        };
        let meta = self.meta(&found.meta);
        let key = key.to_owned();
        let chunks = found
            .into_stream()
            .map_err(move |error| failed("read", &key, error))
            .boxed();
        Ok(Some((meta, chunks)))
    }

    /// Reads a range of a blob that another request has begun to read. A push of the same content may have written it again
    /// meanwhile, so one of the same size is the same.
    pub(crate) async fn read_same(&self, of: &Meta, range: Range<u64>) -> Result<Chunks> {
        if let Some(chunks) = self.read_version(of, range.clone()).await? {
            return Ok(chunks);
        }
        if let Some(again) = self.head(&of.key).await?
            && again.size == of.size
            && let Some(chunks) = self.read_version(&again, range).await?
        {
            return Ok(chunks);
        }
        let key = &of.key;
        Err(StorageError::internal(format!(
            "{key} was replaced or removed while it was read"
        )))
    }

    /// Reads a range of a version of an object. Returns `None` if it has gone.
    async fn read_version(&self, of: &Meta, range: Range<u64>) -> Result<Option<Chunks>> {
        let options = GetOptions::new()
            .with_range(Some(GetRange::Bounded(range)))
            .with_if_match(of.version.0.e_tag.clone());
        let found = self.clients.objects.get_opts(&self.path(&of.key), options).await;
        let key = of.key.clone();
        match found {
            Ok(found) if found.meta.e_tag == of.version.0.e_tag && found.meta.size == of.size => {
                let chunks = found.into_stream();
                Ok(Some(
                    chunks.map_err(move |error| failed("read", &key, error)).boxed(),
                ))
            }
            Ok(_) | Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => {
                Ok(None)
            }
            Err(error) => Err(failed("read", &key, error)),
        }
    }

    /// Writes an object, whatever is there. May be repeated, so that an earlier try lands after a later write.
    pub(crate) async fn put(&self, key: &str, payload: impl Into<PutPayload> + Send) -> Result<()> {
        let mut payload = payload.into();
        if self.dialect() == Dialect::Memory {
            // It would keep the buffer of which these bytes are a part, with what that has reserved.
            let chunks: Vec<&[u8]> = payload.iter().map(AsRef::as_ref).collect();
            payload = chunks.concat().into();
        }
        self.clients
            .objects
            .put(&self.path(key), payload)
            .await
            .map(drop)
            .map_err(|error| failed("write", key, error))
    }

    /// Removes an object. May be repeated, so that an earlier try lands after a later write. An absent object is no error.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        match self.clients.objects.delete(&self.path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("remove", key, error)),
        }
    }

    /// Removes objects, many with one request where the store can. Otherwise as [`delete`](Self::delete).
    pub(crate) async fn delete_all(&self, keys: impl Iterator<Item = String> + Send) -> Result<()> {
        let paths: Vec<_> = keys.map(|key| Ok(self.path(&key))).collect();
        let mut removed = self
            .clients
            .objects
            .delete_stream(futures_util::stream::iter(paths).boxed());
        while let Some(one) = removed.next().await {
            match one {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed("remove", "objects", error)),
            }
        }
        Ok(())
    }

    /// Lists all objects below a directory, in any order.
    pub(crate) fn list(&self, directory: &str) -> BoxStream<'static, Result<Meta>> {
        let (bucket, place) = (self.clone(), directory.to_owned());
        self.clients
            .objects
            .list(Some(&self.path(directory)))
            .map(move |item| {
                item.map(|meta| bucket.meta(&meta))
                    .map_err(|error| failed("list", &place, error))
            })
            .boxed()
    }

    /// Returns true if there is an object below a directory. 1 request.
    pub(crate) async fn any(&self, directory: &str) -> Result<bool> {
        match self.first(directory, 1).await {
            // Another program has put it there.
            Err(error) if is_odd_key(&error) => Ok(true),
            found => Ok(!found?.0.is_empty()),
        }
    }

    /// Returns some objects below a directory, `limit` if there are as many, and true if there may be more. 1 request.
    pub(crate) async fn first(&self, directory: &str, limit: usize) -> Result<(Vec<Meta>, bool)> {
        let mut found = Vec::new();
        let Some(pages) = &self.clients.pages else {
            let mut listed = self.list(directory);
            while let Some(object) = listed.next().await.transpose()? {
                if found.len() >= limit {
                    return Ok((found, true));
                }
                found.push(object);
            }
            return Ok((found, false));
        };
        let prefix = format!("{}/", self.path(directory));
        let mut token = None;
        loop {
            let options = object_store::list::PaginatedListOptions {
                max_keys: Some(limit - found.len()),
                page_token: token,
                ..Default::default()
            };
            let page = pages
                .list_paginated(Some(&prefix), options)
                .await
                .map_err(|error| failed("list", directory, error))?;
            found.extend(page.result.objects.iter().map(|meta| self.meta(meta)));
            token = page.page_token;
            // A store may answer with less than there is.
            if token.is_none() || found.len() >= limit {
                return Ok((found, token.is_some()));
            }
        }
    }

    /// Lists the objects and the common prefixes directly below a directory, whole and in any order.
    pub(crate) async fn directory(&self, directory: &str) -> Result<KeyPage> {
        let listed = self
            .clients
            .objects
            .list_with_delimiter(Some(&self.path(directory)))
            .await
            .map_err(|error| failed("list", directory, error))?;
        Ok(KeyPage {
            objects: listed.objects.iter().map(|meta| self.meta(meta)).collect(),
            directories: listed.common_prefixes.iter().map(|path| self.key(path)).collect(),
            next: None,
        })
    }

    /// Lists as [`list`](Self::list) does, with another number of objects in a page: what a store loses where a page ends is
    /// something else then.
    pub(crate) async fn list_by(&self, directory: &str, size: usize) -> Result<Vec<Meta>> {
        match &self.clients.pages {
            Some(pages) => Ok(self.all_pages(pages, directory, size, None).await?.objects),
            None => self.list(directory).try_collect().await,
        }
    }

    /// Lists as [`directory`](Self::directory) does, with another number of keys in a page.
    pub(crate) async fn directory_by(&self, directory: &str, size: usize) -> Result<KeyPage> {
        match &self.clients.pages {
            Some(pages) => self.all_pages(pages, directory, size, Some("/")).await,
            None => self.directory(directory).await,
        }
    }

    async fn all_pages(
        &self,
        pages: &Arc<dyn PaginatedListStore>,
        directory: &str,
        size: usize,
        delimiter: Option<&'static str>,
    ) -> Result<KeyPage> {
        let prefix = format!("{}/", self.path(directory));
        let mut all = KeyPage::default();
        loop {
            let options = object_store::list::PaginatedListOptions {
                delimiter: delimiter.map(Into::into),
                max_keys: Some(size),
                page_token: all.next.take(),
                ..Default::default()
            };
            let page = pages
                .list_paginated(Some(&prefix), options)
                .await
                .map_err(|error| failed("list", directory, error))?;
            all.objects
                .extend(page.result.objects.iter().map(|meta| self.meta(meta)));
            all.directories
                .extend(page.result.common_prefixes.iter().map(|path| self.key(path)));
            if page.page_token.is_none() {
                return Ok(all);
            }
            all.next = page.page_token;
        }
    }

    /// Returns a page of the listing of all objects below a directory, by the store's own tokens.
    pub(crate) async fn page(&self, directory: &str, token: Option<String>) -> Result<KeyPage> {
        let Some(pages) = &self.clients.pages else {
            let objects = self.list(directory).try_collect().await?;
            return Ok(KeyPage {
                objects,
                ..KeyPage::default()
            });
        };
        let prefix = format!("{}/", self.path(directory));
        let options = object_store::list::PaginatedListOptions {
            page_token: token,
            ..Default::default()
        };
        let page = pages
            .list_paginated(Some(&prefix), options)
            .await
            .map_err(|error| failed("list", directory, error))?;
        Ok(KeyPage {
            objects: page.result.objects.iter().map(|meta| self.meta(meta)).collect(),
            directories: Vec::new(),
            next: page.page_token,
        })
    }

    /// Lists the objects below a directory after a key, by the store's own `start-after`, which may lose keys.
    pub(crate) async fn list_after(&self, directory: &str, after: &str) -> Result<Vec<Meta>> {
        self.clients
            .objects
            .list_with_offset(Some(&self.path(directory)), &self.path(after))
            .map_ok(|meta| self.meta(&meta))
            .map_err(|error| failed("list", directory, error))
            .try_collect()
            .await
    }

    pub(super) fn path(&self, key: &str) -> Path {
        Path::from(format!("{}/{key}", self.root))
    }

    fn key(&self, path: &Path) -> String {
        let text = path.as_ref();
        let root = self.root.as_ref();
        text.strip_prefix(root)
            .unwrap_or(text)
            .trim_start_matches('/')
            .to_owned()
    }

    fn meta(&self, meta: &ObjectMeta) -> Meta {
        Meta {
            key: self.key(&meta.location),
            size: meta.size,
            modified: meta.last_modified.into(),
            version: version_of(meta),
        }
    }
}

fn version_of(meta: &ObjectMeta) -> Version {
    Version(UpdateVersion {
        e_tag: meta.e_tag.clone(),
        version: meta.version.clone(),
    })
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("store", &format_args!("{}", self.clients.objects))
            .field("root", &self.root.as_ref())
            .finish_non_exhaustive()
    }
}
