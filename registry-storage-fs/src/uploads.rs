//! Upload sessions: the files in `_uploads/<id>/`, and the operations that change only these.
//!
//! registry:2 keeps `data`, `startedat` and `hashstates/<algorithm>/<offset>`. Our record, `session`, is beside them:
//! it names the offset of the session and the boot in which it was written. Bytes beyond that offset belong to an
//! append that died, and are cut off before the next append.
//!
//! Nothing here is synced before the commit. After a power loss the newest bytes may be gone while their hash state
//! still exists and would vouch for wrong content. A hash state therefore counts only in the boot that wrote it;
//! otherwise the session is hashed again when it closes. The hash states of registry:2 name no boot, so they do not
//! count.

use crate::{
    blobs::hash_file,
    error::{Context, FsError},
    layout::UploadPaths,
    locks::Held,
    moves::rename_making_way,
    pauses::Point,
    store::Store,
    stored_file, time,
};
use bytes::{BufMut, Bytes, BytesMut};
use registry_core::{
    Algorithm, Digest, RepositoryName, UploadId,
    hash::{Checkpoint, Hasher},
    storage::{BlobInfo, NewUpload, Result, StorageError, UploadState, Uploader, Verified},
};
use serde_json::{Map, Value};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// Content of the file `session`.
#[derive(Debug)]
struct Record {
    /// Number of changes of the session.
    version: u64,
    /// Number of bytes of `data` that count.
    offset: u64,
    /// Algorithm of the stored hash state of these bytes, if there is one.
    algorithm: Option<String>,
    /// The boot that wrote this.
    boot: String,
    /// True if no append may follow.
    sealed: bool,
    /// Set before `data` becomes this blob, so that an interrupted commit can continue.
    committing: Option<String>,
    /// Uploader that opened the session, if it is known. Older versions neither write nor keep it.
    opened_by: Option<String>,
    /// Offset before the body of a closing request, whose bytes count only once they are committed.
    base: Option<u64>,
}

impl Record {
    /// Parses a record. Fields that later versions may add are ignored.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let json: Value = str::from_utf8(bytes).ok()?.parse().ok()?;
        let text = |field: &str| optional(json.get(field), |value| Some(value.as_str()?.to_owned()));
        Some(Self {
            version: json.get("version")?.as_u64()?,
            offset: json.get("offset")?.as_u64()?,
            algorithm: text("algorithm")?,
            boot: text("boot")??,
            sealed: json.get("sealed")?.as_bool()?,
            committing: text("committing")?,
            opened_by: text("opened_by")?,
            base: optional(json.get("base"), Value::as_u64)?,
        })
    }

    fn to_json(&self) -> String {
        let mut fields = Map::new();
        let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
        set("version", self.version.into());
        set("offset", self.offset.into());
        set("algorithm", self.algorithm.as_deref().into());
        set("boot", self.boot.as_str().into());
        set("sealed", self.sealed.into());
        set("committing", self.committing.as_deref().into());
        if let Some(uploader) = &self.opened_by {
            set("opened_by", uploader.as_str().into());
        }
        if let Some(base) = self.base {
            set("base", base.into());
        }
        Value::Object(fields).to_string()
    }
}

/// Reads a field that may be missing or null; `None` if it has another type.
fn optional<T>(value: Option<&Value>, read: impl FnOnce(&Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => read(value).map(Some),
    }
}

/// State of a session according to its files.
#[derive(Debug)]
pub(crate) struct Session {
    paths: UploadPaths,
    id: UploadId,
    started: Option<SystemTime>,
    touched: Option<SystemTime>,
    version: u64,
    pub(crate) offset: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Offset to which the session returns unless it is committed, if it includes the body of a closing request.
    pub(crate) base: Option<u64>,
    /// Offset with the body of a closing request, if there is one that it does not include.
    closing: Option<u64>,
    sealed: bool,
    /// The blob that `data` has already become.
    became: Option<Digest>,
    /// Blob that a commit has begun to make of it.
    committing: Option<Digest>,
    opened_by: Option<Uploader>,
    /// True if the session cannot continue: `data` has become a blob that is gone again, or files are missing that a
    /// session has from its beginning. Clients are not shown it, and maintenance ends it.
    spent: bool,
}

/// A session that only the holder may change.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) session: Session,
    pub(crate) lock: Arc<Held<UploadId>>,
}

