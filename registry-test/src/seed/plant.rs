//! Putting a seed into a registry, in process.

use super::{
    document::Object,
    error::SeedError,
    index::Seed,
    name::SeedName,
    parts::{Part, Parts},
    subject::Subjects,
};
use registry_core::{Digest, MediaType, Reference, Registry, Repository, service::ManifestPush};

/// Puts a seed into the registry, with the authority of the host. Returns the digest of its manifest.
pub(crate) async fn plant(registry: &Registry, name: &str, seed: &Seed) -> Result<Digest, SeedError> {
    let name = SeedName::parse(name)?;
    let repository = registry
        .repository(&name.repository)
        .expect("the name is parsed already");
    let subjects = subjects(&repository, seed).await?;
    let mut parts = Parts::new(&subjects);
    seed.render(&mut parts)?;
    let root = parts.manifests.pop().expect("a seed has a manifest");
    let reference = reference(&name, &root)?;

    for blob in &parts.blobs {
        let pushed = repository.push_blob(blob.bytes.clone(), Some(blob.digest)).await;
        pushed.map_err(|source| refused(blob.digest, source))?;
    }
    for manifest in &parts.manifests {
        put(&repository, manifest.digest.into(), manifest).await?;
    }
    put(&repository, reference, &root).await
}

/// Returns the reference to put the manifest under, which may have to have a certain digest.
fn reference(name: &SeedName, root: &Part) -> Result<Reference, SeedError> {
    match &name.reference {
        Some(Reference::Digest(expected)) if *expected != root.digest => Err(SeedError::Digest {
            name: name.text.clone(),
            digest: root.digest,
        }),
        Some(reference) => Ok(reference.clone()),
        None => Ok(root.digest.into()),
    }
}

async fn put(repository: &Repository, reference: Reference, manifest: &Part) -> Result<Digest, SeedError> {
    let mut push = ManifestPush::new(reference, manifest.bytes.clone());
    push.media_type = MediaType::parse(&manifest.media_type).ok();
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
