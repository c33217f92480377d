//! Putting a seed into a registry, in process.

use super::{
    document::Object,
    error::SeedError,
    index::Seed,
    layout::{Entry, Layout},
    name::SeedName,
    parts::{Part, Parts},
    subject::Subjects,
};
use registry_core::{Digest, MediaType, Reference, Registry, Repository, Tag, service::ManifestPush};

/// Puts a seed into the registry, with the authority of the host. Returns the digest of its manifest.
pub(crate) async fn plant(registry: &Registry, name: &str, seed: &Seed) -> Result<Digest, SeedError> {
    let name = SeedName::parse(name)?;
    let repository = within(registry, &name);
    let subjects = subjects(&repository, seed).await?;
    let mut parts = Parts::new(&subjects);
    seed.render(&mut parts)?;
    put_all(registry, &name, &parts.blobs, parts.manifests).await
}

/// Puts the images of an OCI layout into the registry, with the authority of the host. Returns their names.
pub(crate) async fn plant_layout(registry: &Registry, layout: Layout) -> Result<Vec<String>, SeedError> {
    let mut names = Vec::new();
    for Entry {
        name,
        blobs,
        manifests,
    } in layout.entries
    {
        put_all(registry, &name, &blobs, manifests).await?;
        names.push(name.text);
    }
    Ok(names)
}

/// Puts blobs and manifests, whose last one gets the name.
async fn put_all(
    registry: &Registry,
    name: &SeedName,
    blobs: &[Part],
    mut manifests: Vec<Part>,
) -> Result<Digest, SeedError> {
    let repository = within(registry, name);
    let root = manifests.pop().expect("a seed has a manifest");
    let tag = tag(name, &root)?;
    for blob in blobs {
        let pushed = repository.push_blob(blob.bytes.clone(), Some(blob.digest)).await;
        pushed.map_err(|source| refused(blob.digest, source))?;
    }
    for manifest in &manifests {
        put(&repository, manifest, None).await?;
    }
    put(&repository, &root, tag).await
}

fn within(registry: &Registry, name: &SeedName) -> Repository {
    let repository = registry.repository(&name.repository);
    repository.expect("the name is parsed already")
}

/// Returns the tag of a manifest, which may have to have a certain digest instead.
fn tag(name: &SeedName, root: &Part) -> Result<Option<Tag>, SeedError> {
    match &name.reference {
        Some(Reference::Digest(expected)) if *expected != root.digest => Err(SeedError::Digest {
            name: name.text.clone(),
            digest: root.digest,
        }),
        Some(Reference::Tag(tag)) => Ok(Some(tag.clone())),
        Some(Reference::Digest(_)) | None => Ok(None),
    }
}

async fn put(repository: &Repository, manifest: &Part, tag: Option<Tag>) -> Result<Digest, SeedError> {
    // By digest, since a tag alone would mean its sha256.
    let mut push = ManifestPush::new(manifest.digest, manifest.bytes.clone());
    push.media_type = MediaType::parse(&manifest.media_type).ok();
    push.tags.extend(tag);
    let pushed = repository.put_manifest(push).await;
    Ok(pushed.map_err(|source| refused(manifest.digest, source))?.digest)
}

/// Describes the subjects of a seed, which are in the repository.
async fn subjects(repository: &Repository, seed: &Seed) -> Result<Subjects, SeedError> {
    let mut subjects = Subjects::new();
    for subject in seed.subjects() {
        let missing = || SeedError::Subject {
            subject: subject.to_string(),
            repository: repository.name().clone(),
        };
        let reference = subject.within(repository.name().as_str()).ok_or_else(missing)?;
        let found = repository.manifest(reference).await;
        let found = found.ok().flatten().ok_or_else(missing)?;
        let descriptor = Object::new()
            .text("mediaType", found.media_type.as_str())
            .text("digest", &found.digest.to_string())
            .json("size", &found.bytes.len().to_string());
        subjects.insert(subject.clone(), descriptor.finish());
    }
    Ok(subjects)
}

fn refused(digest: Digest, source: registry_core::Error) -> SeedError {
    SeedError::Registry {
        digest,
        source: Box::new(source),
    }
}