impl Store {
    pub(crate) fn open_upload(&self, repository: &RepositoryName, new: &NewUpload) -> Result<UploadState> {
        self.require_room(new.size.unwrap_or(0))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|source| StorageError::failed("cannot generate the id of an upload session", source))?;
        let id = UploadId::from_random(random);
        self.recorded(repository, id, || self.open_session(repository, id, new))
    }

    fn open_session(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        new: &NewUpload,
    ) -> Result<UploadState> {
        let now = time::format(SystemTime::now());

        // The session appears whole, by one rename.
        let staged = self.disk.stage()?;
        let mut session = Session {
            paths: UploadPaths::below(staged.path.clone()),
            id,
            started: time::parse(&now),
            touched: time::parse(&now),
            version: 0,
            offset: 0,
            checkpoint: Some(new.checkpoint.clone()),
            base: None,
            closing: None,
            sealed: false,
            became: None,
            committing: None,
            opened_by: new.uploader.clone(),
            spent: false,
        };
        let write = |path: PathBuf, bytes: &[u8]| fs::write(&path, bytes).at("write", &path);
        fs::create_dir(&staged.path).at("create", &staged.path)?;
        write(session.paths.data(), b"")?;
        write(session.paths.started(), now.as_bytes())?;
        self.keep(&mut session, None)?;
        self.pauses.reach(Point::UploadStaged);

        let directory = self.layout.upload(repository, &id).directory;
        if let Err(error) = rename_making_way(&staged.path, &directory) {
            self.leave_uploads(repository);
            return Err(error.into());
        }
        Ok(session.state())
    }

    pub(crate) fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        let session = self.load(repository, id)?;
        Ok(session
            .filter(|session| !session.spent)
            .map(|session| session.state()))
    }

    /// Does the same for maintenance, which also ends sessions that are no longer shown to clients.
    pub(crate) fn any_upload(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Option<UploadState>, FsError> {
        let session = self.load(repository, id)?;
        Ok(session.map(|session| session.state()))
    }

    pub(crate) fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        // Without the lock, so that the client does not wait for its own append. The append fails, because its session
        // is gone.
        Ok(self.end_upload(repository, &self.layout.upload(repository, id).directory)?)
    }

    pub(crate) fn rehash(
        &self,
        repository: &RepositoryName,
        seen: &UploadState,
        mut hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let Claimed {
            mut session,
            lock: _lock,
        } = self.claim(repository, seen)?;
        let path = session.data_path(self);
        let file = File::open(&path).at("open", &path)?;
        hash_file(&file, session.offset, &mut hasher).at("read", &path)?;
        if hasher.offset() != session.offset {
            return Err(StorageError::internal(format!(
                "an upload session of {} bytes ended at {} while it was read",
                session.offset,
                hasher.offset()
            )));
        }
        // Recorded with the new hash, so that a retry of the close reads nothing. A retry with a body replaces bytes.
        session.checkpoint = hasher.checkpoint();
        if session.base.is_none() {
            session.sealed = true;
            let became = session.became;
            self.keep(&mut session, became.as_ref())?;
        }
        Ok((session.state(), hasher))
    }

    pub(crate) fn commit(
        &self,
        repository: &RepositoryName,
        seen: &UploadState,
        proof: &Verified,
    ) -> Result<BlobInfo> {
        if *proof.upload() != seen.id {
            return Err(StorageError::internal("the proof is for another upload session"));
        }
        let digest = *proof.digest();
        let mut claimed = match self.claim(repository, seen) {
            Err(StorageError::UploadUnknown) => return self.commit_again(repository, proof),
            other => other?,
        };
        self.pauses.reach(Point::CommitClaimed);
        let session = &mut claimed.session;
        // Synced before the section, which should not last as long.
        let data = match session.became {
            Some(became) if became == digest && session.offset == proof.size() => None,
            // The bytes are already stored under another digest.
            Some(_) => return Err(session.conflict()),
            None => {
                let data = session.paths.data();
                let file = session.cut()?;
                let stored = file.metadata().at("read the metadata of", &data)?.len();
                if stored != proof.size() {
                    return Err(StorageError::internal(format!(
                        "the proof is for {} bytes, the session has {stored}",
                        proof.size()
                    )));
                }
                self.keep(session, Some(&digest))?;
                self.sync_upload(repository, session.directory(), &file, &data)?;
                Some(data)
            }
        };
        let stored = self.publish_upload(repository, &digest, data.as_deref())?;
        self.end_upload(repository, session.directory())?;
        let Some(stored) = stored else {
            return Err(StorageError::UploadUnknown);
        };
        self.holders.add(&digest, repository);
        Ok(stored)
    }

    /// Makes the data of a session a blob of a repository. Without `data`, that is the blob already; returns `None` if
    /// this was removed since. A link to it would acknowledge bytes that are gone.
    fn publish_upload(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        data: Option<&Path>,
    ) -> Result<Option<BlobInfo>> {
        let section = self.section([
            self.digest_locks.key(digest),
            self.digest_locks.repository(repository),
        ]);
        section.promise();
        let mut changes = self.disk.changes();
        match data {
            // Replaces an existing file. These bytes are verified, and the existing ones may be damaged. Open readers
            // keep the old file.
            Some(data) => self
                .place_blob(digest, |target| changes.publish(data, target))
                .map_err(ended)?,
            None => changes.ensure_durable(&self.layout.blob(digest))?,
        }
        let Some(stored) = self.stored(digest)? else {
            return Ok(None);
        };
        self.pauses.reach(Point::CommitDataPublished);
        // Data before link: whenever the link exists, the data exists, even after a crash.
        let link = self.layout.layer(repository, digest);
        self.place(digest, &link, || {
            changes.ensure(&link, digest.to_string().as_bytes())
        })?;
        self.pauses.reach(Point::CommitLinked);
        changes.settle()?;
        self.pauses.reach(Point::CommitDurable);
        Ok(Some(stored))
    }

    /// Returns the blob of an earlier attempt that succeeded, and whose response was lost.
    fn commit_again(&self, repository: &RepositoryName, proof: &Verified) -> Result<BlobInfo> {
        let digest = *proof.digest();
        self.in_section(vec![self.digest_locks.key(&digest)], |section| {
            let held = self.promise_held(section, repository, &digest)?;
            let Some((target, held)) = held.filter(|(_, held)| held.size == proof.size()) else {
                return Ok(None);
            };
            // Another push may be storing the blob, and not have synced it yet.
            let mut changes = self.disk.changes();
            changes.ensure_durable(&self.layout.layer(repository, &digest))?;
            changes.ensure_durable(&self.layout.blob(&target))?;
            changes.settle()?;
            Ok(Some(held))
        })?
        .ok_or(StorageError::UploadUnknown)
    }

    /// Syncs the received bytes of a session; if that fails, the session ends.
    ///
    /// The kernel reports the failure once, and the lost bytes still look present. If the session continued, its close
    /// would be acknowledged.
    pub(crate) fn sync_upload(
        &self,
        repository: &RepositoryName,
        directory: &Path,
        file: &File,
        data: &Path,
    ) -> Result<()> {
        let synced = self.disk.sync_data(file, data);
        if synced.is_err()
            && let Err(also) = self.end_upload(repository, directory)
        {
            tracing::error!(
                directory = %directory.display(),
                error = %also,
                "cannot remove an upload session whose bytes may be lost"
            );
        }
        Ok(synced?)
    }

    /// Claims the session for this caller alone, if its state is the one that the caller saw.
    pub(crate) fn claim(&self, repository: &RepositoryName, seen: &UploadState) -> Result<Claimed> {
        // Without waiting: of two concurrent appends one is refused.
        let lock = self.uploads.try_lock(seen.id);
        let mut session = self
            .load(repository, &seen.id)?
            .ok_or(StorageError::UploadUnknown)?;
        match lock {
            Some(_lock) if session.spent => {
                self.end_upload(repository, session.directory())?;
                Err(StorageError::UploadUnknown)
            }
            None if session.spent => Err(StorageError::UploadUnknown),
            Some(lock) if session.version() == seen.version => {
                session.include_closing(seen);
                Ok(Claimed {
                    session,
                    lock: Arc::new(lock),
                })
            }
            _ => Err(session.conflict()),
        }
    }

    /// Does the same for an append: the session is not sealed, and its data is cut to the bytes that count, and open.
    pub(crate) fn claim_for_append(
        &self,
        repository: &RepositoryName,
        seen: &UploadState,
    ) -> Result<(Claimed, File)> {
        let mut claimed = self.claim(repository, seen)?;
        if claimed.session.sealed || claimed.session.base.is_some() {
            return Err(claimed.session.conflict());
        }
        if claimed.session.closing.take().is_some() {
            // Before its bytes are overwritten: otherwise its commit could still be accepted.
            self.keep(&mut claimed.session, None)?;
        }
        let file = claimed.session.cut()?;
        Ok((claimed, file))
    }

    pub(crate) fn load(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Option<Session>, FsError> {
        let paths = self.layout.upload(repository, id);
        let path = paths.started();
        let begun = stored_file::read(&path).if_there("read", &path)?;
        let started = begun.as_deref().and_then(|text| std::str::from_utf8(text).ok());
        let started = started.and_then(time::parse);
        let data = paths.data();
        let stored = fs::metadata(&data).if_there("read the metadata of", &data)?;
        // A directory cannot be written, and a write to a pipe waits for a reader.
        let is_data = |data: &fs::Metadata| !data.is_dir() && !data.file_type().is_fifo();
        let is_whole = begun.is_some() && stored.as_ref().is_none_or(is_data);
        let mut touched = stored.as_ref().and_then(|data| data.modified().ok());
        touched = touched.max(started);
        if !is_whole || touched.is_none() {
            // Its age is that of its directory, so that maintenance can end it.
            let directory =
                fs::metadata(&paths.directory).if_there("read the metadata of", &paths.directory)?;
            let Some(directory) = directory else {
                return Ok(None);
            };
            touched = touched.max(directory.modified().ok());
        }
        let stored = stored.map(|data| data.len());
        let mut session = Session {
            started,
            touched,
            version: 0,
            offset: stored.unwrap_or(0),
            checkpoint: None,
            base: None,
            closing: None,
            sealed: false,
            became: None,
            committing: None,
            opened_by: None,
            spent: !is_whole,
            id: *id,
            paths,
        };
        if let Some(record) = session.record()? {
            self.apply(record, stored, &mut session)?;
        }
        Ok(Some(session))
    }

    fn apply(&self, record: Record, stored: Option<u64>, session: &mut Session) -> Result<(), FsError> {
        session.version = record.version;
        session.sealed = record.sealed;
        session.opened_by = record.opened_by.as_deref().and_then(Uploader::parse);
        let mut there = stored.unwrap_or(0);
        let committing = record.committing.and_then(|digest| Digest::parse(&digest).ok());
        session.committing = committing;
        if let (Some(digest), None) = (committing, stored) {
            match self.stored(&digest)? {
                Some(blob) if blob.size == record.offset => {
                    there = blob.size;
                    session.became = Some(digest);
                    session.sealed = true;
                }
                _ => session.spent = true,
            }
        }
        let base = record.base.filter(|_| session.became.is_none());
        if base.is_some() {
            session.closing = (record.offset <= there).then_some(record.offset);
            session.sealed = false;
        }
        let counted = base.unwrap_or(record.offset);
        session.offset = counted.min(there);
        let trusted = counted <= there && record.boot == self.boot;
        if trusted && let Some(algorithm) = record.algorithm.and_then(|name| name.parse().ok()) {
            session.checkpoint = session.hash_state(algorithm)?;
        }
        Ok(())
    }

    /// Records the state of a session, and possibly the blob that its data is about to become. The record survives the
    /// end of the process; it is not synced.
    pub(crate) fn keep(&self, session: &mut Session, committing: Option<&Digest>) -> Result<()> {
        let algorithm = session.checkpoint.as_ref().map(Checkpoint::algorithm);
        if let Some(checkpoint) = &session.checkpoint {
            let directory = session.paths.hash_states(checkpoint.algorithm());
            let path = session.paths.hash_state(checkpoint.algorithm(), session.offset);
            match self.disk.replace(&path, checkpoint.as_bytes()) {
                Err(error) if error.is_absence() => {
                    make_hash_states(&session.paths, &directory).map_err(ended)?;
                    self.disk.replace(&path, checkpoint.as_bytes()).map_err(ended)?;
                }
                other => other?,
            }
        }
        session.version += 1;
        let record = Record {
            version: session.version,
            offset: session.offset,
            algorithm: algorithm.map(|algorithm| algorithm.to_string()),
            boot: self.boot.clone(),
            sealed: session.sealed,
            committing: committing.map(Digest::to_string),
            opened_by: session.opened_by.as_ref().map(Uploader::to_string),
            base: session.base,
        };
        self.disk
            .replace(&session.paths.record(), record.to_json().as_bytes())
            .map_err(ended)?;
        session.drop_older_hash_states();
        Ok(())
    }
}

