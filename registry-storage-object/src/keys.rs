//! Keys of all objects. Only this module turns a name, digest, tag or upload session into a key.
//!
//! Only parsed types come in. None of them can spell `..`, an empty segment or a segment that begins with `_`: no
//! request reaches outside the root or into internal keys. Keys are relative to the root directory of the bucket.

use crate::gate::Mark;
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag, UploadId,
    storage::{QuarantineId, TrashId},
};

/// Directory of everything.
pub(crate) const TOP: &str = "docker/registry/v2";
/// Directory of the repositories. registry:2 walks it.
pub(crate) const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// Directory of data derived from the repositories.
pub(crate) const INDEX: &str = "docker/registry/v2/_index";
/// Directory of the records of open upload sessions.
pub(crate) const SESSIONS: &str = "docker/registry/v2/_sessions";
/// Directory of records of deletions, by repository.
pub(crate) const TRASH: &str = "docker/registry/v2/_trash";
/// Directory of the histories of all tags.
pub(crate) const HISTORY: &str = "docker/registry/v2/_history";
/// Directory of the state of collections.
pub(crate) const COLLECT: &str = "docker/registry/v2/_collect";
/// Directory of damaged content.
pub(crate) const QUARANTINE: &str = "docker/registry/v2/_quarantine";
/// Directory of the keys of the probe.
pub(crate) const PROBE: &str = "docker/registry/v2/_probe";
/// Record of the process that writes, where only one may.
pub(crate) const WRITER: &str = "docker/registry/v2/_leases/writer";
/// Progress of the verification. A hint.
pub(crate) const VERIFICATION: &str = "docker/registry/v2/_verify/state";

/// State of the collection.
pub(crate) const COLLECTION: &str = "docker/registry/v2/_collect/state";
/// Directory of the states of the collection, where a store has no updates.
pub(crate) const COLLECTIONS: &str = "docker/registry/v2/_collect/states";

pub(crate) fn blobs(algorithm: Algorithm) -> String {
    format!("{TOP}/blobs/{}", algorithm.as_str())
}

pub(crate) fn blob(digest: &Digest) -> String {
    let hex = digest.hex();
    let fan = hex.get(..2).unwrap_or_default();
    format!("{TOP}/blobs/{}/{fan}/{hex}/data", digest.algorithm().as_str())
}

pub(crate) fn repository(name: &RepositoryName) -> String {
    format!("{REPOSITORIES}/{}", name.as_str())
}

/// Directory by which registry:2's collector recognizes a repository.
pub(crate) fn layers(name: &RepositoryName, algorithm: Algorithm) -> String {
    format!("{}/_layers/{}", repository(name), algorithm.as_str())
}

pub(crate) fn layer(name: &RepositoryName, digest: &Digest) -> String {
    format!("{}/{}/link", layers(name, digest.algorithm()), digest.hex())
}

/// Directory that makes a repository exist.
pub(crate) fn manifests(name: &RepositoryName) -> String {
    format!("{}/_manifests", repository(name))
}

pub(crate) fn revisions(name: &RepositoryName, algorithm: Algorithm) -> String {
    format!("{}/revisions/{}", manifests(name), algorithm.as_str())
}

pub(crate) fn revision(name: &RepositoryName, digest: &Digest) -> String {
    format!("{}/{}/link", revisions(name, digest.algorithm()), digest.hex())
}

pub(crate) fn tags(name: &RepositoryName) -> String {
    format!("{}/tags", manifests(name))
}

/// The target of a tag, and nothing else.
pub(crate) fn tag(name: &RepositoryName, tag: &Tag) -> String {
    format!("{}/{}/current/link", tags(name), tag.as_str())
}

/// Entry of registry:2's list of the past targets of a tag.
pub(crate) fn tag_index(name: &RepositoryName, tag: &Tag, digest: &Digest) -> String {
    format!(
        "{}/{}/index/{}/{}/link",
        tags(name),
        tag.as_str(),
        digest.algorithm().as_str(),
        digest.hex()
    )
}

/// Directory of registry:2's files of open upload sessions.
pub(crate) fn uploads(name: &RepositoryName) -> String {
    format!("{}/_uploads", repository(name))
}

/// Derived data of a repository.
pub(crate) fn index(name: &RepositoryName) -> String {
    format!("{INDEX}/{}", name.as_str())
}

/// The media type of a manifest whose bytes do not say it.
pub(crate) fn media_type(name: &RepositoryName, digest: &Digest) -> String {
    format!(
        "{}/_media-types/{}/{}",
        index(name),
        digest.algorithm().as_str(),
        digest.hex()
    )
}

/// Entries of the referrers of all manifests of a repository.
pub(crate) fn referrers(name: &RepositoryName) -> String {
    format!("{}/_referrers", index(name))
}

/// Record of an open upload session.
pub(crate) fn session(id: &UploadId) -> String {
    let id = id.to_string();
    let fan = id.get(..2).unwrap_or_default();
    format!("{SESSIONS}/{fan}/{id}")
}

/// Unverified bytes of an upload session.
pub(crate) fn session_data(id: &UploadId) -> String {
    format!("{}.data", session(id))
}

/// Directory of the records of deletions in a repository.
pub(crate) fn deletions(name: &RepositoryName) -> String {
    format!("{TRASH}/{}/_deleted", name.as_str())
}

pub(crate) fn deletion(name: &RepositoryName, id: &TrashId) -> String {
    format!("{}/{id}/record", deletions(name))
}

/// Directory of the histories of the tags of a repository.
pub(crate) fn histories(name: &RepositoryName) -> String {
    format!("{HISTORY}/{}/_tags", name.as_str())
}

/// Directory of the entries of the history of a tag.
pub(crate) fn history(name: &RepositoryName, tag: &Tag) -> String {
    format!("{}/{}", histories(name), tag.as_str())
}

/// Directory of one piece of damaged content.
pub(crate) fn quarantine(id: &QuarantineId) -> String {
    format!(
        "{QUARANTINE}/{}/{}/{}",
        id.digest.algorithm().as_str(),
        id.digest.hex(),
        id.number
    )
}

pub(crate) fn collection_entry(number: u64) -> String {
    format!("{COLLECTIONS}/{number:020}")
}

/// List of items that a collection is going to remove.
pub(crate) fn condemned(name: &str) -> String {
    format!("{COLLECT}/lists/{name}")
}

/// Sign that an item came into use after it was condemned.
pub(crate) fn rescued(epoch: u64, mark: Mark) -> String {
    format!("{}/{}", all_rescued(epoch), mark.text())
}

/// Directory of these signs.
pub(crate) fn all_rescued(epoch: u64) -> String {
    format!("{COLLECT}/rescued/{epoch}")
}

/// Directory of the batches of removals of an epoch.
pub(crate) fn batches(epoch: u64) -> String {
    format!("{COLLECT}/batches/{epoch}")
}
