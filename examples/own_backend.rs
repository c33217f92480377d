//! A storage from scratch, as for a database: flat tables in one transaction at a time. It declares no ability, so a
//! second process may use the same tables, and the registry asks for nothing that they cannot do: upload sessions
//! belong to the handle that opened them, and tags move unconditionally.
//!
//! Its tests are the contract suite: `cargo test -p registry-examples --example own_backend`.
//!
//! `cargo run -p registry-examples --example own_backend`

use async_trait::async_trait;
use bytes::Bytes;
use registry_core::{
    Descriptor, Digest, MediaType, Reference, Registry, RepositoryName, Storage, StorageWrite, Tag, UploadId,
    hash::{Checkpoint, Hasher},
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Content, Deletion, Listing, Mount, Moved, Needed, NewUpload,
        Page, PutManifest, PutOutcome, ReadBlob, Referring, Result, SizePolicy, StorageError, StoredManifest,
        TagExpect, UploadBody, UploadState, Uploader, Verified, WrongSize,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// Number of bytes taken from a client at once.
const PIECE: usize = 256 << 10;

/// The tables. A primary key is a tuple, and the rows of a repository follow each other.
#[derive(Debug, Default)]
struct Tables {
    repositories: BTreeSet<RepositoryName>,
    blobs: BTreeMap<Digest, Bytes>,
    links: BTreeSet<(RepositoryName, Digest)>,
    manifests: BTreeMap<(RepositoryName, Digest), Manifest>,
    tags: BTreeMap<(RepositoryName, Tag), Digest>,
    referrers: BTreeMap<(RepositoryName, Digest, Digest), Descriptor>,
}

/// A row of the table of manifests.
#[derive(Clone, Debug)]
struct Manifest {
    media_type: MediaType,
    bytes: Bytes,
    subject: Option<Digest>,
}

/// An upload session, which only the handle that opened it knows.
#[derive(Debug)]
struct Session {
    bytes: Vec<u8>,
    checkpoint: Option<Checkpoint>,
    /// The body of a closing request, with the hash state after it. It counts once it is committed.
    closing: Option<(Vec<u8>, Option<Checkpoint>)>,
    version: u64,
    sealed: bool,
    appending: bool,
    touched: SystemTime,
    opened_by: Option<Uploader>,
}

/// A handle on the tables.
#[derive(Debug, Default)]
struct Database {
    tables: Arc<Mutex<Tables>>,
    sessions: Mutex<HashMap<(RepositoryName, UploadId), Session>>,
}

impl Database {
    /// Opens another handle on the same tables, as another process would.
    fn reopen(&self) -> Self {
        Self {
            tables: Arc::clone(&self.tables),
            sessions: Mutex::default(),
        }
    }

    /// Begins a transaction. It ends when the guard is dropped, before any `await`.
    fn transaction(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `with` on a session in the state that the caller saw, unless it is in use.
    fn session<T>(
        &self,
        repository: &RepositoryName,
        seen: &UploadState,
        with: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions
            .get_mut(&(repository.clone(), seen.id))
            .ok_or(StorageError::UploadUnknown)?;
        if session.appending || session.version.to_be_bytes()[..] != seen.version[..] {
            return Err(session.conflict());
        }
        with(session)
    }
}

impl Session {
    fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn conflict(&self) -> StorageError {
        StorageError::upload_conflict(self.offset())
    }

    fn state(&self, id: UploadId) -> UploadState {
        let version = Bytes::copy_from_slice(&self.version.to_be_bytes());
        UploadState::new(id, self.offset(), version)
            .with_checkpoint(self.checkpoint.clone())
            .with_touched(Some(self.touched))
            .with_opened_by(self.opened_by.clone())
    }

    /// Returns the state with the body of a closing request, if there is one.
    fn closing_state(&self, id: UploadId) -> UploadState {
        let mut state = self.state(id);
        if let Some((body, checkpoint)) = &self.closing {
            state.offset += body.len() as u64;
            state.checkpoint.clone_from(checkpoint);
        }
        state
    }

    /// Returns the closing body, if the caller's state includes it.
    fn closing_seen(&self, seen: &UploadState) -> Option<&[u8]> {
        let body = self.closing.as_ref().map(|(body, _)| body.as_slice());
        body.filter(|body| seen.offset == self.offset() + body.len() as u64)
    }

    /// Returns the bytes that the caller's state includes.
    fn bytes_seen(&self, seen: &UploadState) -> Vec<u8> {
        [&self.bytes, self.closing_seen(seen).unwrap_or_default()].concat()
    }
}

impl Tables {
    fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<Bytes> {
        let is_linked = self.links.contains(&(repository.clone(), *digest));
        self.blobs.get(digest).filter(|_| is_linked).cloned()
    }

    /// Checks what a manifest needs, and returns what has another size than its descriptor says.
    fn check(
        &self,
        repository: &RepositoryName,
        needs: &[Needed],
        sizes: SizePolicy,
    ) -> Result<Vec<WrongSize>> {
        let (mut missing, mut wrong) = (Vec::new(), Vec::new());
        for needed in needs {
            let (digest, need) = (&needed.digest, needed.need);
            let blob = self.blob(repository, digest).filter(|_| need.admits_blob());
            let manifest = self.manifests.get(&(repository.clone(), *digest));
            let manifest = manifest.filter(|_| need.admits_manifest());
            let stored = blob.or_else(|| manifest.map(|found| found.bytes.clone()));
            match stored.map(|bytes| bytes.len() as u64) {
                None => missing.push(*digest),
                Some(stored) => wrong.extend(needed.wrong_size(stored)),
            }
        }
        match (missing.is_empty(), sizes, wrong.first()) {
            (false, ..) => Err(StorageError::MissingReferences(missing)),
            (true, SizePolicy::Exact, Some(first)) => Err((*first).into()),
            _ => Ok(wrong),
        }
    }

    fn publish(&mut self, repository: &RepositoryName, digest: Digest, bytes: Bytes) -> BlobInfo {
        let info = BlobInfo::new(digest, bytes.len() as u64);
        self.blobs.insert(digest, bytes);
        self.links.insert((repository.clone(), digest));
        info
    }
}

/// Returns the rows of a repository after the page's lower bound, as a query with an index would.
fn rows<'a, K: Clone + Ord + 'a>(
    rows: impl Iterator<Item = &'a (RepositoryName, K)>,
    repository: &RepositoryName,
    page: Page<'_, K>,
) -> Listing<K> {
    let of_repository =
        rows.filter(|(name, key)| name == repository && page.after.is_none_or(|after| key > after));
    Listing::first(page.limit, of_repository.map(|(_, key)| key.clone()))
}

/// Refuses a condition, since a tag is moved without looking at it.
fn unconditional(expect: TagExpect) -> Result<()> {
    match expect {
        TagExpect::Any => Ok(()),
        _ => Err(StorageError::Unsupported("move tags conditionally")),
    }
}

#[async_trait]
impl Storage for Database {
    fn abilities(&self) -> Abilities {
        Abilities::none()
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let found = self.transaction().blob(repository, digest);
        Ok(found.map(|bytes| BlobInfo::new(*digest, bytes.len() as u64)))
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let Some(bytes) = self.transaction().blob(repository, digest) else {
            return Ok(None);
        };
        let size = bytes.len() as u64;
        let range = how.resolve(size)?;
        let in_memory = |offset| usize::try_from(offset).map_err(|_| StorageError::internal("too large"));
        let part = bytes.slice(in_memory(range.start)?..in_memory(range.end)?);
        let body = BlobBody::Content(Content::bytes(part));
        Ok(Some(BlobRead::new(BlobInfo::new(*digest, size), range, body)))
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let tables = self.transaction();
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => tables.tags.get(&(repository.clone(), tag.clone())).copied(),
        };
        Ok(digest.and_then(|digest| {
            let row = tables.manifests.get(&(repository.clone(), digest))?;
            let (media_type, bytes) = (row.media_type.clone(), row.bytes.clone());
            Some(StoredManifest::new(digest, media_type, bytes))
        }))
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let tables = self.transaction();
        let exists = tables.repositories.contains(repository);
        Ok(exists.then(|| rows(tables.tags.keys(), repository, page)))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let tables = self.transaction();
        let wanted = tables
            .referrers
            .iter()
            .filter(|((name, subject, digest), descriptor)| {
                name == repository
                    && subject == of.subject
                    && page.after.is_none_or(|after| digest > after)
                    && descriptor.is_of(of.artifact_type)
            });
        Ok(Listing::first(
            page.limit,
            wanted.map(|(_, descriptor)| descriptor.clone()),
        ))
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let tables = self.transaction();
        let names = tables.repositories.iter();
        let names = names.filter(|name| page.after.is_none_or(|after| *name > after));
        Ok(Listing::first(page.limit, names.cloned()))
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }
}

/// The right to append to a session. It ends with the append, also if that is dropped.
struct Append<'a>(&'a Database, (RepositoryName, UploadId));