impl Session {
    pub(crate) fn state(&self) -> UploadState {
        UploadState::new(self.id, self.offset, self.version())
            .with_checkpoint(self.checkpoint.clone())
            .with_started(self.started)
            .with_touched(self.touched)
            .with_committing(self.committing)
            .with_published(self.became)
            .with_opened_by(self.opened_by.clone())
    }

    /// Returns true if the session cannot continue.
    pub(crate) const fn is_spent(&self) -> bool {
        self.spent
    }

    /// Directory of the session.
    pub(crate) fn directory(&self) -> &Path {
        &self.paths.directory
    }

    /// File for the bytes of the session.
    pub(crate) fn data(&self) -> PathBuf {
        self.paths.data()
    }

    /// Includes the body of a closing request, if the caller's state does.
    fn include_closing(&mut self, seen: &UploadState) {
        if self.offset != seen.offset && self.closing == Some(seen.offset) {
            self.base = Some(self.offset);
            self.closing = None;
            self.offset = seen.offset;
            self.checkpoint.clone_from(&seen.checkpoint);
        }
    }

    /// Version of the session. It includes the offset, which can fall without a record being written, when bytes get
    /// lost.
    fn version(&self) -> Bytes {
        let mut version = BytesMut::with_capacity(16);
        version.put_u64(self.version);
        version.put_u64(self.base.unwrap_or(self.offset));
        version.freeze()
    }

