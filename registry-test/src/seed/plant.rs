//! Putting a seed into a registry, in process.

use super::{
    document::Object,
    error::SeedError,
    index::Seed,
    layout::Layout,
    name::SeedName,
    parts::{Part, Parts},
    subject::Subjects,
};
use registry_core::{
    Digest, MediaType, Reference, Registry, Repository, RepositoryName, Tag, service::ManifestPush,
};
use std::collections::HashMap;

/// Puts a seed into the registry, with the authority of the host. Returns the digest of its manifest.
pub(crate) async fn plant(registry: &Registry, name: &str, seed: &Seed) -> Result<Digest, SeedError> {
    let name = SeedName::parse(name)?;
    let repository = within(registry, &name);
    let subjects = subjects(&repository, seed).await?;
    let mut parts = Parts::new(&subjects);
    seed.render(&mut parts)?;
    let tag = tag(&name, root(&parts.manifests))?;
    put_all(
        &repository,
        tag,
        &parts.blobs,
        &parts.manifests,
        &mut Stored::new(),
    )
    .await
}

/// Puts the images of an OCI layout into the registry, with the authority of the host. Returns their names.
pub(crate) async fn plant_layout(registry: &Registry, layout: Layout) -> Result<Vec<String>, SeedError> {
    // All names are checked before anything is stored.
    let tags = layout.entries.iter();
    let tags: Vec<_> = tags
        .map(|entry| tag(&entry.name, root(&entry.manifests)))
        .collect::<Result<_, _>>()?;
    let (mut names, mut stored) = (Vec::new(), Stored::new());
    for (entry, tag) in layout.entries.into_iter().zip(tags) {
        let repository = within(registry, &entry.name);
        put_all(&repository, tag, &entry.blobs, &entry.manifests, &mut stored).await?;
        names.push(entry.name.text);
    }
    Ok(names)
}

/// Blobs that are stored already, each with a repository that holds it.
type Stored = HashMap<Digest, RepositoryName>;

/// Puts blobs and manifests. The last manifest gets the tag.
async fn put_all(
    repository: &Repository,
    tag: Option<Tag>,
    blobs: &[Part],
    manifests: &[Part],
    stored: &mut Stored,
) -> Result<Digest, SeedError> {
    for blob in blobs {
        put_blob(repository, blob, stored).await?;
    }
    let (root, others) = manifests.split_last().expect("a seed has a manifest");
    for manifest in others {
        put(repository, manifest, None).await?;
    }
    put(repository, root, tag).await
}

/// Pushes a blob, or mounts it: images of a layout may share large ones, which are hashed once.
async fn put_blob(repository: &Repository, blob: &Part, stored: &mut Stored) -> Result<(), SeedError> {
    if let Some(holder) = stored.get(&blob.digest) {
        let mounted = repository.mount(&blob.digest, Some(holder)).await;
        if mounted.map_err(|source| refused(blob.digest, source))?.is_some() {
            return Ok(());
        }
    }
    let pushed = repository.push_blob(blob.bytes.clone(), Some(blob.digest)).await;
    pushed.map_err(|source| refused(blob.digest, source))?;
    stored.insert(blob.digest, repository.name().clone());
    Ok(())
}

/// Returns the manifest of a seed itself.
fn root(manifests: &[Part]) -> &Part {
    manifests.last().expect("a seed has a manifest")
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
        let found = found.map_err(|source| SeedError::Lookup {
            subject: subject.to_string(),
            source: Box::new(source),
        })?;
        let found = found.ok_or_else(missing)?;
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
