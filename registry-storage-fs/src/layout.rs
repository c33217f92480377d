//! Where everything lies. The only place where a name, digest, tag or upload session becomes a path.
//!
//! Only parsed types come in, and none of them can spell `..`, an absolute path, a NUL or a component that
//! begins with `_`: no request reaches outside the root, or into what is not meant for it.

use registry_core::{Algorithm, Digest, RepositoryName, Tag, UploadId};
use std::path::{Path, PathBuf};

/// The paths below one root directory.
#[derive(Debug)]
pub(crate) struct Layout {
    /// `<root>/docker/registry/v2`
    top: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            top: root.join("docker/registry/v2"),
        }
    }

    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// Held locked by the process that owns the directory; says which one that is.
    pub(crate) fn owner(&self) -> PathBuf {
        self.top.join("_owner")
    }

    /// What is being written, on the same file system as where it goes. Worth nothing after a crash.
    pub(crate) fn staging(&self) -> PathBuf {
        self.top.join("_staging")
    }

    /// Damaged content that has one of the digests of an algorithm.
    pub(crate) fn quarantines(&self, algorithm: Algorithm) -> PathBuf {
        self.top.join("_quarantine").join(algorithm.as_str())
    }

    /// One piece of damaged content.
    pub(crate) fn quarantine(&self, digest: &Digest, number: u64) -> QuarantinePaths {
        let directory = self
            .quarantines(digest.algorithm())
            .join(digest.hex())
            .join(number.to_string());
        QuarantinePaths { directory }
    }

    /// Says of each open upload session which repository it is of. Derived.
    pub(crate) fn session_records(&self) -> PathBuf {
        self.top.join("_sessions")
    }

    pub(crate) fn session_record(&self, id: &UploadId) -> PathBuf {
        self.session_records().join(id.to_string())
    }

    /// What is derived from the repositories. Nobody else knows it.
    pub(crate) fn index(&self) -> PathBuf {
        self.top.join("_index")
    }

    /// Held locked by the process that keeps the index.
    pub(crate) fn index_owner(&self) -> PathBuf {
        self.index().join("_owner")
    }

    /// The index of the referrers of a repository.
    pub(crate) fn referrers(&self, name: &RepositoryName) -> PathBuf {
        self.index().join(name.as_str()).join("_referrers")
    }

    /// Names the opening in which that index was completed.
    pub(crate) fn referrers_complete(&self, name: &RepositoryName) -> PathBuf {
        self.referrers(name).join("complete")
    }

    pub(crate) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.top.join("blobs").join(algorithm.as_str())
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let fan = hex.get(..2).unwrap_or_default();
        self.blobs(digest.algorithm()).join(fan).join(&hex).join("data")
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.top.join("repositories")
    }

    fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    /// By this one registry:2's collector knows a repository.
    pub(crate) fn all_layers(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_layers")
    }

    pub(crate) fn layers(&self, name: &RepositoryName, algorithm: Algorithm) -> PathBuf {
        self.all_layers(name).join(algorithm.as_str())
    }

    pub(crate) fn layer(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.layers(name, digest.algorithm())
            .join(digest.hex())
            .join("link")
    }

    /// A repository exists from when this directory does.
    pub(crate) fn manifests(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_manifests")
    }

    pub(crate) fn revisions(&self, name: &RepositoryName, algorithm: Algorithm) -> PathBuf {
        self.manifests(name).join("revisions").join(algorithm.as_str())
    }

    pub(crate) fn revision(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.revisions(name, digest.algorithm())
            .join(digest.hex())
            .join("link")
    }

    /// The media type that a manifest came with, where its bytes do not say it. Ours, not registry:2's.
    pub(crate) fn media_type(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.media_types(name, digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn media_types(&self, name: &RepositoryName, algorithm: Algorithm) -> PathBuf {
        self.manifests(name).join("media-types").join(algorithm.as_str())
    }

    pub(crate) fn tags(&self, name: &RepositoryName) -> PathBuf {
        self.manifests(name).join("tags")
    }

    pub(crate) fn tag(&self, name: &RepositoryName, tag: &Tag) -> TagPaths {
        TagPaths::below(self.tags(name).join(tag.as_str()))
    }

    pub(crate) fn uploads(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_uploads")
    }

    pub(crate) fn upload(&self, name: &RepositoryName, id: &UploadId) -> UploadPaths {
        UploadPaths::below(self.uploads(name).join(id.to_string()))
    }
}

/// One piece of content that was set aside.
#[derive(Debug)]
pub(crate) struct QuarantinePaths {
    pub(crate) directory: PathBuf,
}

impl QuarantinePaths {
    /// What it was: a file, or a directory where a file belongs.
    pub(crate) fn bytes(&self) -> PathBuf {
        self.directory.join("bytes")
    }

    /// Where it lay, and what was wrong with it.
    pub(crate) fn why(&self) -> PathBuf {
        self.directory.join("why")
    }
}

/// The files of one tag, in place or staged.
#[derive(Debug)]
pub(crate) struct TagPaths {
    pub(crate) directory: PathBuf,
}

impl TagPaths {
    pub(crate) const fn below(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What the tag points at.
    pub(crate) fn current(&self) -> PathBuf {
        self.directory.join("current/link")
    }

    /// One of the digests that the tag ever had.
    pub(crate) fn index(&self, digest: &Digest) -> PathBuf {
        self.directory
            .join("index")
            .join(digest.algorithm().as_str())
            .join(digest.hex())
            .join("link")
    }
}

/// The files of one upload session, in place or staged.
#[derive(Clone, Debug)]
pub(crate) struct UploadPaths {
    pub(crate) directory: PathBuf,
}

impl UploadPaths {
    pub(crate) const fn below(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(crate) fn started(&self) -> PathBuf {
        self.directory.join("startedat")
    }

    /// Where the session stands. Ours, not registry:2's.
    pub(crate) fn record(&self) -> PathBuf {
        self.directory.join("session")
    }

    pub(crate) fn hash_states(&self, algorithm: Algorithm) -> PathBuf {
        self.directory.join("hashstates").join(algorithm.as_str())
    }

    pub(crate) fn hash_state(&self, algorithm: Algorithm, offset: u64) -> PathBuf {
        self.hash_states(algorithm).join(offset.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_registry_2() {
        let layout = Layout::new(Path::new("/r"));
        let name = RepositoryName::parse("library/alpine").unwrap();
        let tag = layout.tag(&name, &Tag::parse("3.20").unwrap());
        let digest = Digest::of(Algorithm::Sha256, b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let id = UploadId::parse("0e5b2cb5-1a52-4b8a-8c41-5d4e4e0a1ed0").unwrap();
        let upload = layout.upload(&name, &id);

        for (path, expected) in [
            (layout.blob(&digest), format!("blobs/sha256/e3/{hex}/data")),
            (
                layout.layer(&name, &digest),
                format!("repositories/library/alpine/_layers/sha256/{hex}/link"),
            ),
            (
                layout.revision(&name, &digest),
                format!("repositories/library/alpine/_manifests/revisions/sha256/{hex}/link"),
            ),
            (
                tag.current(),
                "repositories/library/alpine/_manifests/tags/3.20/current/link".into(),
            ),
            (
                tag.index(&digest),
                format!("repositories/library/alpine/_manifests/tags/3.20/index/sha256/{hex}/link"),
            ),
            (
                upload.data(),
                format!("repositories/library/alpine/_uploads/{id}/data"),
            ),
            (
                upload.started(),
                format!("repositories/library/alpine/_uploads/{id}/startedat"),
            ),
            (
                upload.hash_state(Algorithm::Sha256, 5),
                format!("repositories/library/alpine/_uploads/{id}/hashstates/sha256/5"),
            ),
        ] {
            assert_eq!(path, Path::new("/r/docker/registry/v2").join(expected));
        }
    }
}