    const fn conflict(&self) -> StorageError {
        StorageError::upload_conflict(self.offset)
    }

    /// Opens the data for writing, cut to the bytes that count.
    fn cut(&self) -> Result<File> {
        if self.became.is_some() {
            return Err(self.conflict());
        }
        let path = self.paths.data();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .at("open", &path)
            .map_err(ended)?;
        if file.metadata().at("read the metadata of", &path)?.len() > self.offset {
            file.set_len(self.offset).at("truncate", &path)?;
        }
        Ok(file)
    }

    fn data_path(&self, store: &Store) -> PathBuf {
        self.became
            .map_or_else(|| self.paths.data(), |digest| store.layout.blob(&digest))
    }

    fn record(&self) -> Result<Option<Record>, FsError> {
        let path = self.paths.record();
        let Some(bytes) = stored_file::read(&path).if_there("read", &path)? else {
            return Ok(None);
        };
        let record = Record::parse(&bytes);
        if record.is_none() {
            tracing::warn!(path = %path.display(), "cannot parse the record of an upload session; all of its data counts, and is hashed again");
        }
        Ok(record)
    }

    /// Reads the stored hash of exactly the bytes that count.
    fn hash_state(&self, algorithm: Algorithm) -> Result<Option<Checkpoint>, FsError> {
        let path = self.paths.hash_state(algorithm, self.offset);
        let bytes = stored_file::read(&path).if_there("read", &path)?;
        Ok(bytes
            .and_then(|bytes| Checkpoint::parse(algorithm, bytes.into()))
            .filter(|checkpoint| checkpoint.offset() == self.offset))
    }

