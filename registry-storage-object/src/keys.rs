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
/// Directory of the notes of what has changed, by time.
pub(crate) const CHANGES: &str = "docker/registry/v2/_index/_changes";
/// Directory of the markers of repositories that exist.
pub(crate) const MARKERS: &str = "docker/registry/v2/_index/_repositories";
/// Directory of the records of open upload sessions.
pub(crate) const SESSIONS: &str = "docker/registry/v2/_sessions";
/// Directory of records of deletions, by repository.
pub(crate) const TRASH: &str = "docker/registry/v2/_trash";
/// Directory of the histories of all tags.
pub(crate) const HISTORY: &str = "docker/registry/v2/_history";
/// Directory of damaged content.
pub(crate) const QUARANTINE: &str = "docker/registry/v2/_quarantine";
/// Directory of the keys of the probe.
pub(crate) const PROBE: &str = "docker/registry/v2/_probe";
/// Directory of the results of probes.
pub(crate) const KEPT_PROBES: &str = "docker/registry/v2/_probe/kept";
/// Record of the process that writes, where only one may.
pub(crate) const WRITER: &str = "docker/registry/v2/_leases/writer";
/// Directory of the notes of recurring work.
pub(crate) const NOTES: &str = "docker/registry/v2/_notes";
/// Progress of the verification. A hint.
pub(crate) const VERIFICATION: &str = "docker/registry/v2/_verify/state";

/// State of the collection.
pub(crate) const COLLECTION: &str = "docker/registry/v2/_collect/state";
/// Directory of the states of the collection, where a store has no updates.
pub(crate) const COLLECTIONS: &str = "docker/registry/v2/_collect/states";

/// Directory of the signs of the holders of collections.
pub(crate) const HOLDERS: &str = "docker/registry/v2/_collect/holders";
/// Directory of the lists of condemned items.
pub(crate) const LISTS: &str = "docker/registry/v2/_collect/lists";
/// Directory of the signs that items came into use, by epoch.
pub(crate) const RESCUED: &str = "docker/registry/v2/_collect/rescued";
/// Directory of the batches of removals, by epoch.
pub(crate) const BATCHES: &str = "docker/registry/v2/_collect/batches";
/// Directory of the notes about manifests that have gone since the last collection.
pub(crate) const GONE: &str = "docker/registry/v2/_collect/gone";
/// Directory of the notes of deletions of manifests and blobs.
pub(crate) const DELETING: &str = "docker/registry/v2/_collect/deleting";
/// Sign that no other program had written to the bucket, or that somebody has asked for a collection.
pub(crate) const OWN: &str = "docker/registry/v2/_collect/own";

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

/// Directory of the blobs that a repository holds, by which registry:2's collector recognizes it.
pub(crate) fn all_layers(name: &RepositoryName) -> String {
    format!("{}/_layers", repository(name))
}

pub(crate) fn layers(name: &RepositoryName, algorithm: Algorithm) -> String {
    format!("{}/{}", all_layers(name), algorithm.as_str())
}

pub(crate) fn layer(name: &RepositoryName, digest: &Digest) -> String {
    format!("{}/{}/link", layers(name, digest.algorithm()), digest.hex())
}

/// Directory that makes a repository exist.
pub(crate) fn manifests(name: &RepositoryName) -> String {
    format!("{}/_manifests", repository(name))
}

/// Directory of the records of all manifests of a repository.
pub(crate) fn all_revisions(name: &RepositoryName) -> String {
    format!("{}/revisions", manifests(name))
}