impl Append<'_> {
    /// Adds bytes, offset and hash state in one step.
    fn keep(&self, bytes: &mut Vec<u8>, hasher: &Hasher, closing: bool) -> Result<UploadState> {
        let mut sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(&self.1).ok_or(StorageError::UploadUnknown)?;
        if !bytes.is_empty() {
            if closing {
                session.closing = Some((std::mem::take(bytes), hasher.checkpoint()));
            } else {
                session.bytes.append(bytes);
                session.checkpoint = hasher.checkpoint();
            }
            session.version += 1;
            session.touched = SystemTime::now();
        }
        Ok(session.closing_state(self.1.1))
    }
}

impl Drop for Append<'_> {
    fn drop(&mut self) {
        let mut sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = sessions.get_mut(&self.1) {
            session.appending = false;
        }
    }
}

#[async_trait]
impl StorageWrite for Database {
    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| StorageError::internal(error.to_string()))?;
        let id = UploadId::from_random(random);
        let session = Session {
            bytes: Vec::new(),
            checkpoint: Some(new.checkpoint),
            closing: None,
            version: 0,
            sealed: false,
            appending: false,
            touched: SystemTime::now(),
            opened_by: new.uploader,
        };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let state = session.state(id);
        sessions.insert((repository.clone(), id), session);
        Ok(state)
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&(repository.clone(), *id));
        Ok(session.map(|session| session.state(*id)))
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        self.session(repository, &state, |session| {
            session.appending = !session.sealed;
            if session.appending && session.closing.take().is_some() {
                session.version += 1;
            }
            session.appending.then_some(()).ok_or_else(|| session.conflict())
        })?;
        let append = Append(self, (repository.clone(), state.id));
        let mut hasher = body.take_hasher()?;
        let mut received = Vec::new();
        while let Some(piece) = body.next(PIECE).await? {
            piece.hash(&mut hasher)?;
            piece
                .chunks()
                .iter()
                .for_each(|chunk| received.extend_from_slice(chunk));
            // The bytes of a closing body are stored together or not at all.
            if body.closing().is_none() {
                append.keep(&mut received, &hasher, false)?;
            }
        }
        let state = append.keep(&mut received, &hasher, body.closing().is_some())?;
        body.return_hasher(hasher);
        Ok(state)
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        mut hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let (state, bytes) = self.session(repository, &state, |session| {
            if session.closing_seen(&state).is_some() {
                return Ok((session.closing_state(state.id), session.bytes_seen(&state)));
            }
            session.sealed = true;
            session.version += 1;
            Ok((session.state(state.id), session.bytes.clone()))
        })?;
        hasher.update(&bytes);
        Ok((state, hasher))
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        if *proof.upload() != state.id {
            return Err(StorageError::internal("the proof is for another upload session"));
        }
        let key = (repository.clone(), state.id);
        let mut tables = self.transaction();
        let committed = self.session(repository, &state, |session| {
            let bytes = session.bytes_seen(&state);
            if bytes.len() as u64 == proof.size() {
                Ok(bytes)
            } else {
                Err(StorageError::internal("the proof is for another number of bytes"))
            }
        });
        match (committed, tables.blob(repository, proof.digest())) {
            (Ok(bytes), _) => {
                let info = tables.publish(repository, *proof.digest(), bytes.into());
                let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                sessions.remove(&key);
                Ok(info)
            }
            // An earlier attempt has succeeded.
            (Err(StorageError::UploadUnknown), Some(bytes)) => {
                Ok(BlobInfo::new(*proof.digest(), bytes.len() as u64))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(sessions.remove(&(repository.clone(), *id)).is_some())
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let mut tables = self.transaction();
        let found = tables.blob(mount.from, mount.digest);
        Ok(found.map(|bytes| tables.publish(to, *mount.digest, bytes)))
    }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        put.tags
            .iter()
            .try_for_each(|moved| unconditional(moved.expect))?;
        let mut tables = self.transaction();
        let wrong_sizes = tables.check(repository, &put.needs, put.sizes)?;
        let digest = *put.manifest.digest();
        let subject = put.referrer.map(|(subject, descriptor)| {
            let key = (repository.clone(), subject, digest);
            tables.referrers.insert(key, descriptor);
            subject
        });
        let row = Manifest {
            media_type: put.media_type,
            bytes: put.manifest.into_bytes(),
            subject,
        };
        tables.repositories.insert(repository.clone());
        let before = tables.manifests.insert((repository.clone(), digest), row);
        let mut outcome = PutOutcome::of_manifest(before.is_none());
        outcome.wrong_sizes = wrong_sizes;
        let tags: BTreeSet<Tag> = put.tags.into_iter().map(|moved| moved.tag).collect();
        for tag in tags {
            let previous = tables.tags.insert((repository.clone(), tag.clone()), digest);
            outcome.moved.push(Moved::new(tag, previous));
        }
        Ok(outcome)
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        _: Deletion,
    ) -> Result<Option<Digest>> {
        unconditional(expect)?;
        let mut tables = self.transaction();
        Ok(tables.tags.remove(&(repository.clone(), tag.clone())))
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        _: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let mut tables = self.transaction();
        let Some(row) = tables.manifests.remove(&(repository.clone(), *digest)) else {
            return Ok(None);
        };
        if let Some(subject) = row.subject {
            tables.referrers.remove(&(repository.clone(), subject, *digest));
        }
        let pointing = tables
            .tags
            .extract_if(.., |(name, _), target| name == repository && target == digest);
        Ok(Some(pointing.map(|((_, tag), _)| tag).collect()))
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, _: Deletion) -> Result<bool> {
        // The bytes stay, for other repositories and for the next push.
        Ok(self.transaction().links.remove(&(repository.clone(), *digest)))
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let database = Database::default();
    let other = Registry::builder(database.reopen()).build();
    let registry = Registry::builder(database).build();

    let pushed = registry
        .repository("team/app")?
        .push_blob(String::from("content"), None)
        .await?;
    let found = other.repository("team/app")?.blob(&pushed.digest).await?;

    println!(
        "the other process finds {} bytes",
        found.map_or(0, |blob| blob.size)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_conformance::{storage::Backend, storage_tests};

    async fn database() -> Backend {
        let first = Database::default();
        let second = first.reopen();
        Backend::new(Arc::new(first), Arc::new(second))
    }

    storage_tests!(database);
}