    /// Removes older hash states. Best effort, since a hash state that no record names means nothing.
    fn drop_older_hash_states(&self) {
        let newest = self.checkpoint.as_ref().map(Checkpoint::algorithm);
        let kept = |algorithm| {
            let offsets = [Some(self.offset), self.base].into_iter().flatten();
            let of_newest = offsets.filter(move |_| newest == Some(algorithm));
            of_newest.map(move |offset| self.paths.hash_state(algorithm, offset))
        };
        for algorithm in Algorithm::ALL {
            let Ok(entries) = fs::read_dir(self.paths.hash_states(algorithm)) else {
                continue;
            };
            for path in entries.flatten().map(|entry| entry.path()) {
                if !kept(algorithm).any(|kept| kept == path) {
                    let _ = fs::remove_file(path);
                }
            }
        }
    }
}

/// Creates the directory for hash states, but never the session's own, which may just have been cancelled.
fn make_hash_states(paths: &UploadPaths, directory: &Path) -> Result<(), FsError> {
    for directory in [&paths.directory.join("hashstates"), directory] {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.at("create", directory)?,
        }
    }
    Ok(())
}

/// Returns the error for a session that is gone although it was in use: it was cancelled.
fn ended(error: FsError) -> StorageError {
    if error.is_absence() {
        StorageError::UploadUnknown
    } else {
        error.into()
    }
}
