//! Trees of content that nothing refers to, as pushes without a manifest leave them.

use registry_core::{Algorithm, Digest, RepositoryName};
use std::{fs, path::Path};

/// Number of repositories that share the blobs.
pub(crate) const REPOSITORIES: usize = 20;

/// Returns the digest of blob number `number`. Collections do not read blobs, so that its bytes may be others.
pub(crate) fn digest(number: usize) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_be_bytes())
}

pub(crate) fn repository(number: usize) -> RepositoryName {
    RepositoryName::parse(&format!("team/app{}", number % REPOSITORIES)).unwrap()
}

/// Creates blobs, each with a link in one repository.
pub(crate) fn grow(root: &Path, blobs: usize) {
    let top = root.join("docker/registry/v2");
    for number in 0..blobs {
        let digest = digest(number);
        let hex = digest.hex();
        let data = top.join("blobs/sha256").join(&hex[..2]).join(&hex);
        let link = top.join("repositories").join(repository(number).as_str());
        let link = link.join("_layers/sha256").join(&hex);
        for directory in [&data, &link] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(data.join("data"), hex.as_bytes()).unwrap();
        fs::write(link.join("link"), digest.to_string()).unwrap();
    }
}
