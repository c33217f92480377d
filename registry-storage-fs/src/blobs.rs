//! Blobs of a repository: finding, opening, mounting and deleting them.
//!
//! A repository has a blob by a link file. It contains the digest that the blob is stored under. That is the digest of
//! the blob, or, for the sha512 blobs of registry:2, the sha256 of the same bytes.

use crate::{
    error::{Context, FsError},
    links,
    pauses::Point,
    read::FileBody,
    runtime::runtime,
    sections::Section,
    store::Store,
    stored_file,
};
use registry_core::{
    Digest, RepositoryName,
    hash::Hasher,
    storage::{BlobBody, BlobInfo, BlobRead, Content, FileRange, Listing, Page, ReadBlob, Result},
};
use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

/// Number of bytes read at once when a file is hashed.
const HASHED_AT_ONCE: usize = 256 << 10;

impl Store {
    /// Returns the blob, if the repository holds it and its data exists.
    pub(crate) fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let Some(target) = links::read_of(&self.layout.layer(repository, digest), digest)? else {
            return Ok(None);
        };
        Ok(self.stored(&target)?.map(|found| known_as(digest, &found)))
    }

    /// Does the same for a pusher, who is promised that the blob stays.
    pub(crate) fn promised_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>> {
        if !self.is_owned() {
            // The owner does not see promises of other processes, which refuse to write.
            return self.blob(repository, digest);
        }
        self.in_section(vec![self.digest_locks.key(digest)], |section| {
            let held = self.promise_held(section, repository, digest)?;
            Ok(held.map(|(_, found)| found))
        })
    }

    /// Finds a blob, and promises it. Returns it with the digest that it is stored under, or `None` also if the section
    /// is blocked.
    pub(crate) fn promise_held(
        &self,
        section: &mut Section<'_>,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<(Digest, BlobInfo)>> {
        let Some(target) = links::read_of(&self.layout.layer(repository, digest), digest)? else {
            return Ok(None);
        };
        if target != *digest && !section.add(&target) {
            return Ok(None);
        }
        let Some(found) = self.stored(&target)? else {
            return Ok(None);
        };
        section.promise();
        // Removed at a deletion.
        self.holders.add(digest, repository);
        self.pauses.reach(Point::BlobPromised);
        Ok(Some((target, known_as(digest, &found))))
    }

    /// Returns the blob stored under a digest, whichever repository holds it.
    pub(crate) fn stored(&self, target: &Digest) -> Result<Option<BlobInfo>, FsError> {
        let path = self.layout.blob(target);
        let metadata = fs::metadata(&path).if_there("read the metadata of", &path)?;
        Ok(metadata.and_then(|metadata| self.whole(target, &metadata, &path)))
    }

    pub(crate) fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let Some(target) = links::read_of(&self.layout.layer(repository, digest), digest)? else {
            return Ok(None);
        };
        let path = self.layout.blob(&target);
        let Some(file) = stored_file::open(&path).if_there("open", &path)? else {
            return Ok(None);
        };
        let metadata = file.metadata().at("read the metadata of", &path)?;
        let Some(found) = self.whole(&target, &metadata, &path) else {
            return Ok(None);
        };
        let info = known_as(digest, &found);
        let range = how.resolve(info.size)?;
        // A hint for the kernel: reads from the disk also read the following bytes.
        let _ = rustix::fs::fadvise(&file, range.start, None, rustix::fs::Advice::Sequential);
        let file = Arc::new(file);
        let stream = FileBody::new(
            Arc::clone(&file),
            range.clone(),
            runtime()?,
            Arc::clone(&self.buffers),
        );
        let content = Content::stream(Box::pin(stream)).with_file(FileRange::new(file, range.clone()));
        Ok(Some(BlobRead::new(info, range, BlobBody::Content(content))))
    }

    pub(crate) fn holders(
        &self,
        digest: &Digest,
        page: &Page<'_, RepositoryName>,
    ) -> Listing<RepositoryName> {
        Listing::first(page.limit, self.holders.after(digest, page.after))
    }

    pub(crate) fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<BlobInfo>> {
        let keys = vec![self.digest_locks.key(digest), self.digest_locks.repository(to)];
        self.in_section(keys, |section| {
            let Some((target, found)) = self.promise_held(section, from, digest)? else {
                return Ok(None);
            };
            let mut changes = self.disk.changes();
            // The push of the data may be in progress, and its name not durable yet.
            changes.ensure_durable(&self.layout.blob(&target))?;
            let link = self.layout.layer(to, digest);
            self.place(digest, &link, || {
                changes.ensure(&link, target.to_string().as_bytes())
            })?;
            self.pauses.reach(Point::MountLinked);
            changes.settle()?;
            self.holders.add(digest, to);
            Ok(Some(found))
        })
    }

    pub(crate) fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        // A collection that removes the link, and its directory, is not at work meanwhile.
        let _locks = self.digest_locks.exclusive([self.digest_locks.key(digest)]);
        let link = self.layout.layer(repository, digest);
        let target = links::read_of(&link, digest)?;
        let held = match &target {
            Some(target) => self.stored(target)?.is_some(),
            None => false,
        };
        let named: Vec<Digest> = [Some(*digest), target].into_iter().flatten().collect();
        if target.is_some() {
            self.account_for(&named);
        }
        let mut changes = self.disk.changes();
        self.place(digest, &link, || changes.remove(&link))?;
        self.pauses.reach(Point::DeleteBlobLinkRemoved);
        self.known_closures.removed([self.digest_locks.key(digest)]);
        changes.settle()?;
        self.holders.remove(digest, repository);
        let keys = named.iter().map(|digest| self.digest_locks.key(digest));
        self.collecting.release(keys);
        if target.is_some() {
            self.collecting.suspect_blob(repository, digest);
        }
        Ok(held)
    }

    /// Returns the blob of a file; `None` if the file cannot be it, which is logged once. It is not a regular file, or
    /// it is empty for a digest of other content, as after a power loss without a sync.
    fn whole(&self, target: &Digest, metadata: &Metadata, path: &Path) -> Option<BlobInfo> {
        let is_file = metadata.is_file();
        if is_file && (metadata.len() > 0 || *target == Digest::of(target.algorithm(), b"")) {
            return Some(BlobInfo::new(*target, metadata.len()).with_modified(metadata.modified().ok()));
        }
        if self.reported.is_news(path, u64::from(!is_file)) {
            tracing::warn!(
                path = %path.display(),
                "a stored blob is {}; it counts as absent until it is pushed again",
                if is_file { "empty" } else { "not a regular file" }
            );
        }
        None
    }
}

/// Returns the same blob under the digest by which a repository knows it.
pub(crate) fn known_as(digest: &Digest, stored: &BlobInfo) -> BlobInfo {
    BlobInfo::new(*digest, stored.size).with_modified(stored.modified)
}

/// Feeds the rest of an open file to a hasher, at most `limit` bytes.
pub(crate) fn hash_file(file: &File, limit: u64, hasher: &mut Hasher) -> io::Result<()> {
    let mut rest = file.take(limit);
    let mut buffer = vec![0; HASHED_AT_ONCE];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
