//! [`Remote`]: a foreign registry as a storage that is read.

use crate::{
    client::Client,
    error::Error,
    host::Host,
    repository::{BlobStream, RemoteRepository},
};
use async_trait::async_trait;
use http_body_util::BodyExt as _;
use registry_core::{
    Descriptor, Digest, MediaType, Reference, RepositoryName, Storage, Tag,
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Content, Listing, Page, ReadBlob, Referring, Result,
        StorageError, StoredManifest,
    },
};

/// Maximum number of items of a listing.
const ITEMS: usize = 1_000_000;

/// A foreign registry as a [`Storage`], for example for a mirror. It only reads, and it promises no abilities.
///
/// A name that the registry does not tell about is [`StorageError::Denied`], never absent: a private name looks like a
/// missing one. Whole blobs and manifests are verified, parts of blobs are not. Every page of a listing reads the whole
/// listing of the registry, since its order is unknown.
///
/// ```no_run
/// use registry_client::{Client, Host, Remote};
/// use registry_core::Registry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let upstream = Remote::new(Client::from_env()?, Host::parse("registry.example")?);
/// let mirror = Registry::builder(upstream).build();
/// let manifest = mirror.repository("team/app")?.manifest("v1").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    host: Host,
}

impl Remote {
    /// Reads from `host`.
    #[must_use]
    pub const fn new(client: Client, host: Host) -> Self {
        Self { client, host }
    }

    fn repository(&self, name: &RepositoryName) -> RemoteRepository {
        self.client.repository_of(self.host.clone(), name.clone())
    }

    async fn size(&self, repository: &RemoteRepository, digest: &Digest) -> Result<Option<BlobInfo>> {
        match repository.blob_info(digest).await {
            Ok(info) => Ok(Some(info)),
            // The answer to a `HEAD` has no code, which tells a missing blob from a hidden repository.
            Err(Error::NotFound { code: None, .. }) => match repository.blob(digest, 0).await {
                Ok(_) => Ok(Some(BlobInfo::new(*digest, 0))),
                Err(error) => absent(error),
            },
            Err(error) => absent(error),
        }
    }
}

#[async_trait]
impl Storage for Remote {
    fn abilities(&self) -> Abilities {
        Abilities::none()
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.size(&self.repository(repository), digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let repository = self.repository(repository);
        let Some(info) = self.size(&repository, digest).await? else {
            return Ok(None);
        };
        let range = how.resolve(info.size)?;
        let media_type = MediaType::parse("application/octet-stream").expect("it is a media type");
        let blob = Descriptor::new(media_type, *digest, info.size);
        let stream: BlobStream = repository.open_blob(&blob, range.start).until(range.end);
        let body = stream.into_body().map_err(failed);
        let content = BlobBody::Content(Content::stream(Box::pin(body)));
        Ok(Some(BlobRead::new(info, range, content)))
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        match self.repository(repository).manifest(reference).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => absent(error),
        }
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let tags = self
            .repository(repository)
            .tags()
            .all(ITEMS)
            .await
            .map_err(failed)?;
        Ok(Some(listing(tags, &page, Clone::clone)))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let repository = self.repository(repository);
        let found = repository
            .find_referrers(of.subject, of.artifact_type)
            .await
            .map_err(failed)?;
        let found = found.ok_or_else(|| {
            let place = format!("{}/{}@{}", self.host, repository.name(), of.subject);
            StorageError::denied(format!(
                "{place}: the registry does not tell whether there are referrers"
            ))
        })?;
        Ok(listing(found, &page, |descriptor| descriptor.digest))
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let names = self.client.catalog(&self.host).all(ITEMS).await.map_err(failed)?;
        Ok(listing(names, &page, Clone::clone))
    }
}

/// Selects a page of all items.
fn listing<T, K: Ord>(mut items: Vec<T>, page: &Page<'_, K>, key: impl Fn(&T) -> K) -> Listing<T> {
    items.sort_by_cached_key(&key);
    items.dedup_by(|one, other| key(one) == key(other));
    let after = |item: &T| page.after.is_none_or(|after| key(item) > *after);
    Listing::first(page.limit, items.into_iter().filter(after))
}

/// Returns `None` for content that the registry certainly does not have.
fn absent<T>(error: Error) -> Result<Option<T>> {
    if error.is_absence() {
        Ok(None)
    } else {
        Err(failed(error))
    }
}

fn failed(error: Error) -> StorageError {
    let context = error.to_string();
    match &error {
        Error::NotFound { .. } | Error::Denied { .. } | Error::Unauthorized { .. } => {
            StorageError::denied(context)
        }
        error if error.is_transient() => {
            let retry_after = error.retry_after();
            StorageError::unavailable(context, retry_after, None)
        }
        _ => StorageError::failed(context, error),
    }
}
