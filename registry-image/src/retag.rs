//! [`retag`]: moves tags within a repository.

use crate::{error::Error, source::Source, target::Target};
use registry_core::{Digest, Reference, Repository, Tag};

/// Moves tags to a manifest of the same repository. Returns its digest.
///
/// ```
/// use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
/// # let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// # repository.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
/// let v1 = Tag::parse("v1")?.into();
/// let digest = registry_image::retag(&repository, &v1, &[Tag::parse("stable")?]).await?;
/// assert_eq!(repository.manifest("stable").await?.ok_or("no such tag")?.digest, digest);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A dropped call may have moved all tags, or some. It can be repeated.
///
/// # Errors
///
/// [`Error::NoManifest`] if there is no such manifest, and [`Error`] if a tag may not be moved.
pub async fn retag(repository: &Repository, from: &Reference, tags: &[Tag]) -> Result<Digest, Error> {
    let found = repository.manifest(from).await;
    let found = found.map_err(|error| Error::registry(repository.name(), error))?;
    let Some(found) = found else {
        return Err(Error::NoManifest {
            place: Source::describe(repository),
            reference: from.clone(),
        });
    };
    Target::put_manifest(repository, &found, tags).await?;
    Ok(found.digest)
}