pub(crate) fn revisions(name: &RepositoryName, algorithm: Algorithm) -> String {
    format!("{}/{}", all_revisions(name), algorithm.as_str())
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

/// Returns the tag in the key of its target. `directory` is that of all tags.
pub(crate) fn current_tag(directory: &str, key: &str) -> Option<Tag> {
    let rest = key.strip_prefix(directory)?.strip_prefix('/')?;
    Tag::parse(rest.strip_suffix("/current/link")?).ok()
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

/// Directory of registry:2's list of the past targets of a tag.
pub(crate) fn tag_targets(name: &RepositoryName, tag: &Tag) -> String {
    format!("{}/{}/index", tags(name), tag.as_str())
}

/// Object that makes the directory of the layers exist: registry:2's collector fails without it, or ignores the
/// repository and removes its content. Its name is not that of a link.
pub(crate) fn layers_exist(name: &RepositoryName) -> String {
    format!("{}/exists", layers(name, Algorithm::Sha256))
}

/// Returns the digest of such an entry.
pub(crate) fn past_target(key: &str) -> Option<Digest> {
    let (_, entry) = key.split_once("/index/")?;
    let (algorithm, hex) = entry.strip_suffix("/link")?.split_once('/')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// Returns the name of a repository as one segment of a key: some stores cannot have both `a` and `a/b`.
pub(crate) fn flat(name: &RepositoryName) -> String {
    name.as_str().replace('/', "=")
}

/// Returns the repository whose name is in a segment.
pub(crate) fn of_flat(segment: &str) -> Option<RepositoryName> {
    RepositoryName::parse(&segment.replace('=', "/")).ok()
}

/// Object that makes a repository exist when nothing is left in it.
pub(crate) fn marker(name: &RepositoryName) -> String {
    format!("{MARKERS}/{}", flat(name))
}

/// Returns the repository of a marker.
pub(crate) fn marked(key: &str) -> Option<RepositoryName> {
    let (directory, name) = key.rsplit_once('/')?;
    (directory == MARKERS).then(|| of_flat(name))?
}

/// Directory of the notes of the tags of a repository in a part of time.
pub(crate) fn tag_changes(slot: u64, name: &RepositoryName) -> String {
    format!("{CHANGES}/{slot}/{}", flat(name))
}

/// Directory of the notes of repositories in a part of time.
pub(crate) fn repository_changes(slot: u64) -> String {
    format!("{CHANGES}/{slot}/_repositories")
}

/// Note that something comes, or goes.
pub(crate) fn change(directory: &str, comes: bool, name: &str) -> String {
    let kind = if comes { "comes" } else { "goes" };
    format!("{directory}/{kind}/{name}")
}

/// Returns the name in a note, and if it comes.
pub(crate) fn changed<'a>(directory: &str, key: &'a str) -> Option<(bool, &'a str)> {
    let rest = key.strip_prefix(directory)?.strip_prefix('/')?;
    match rest.split_once('/')? {
        ("comes", name) => Some((true, name)),
        ("goes", name) => Some((false, name)),
        _ => None,
    }
}

/// Returns the name after a directory in a key: `tag` of `…/tags/tag/current/link`.
pub(crate) fn name_in<'a>(directory: &str, key: &'a str) -> Option<&'a str> {
    let rest = key.strip_prefix(directory)?.strip_prefix('/')?;
    rest.split('/').next()
}

/// Returns the digest in the key of a link below the directories of both algorithms.
pub(crate) fn linked(directory: &str, key: &str) -> Option<Digest> {
    let rest = key.strip_prefix(directory)?.strip_prefix('/')?;
    let (algorithm, hex) = rest.strip_suffix("/link")?.split_once('/')?;
    digest_of(algorithm, hex)
}

/// Returns the digest in the key of the data of a blob.
pub(crate) fn stored(key: &str) -> Option<Digest> {
    let rest = key.strip_prefix(TOP)?.strip_prefix("/blobs/")?;
    let (algorithm, rest) = rest.strip_suffix("/data")?.split_once('/')?;
    let (fan, hex) = rest.split_once('/')?;
    digest_of(algorithm, hex).filter(|_| hex.starts_with(fan) && fan.len() == 2)
}

fn digest_of(algorithm: &str, hex: &str) -> Option<Digest> {
    let algorithm = Algorithm::ALL.into_iter().find(|one| one.as_str() == algorithm)?;
    Digest::from_hex(algorithm, hex).ok()
}

/// Derived data of a repository.
pub(crate) fn index(name: &RepositoryName) -> String {
    format!("{INDEX}/{}", name.as_str())
}

/// Directory of the media types of manifests.
pub(crate) fn media_types(name: &RepositoryName) -> String {
    format!("{}/_media-types", index(name))
}

/// The media type of a manifest whose bytes do not say it.
pub(crate) fn media_type(name: &RepositoryName, digest: &Digest) -> String {
    format!(
        "{}/{}/{}",
        media_types(name),
        digest.algorithm().as_str(),
        digest.hex()
    )
}

/// Entries of the referrers of all manifests of a repository.
pub(crate) fn referrers(name: &RepositoryName) -> String {
    format!("{}/_referrers", index(name))
}

/// Entries of the referrers of one manifest.
pub(crate) fn referrers_of(name: &RepositoryName, subject: &Digest) -> String {
    format!(
        "{}/{}/{}",
        referrers(name),
        subject.algorithm().as_str(),
        subject.hex()
    )
}

/// Manifests of a repository that were read for the entries of referrers.
pub(crate) fn referrers_known(name: &RepositoryName) -> String {
    format!("{}/known", referrers(name))
}

/// Record of an open upload session.
pub(crate) fn session(id: &UploadId) -> String {
    let id = id.to_string();
    let fan = id.get(..2).unwrap_or_default();
    format!("{SESSIONS}/{fan}/{id}")
}

/// Directory of the entries of an upload session, where its record is a numbered log.
pub(crate) fn session_log(id: &UploadId) -> String {
    format!("{}.log", session(id))
}

pub(crate) fn session_entry(id: &UploadId, number: u64) -> String {
    format!("{}/{number:08}", session_log(id))
}

/// Returns the id of an upload session by the key of its record, or of an entry of its log.
pub(crate) fn session_id(key: &str) -> Option<UploadId> {
    let record = key.rsplit_once(".log/").map_or(key, |(record, _)| record);
    let id = UploadId::parse(record.rsplit('/').next()?).ok()?;
    (session(&id) == record).then_some(id)
}

