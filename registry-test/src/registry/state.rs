//! The content of a test registry, as a test looks at it.

use super::{TestRegistry, image_name::ImageName};
use registry_core::{Digest, Repository, RepositoryName, protocol::PageQuery, storage::StoredManifest};

impl TestRegistry {
    /// Returns the digest of an image, such as `team/app:v1`, or `None` if there is no such image.
    ///
    /// # Panics
    ///
    /// If the name is malformed, or the storage fails.
    #[must_use]
    #[track_caller]
    pub fn digest(&self, name: &str) -> Option<Digest> {
        self.stored(name).map(|manifest| manifest.digest)
    }

    /// Returns the manifest of an image, such as `team/app:v1`, or `None` if there is no such image.
    ///
    /// # Panics
    ///
    /// If the name is malformed, or the storage fails.
    #[must_use]
    #[track_caller]
    pub fn manifest(&self, name: &str) -> Option<Vec<u8>> {
        self.stored(name).map(|manifest| manifest.bytes.to_vec())
    }

    /// Returns a blob of a repository, or `None` if the repository does not hold it.
    ///
    /// # Panics
    ///
    /// If the name is malformed, or the storage fails.
    #[must_use]
    #[track_caller]
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        let (repository, digest) = (self.in_process(repository), *digest);
        let read = self
            .server
            .run(async move { repository.read_blob(&digest, usize::MAX).await });
        read.expect("the storage reads").map(|bytes| bytes.to_vec())
    }

    /// Returns the tags of a repository, in byte order.
    ///
    /// # Panics
    ///
    /// If the name is malformed, or the storage fails.
    #[must_use]
    #[track_caller]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let repository = self.in_process(repository);
        let listed = self.server.run(async move {
            let mut tags = Vec::new();
            let mut page = PageQuery::default();
            loop {
                let Some(listing) = repository.tags(&page).await? else {
                    return Ok::<_, registry_core::Error>(tags);
                };
                tags.extend(listing.items.iter().map(ToString::to_string));
                match listing.items.into_iter().next_back() {
                    Some(last) if listing.more => page = page.after(last),
                    _ => return Ok(tags),
                }
            }
        });
        listed.expect("the storage lists tags")
    }

    #[track_caller]
    fn stored(&self, name: &str) -> Option<StoredManifest> {
        let ImageName {
            repository,
            reference,
        } = ImageName::of(name);
        let repository = self.within(&repository);
        let read = self
            .server
            .run(async move { repository.manifest(reference).await });
        read.expect("the storage reads")
    }

    #[track_caller]
    fn in_process(&self, repository: &str) -> Repository {
        match RepositoryName::parse(repository) {
            Ok(name) => self.within(&name),
            Err(error) => panic!("cannot parse the repository {repository:?}: {error}"),
        }
    }

    pub(super) fn within(&self, repository: &RepositoryName) -> Repository {
        self.registry
            .repository(repository)
            .expect("a parsed name is well-formed")
    }
}
