//! Paths of all files. Only this module turns a name, digest, tag or upload session into a path.
//!
//! Only parsed types come in. None of them can spell `..`, an absolute path, a NUL or a component that begins with
//! `_`: no request reaches outside the root or into internal files.

use registry_core::{Algorithm, Digest, RepositoryName, Tag, UploadId, storage::TrashId};
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

    /// Lock file of the process that owns the directory; it names that process.
    pub(crate) fn owner(&self) -> PathBuf {
        self.top.join("_owner")
    }

    /// Socket on which the owner takes commands. Its directory is private to the owner's user.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.top.join("_control/socket")
    }

    /// Directory of files being written, on the same file system as their targets. Its content is worthless after a
    /// crash.
    pub(crate) fn staging(&self) -> PathBuf {
        self.top.join("_staging")
    }

    /// File with a note of maintenance.
    pub(crate) fn note(&self, name: &str) -> PathBuf {
        self.top.join("_notes").join(name)
    }

    /// Directory of damaged content with digests of one algorithm.
    pub(crate) fn quarantines(&self, algorithm: Algorithm) -> PathBuf {
        self.top.join("_quarantine").join(algorithm.as_str())
    }

    /// Paths of one piece of damaged content.
    pub(crate) fn quarantine(&self, digest: &Digest, number: u64) -> QuarantinePaths {
        let directory = self
            .quarantines(digest.algorithm())
            .join(digest.hex())
            .join(number.to_string());
        QuarantinePaths { directory }
    }

    /// Progress of the verification. A hint.
    pub(crate) fn verification(&self) -> PathBuf {
        self.top.join("_verify").join("state")
    }

    /// Directory of records of deletions, by repository.
    pub(crate) fn trash(&self) -> PathBuf {
        self.top.join("_trash")
    }

    pub(crate) fn deletions(&self, name: &RepositoryName) -> PathBuf {
        self.trash().join(name.as_str()).join("_deleted")
    }

    pub(crate) fn deletion(&self, name: &RepositoryName, id: &TrashId) -> PathBuf {
        self.deletions(name).join(id.to_string())
    }

    /// Directory of the histories of all tags.
    pub(crate) fn all_histories(&self) -> PathBuf {
        self.top.join("_history")
    }

    /// Directory of the histories of the tags of a repository.
    pub(crate) fn histories(&self, name: &RepositoryName) -> PathBuf {
        self.all_histories().join(name.as_str()).join("_tags")
    }

    pub(crate) fn history(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.histories(name).join(tag.as_str())
    }

    /// Directory of records, each with the repository of an open upload session. Derived.
    pub(crate) fn session_records(&self) -> PathBuf {
        self.top.join("_sessions")
    }

    pub(crate) fn session_record(&self, id: &UploadId) -> PathBuf {
        self.session_records().join(id.to_string())
    }

    /// File with what a collection has to know of the past.
    pub(crate) fn collect_state(&self) -> PathBuf {
        self.top.join("_collect/state")
    }

    /// File with the blobs whose removal an earlier deletion accounts for.
    pub(crate) fn collect_released(&self) -> PathBuf {
        self.top.join("_collect/released")
    }

    /// Directory of the files that reserve space for records of deletions.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.top.join("_collect/reserve")
    }

    /// Directory of data derived from the repositories. Other programs do not know it.
    pub(crate) fn index(&self) -> PathBuf {
        self.top.join("_index")
    }

    /// Lock file of the process that maintains the index.
    pub(crate) fn index_owner(&self) -> PathBuf {
        self.index().join("_owner")
    }

    /// The index of the referrers of a repository.
    pub(crate) fn referrers(&self, name: &RepositoryName) -> PathBuf {
        self.index().join(name.as_str()).join("_referrers")
    }

    /// File that names the opening in which that index was completed.
    pub(crate) fn referrers_complete(&self, name: &RepositoryName) -> PathBuf {
        self.referrers(name).join("complete")
    }

    pub(crate) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.top.join("blobs").join(algorithm.as_str())
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let fan = hex.get(..2).unwrap_or_default();
        self.below(["blobs", digest.algorithm().as_str(), fan, &hex, "data"])
    }

    /// Returns a path below the top directory, in one allocation: collections take millions.
    fn below<const N: usize>(&self, names: [&str; N]) -> PathBuf {
        let length: usize = names.iter().map(|name| 1 + name.len()).sum();
        let mut path = PathBuf::with_capacity(self.top.as_os_str().len() + length);
        path.push(&self.top);
        path.extend(names);
        path
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.top.join("repositories")
    }

    fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    /// Directory by which registry:2's collector recognizes a repository.
    pub(crate) fn all_layers(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_layers")
    }

    pub(crate) fn layers(&self, name: &RepositoryName, algorithm: Algorithm) -> PathBuf {
        self.all_layers(name).join(algorithm.as_str())
    }

    pub(crate) fn layer(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        let algorithm = digest.algorithm().as_str();
        self.below([
            "repositories",
            name.as_str(),
            "_layers",
            algorithm,
            &digest.hex(),
            "link",
        ])
    }

    /// Directory that makes a repository exist.
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

    /// File with the media type that a manifest was pushed with, if its bytes do not state it. Not in registry:2's
    /// layout.
    pub(crate) fn media_type(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.media_types(name, digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn media_types(&self, name: &RepositoryName, algorithm: Algorithm) -> PathBuf {
        self.all_media_types(name).join(algorithm.as_str())
    }

    pub(crate) fn all_media_types(&self, name: &RepositoryName) -> PathBuf {
        self.manifests(name).join("media-types")
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

/// Paths of one piece of content in quarantine.
#[derive(Debug)]
pub(crate) struct QuarantinePaths {
    pub(crate) directory: PathBuf,
}

impl QuarantinePaths {
    /// The quarantined item: a file, or a directory in place of a file.
    pub(crate) fn bytes(&self) -> PathBuf {
        self.directory.join("bytes")
    }

    /// Record of the original path and of the fault.
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

    /// Link to the manifest that the tag points at.
    pub(crate) fn current(&self) -> PathBuf {
        self.directory.join("current/link")
    }

    /// Link to one of the manifests that the tag ever pointed at.
    pub(crate) fn index(&self, digest: &Digest) -> PathBuf {
        self.targets(digest.algorithm()).join(digest.hex()).join("link")
    }

    /// Directory of these links with digests of one algorithm.
    pub(crate) fn targets(&self, algorithm: Algorithm) -> PathBuf {
        self.directory.join("index").join(algorithm.as_str())
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

    /// Record of the offset and state of the session. Not in registry:2's layout.
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