/// Unverified bytes of an upload session.
pub(crate) fn session_data(id: &UploadId) -> String {
    format!("{}.data", session(id))
}

/// Bytes of an upload session that are too many for its record, and too few for a part.
pub(crate) fn session_piece(id: &UploadId, name: &str) -> String {
    format!("{}.pieces/{name}", session(id))
}

/// Returns the id of an upload session by the key of its unverified bytes.
pub(crate) fn session_of_bytes(key: &str) -> Option<UploadId> {
    let piece = || key.rsplit_once(".pieces/").map(|(record, _)| record);
    session_id(key.strip_suffix(".data").or_else(piece)?)
}

/// Directory of these.
pub(crate) fn session_pieces(id: &UploadId) -> String {
    format!("{}.pieces", session(id))
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

/// Directory of the damaged content of a digest.
pub(crate) fn quarantines(digest: &Digest) -> String {
    format!("{QUARANTINE}/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// Directory of the numbered log of a tag, for stores without other conditions.
pub(crate) fn log(name: &RepositoryName, tag: &Tag) -> String {
    format!("{HISTORY}/{}/_log/{}", name.as_str(), tag.as_str())
}

/// Directory of one piece of damaged content.
pub(crate) fn quarantine(id: &QuarantineId) -> String {
    format!("{}/{}", quarantines(&id.digest), id.number)
}

/// Returns the item whose bytes are at a key.
pub(crate) fn quarantined(key: &str) -> Option<QuarantineId> {
    let rest = key.strip_prefix(QUARANTINE)?.strip_prefix('/')?;
    let mut parts = rest.strip_suffix("/bytes")?.split('/');
    let digest = digest_of(parts.next()?, parts.next()?)?;
    let number = number(parts.next()?)?;
    parts.next().is_none().then(|| QuarantineId::new(digest, number))
}

/// Greatest number in a key. Nothing is counted so far: a greater one is not ours, and calculating with it may overflow.
pub(crate) const GREATEST: u64 = 1 << 48;

/// Returns the number that is a part of a key.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= GREATEST)
}

pub(crate) fn collection_entry(number: u64) -> String {
    format!("{COLLECTIONS}/{number:020}")
}

/// List of items that a collection is going to remove.
pub(crate) fn condemned(name: &str) -> String {
    format!("{LISTS}/{name}")
}

/// Sign that an item came into use after it was condemned.
pub(crate) fn rescued(epoch: u64, mark: Mark) -> String {
    format!("{}/{}", all_rescued(epoch), mark.text())
}

/// Directory of these signs.
pub(crate) fn all_rescued(epoch: u64) -> String {
    format!("{RESCUED}/{epoch}")
}

/// Directory of the batches of removals of an epoch.
pub(crate) fn batches(epoch: u64) -> String {
    format!("{BATCHES}/{epoch}")
}

/// Number of batches in a directory of the next function.
pub(crate) const BATCHES_BESIDE: u64 = 1000;

/// Directory of such a batch. A look lists that of the newest one only.
pub(crate) fn batches_beside(epoch: u64, number: u64) -> String {
    format!("{}/{:017}", batches(epoch), number / BATCHES_BESIDE)
}

/// One of these batches.
pub(crate) fn batch(epoch: u64, number: u64) -> String {
    format!("{}/{number:020}", batches_beside(epoch, number))
}

/// Result of the probe of one address of the bucket, by the digest of the address.
pub(crate) fn kept_probe(address: &Digest) -> String {
    format!("{KEPT_PROBES}/{}", address.hex())
}

/// Sign that the holder of a collection is alive.
pub(crate) fn holder(name: &str) -> String {
    format!("{HOLDERS}/{name}")
}

/// Directory of the notes that a manifest is being deleted.
pub(crate) fn deleting(name: &RepositoryName, digest: &Digest) -> String {
    format!(
        "{DELETING}/{}/{}/{}",
        flat(name),
        digest.algorithm().as_str(),
        digest.hex()
    )
}

/// Directory of the notes that blobs of a repository are being deleted.
pub(crate) fn deleting_blobs(name: &RepositoryName) -> String {
    format!("{DELETING}/{}/_blobs", flat(name))
}

/// Directory of the notes that a blob is being deleted.
pub(crate) fn deleting_blob(name: &RepositoryName, digest: &Digest) -> String {
    let directory = deleting_blobs(name);
    format!("{directory}/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// Note that a number of manifests have gone since the last collection.
pub(crate) fn gone(name: &str, number: u64) -> String {
    format!("{GONE}/{name}-{number}")
}

/// Returns the number of manifests that such a note is about.
pub(crate) fn gone_number(key: &str) -> Option<u64> {
    let (_, last) = key.strip_prefix(GONE)?.rsplit_once('-')?;
    number(last)
}
