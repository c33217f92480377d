//! Manifests as they are put.
//!
//! A put is one section, which rests on one [view](crate::gate::View) of the collection: what the manifest needs is
//! promised, looked for, and then the manifest is published by requests that expire before the view has become too old.
//! If they do, the section begins again.
//!
//! The order: content, media type and referrer entry, which nobody sees yet; the record, from which on readers see the
//! manifest; the tags, in byte order; at last another look at the record. If that has gone meanwhile, the tags may point at
//! nothing: the section begins again. It does as well if the record has the [mark](crate::marks) of a deletion that may have
//! removed a tag. Stores without preconditions need a look for a [deletion](crate::deleting) whose removal may take effect later.
//!
//! Requests to the store: two for each needed item, at once; five for the manifest, and one more each for a referrer, a
//! media type that the bytes do not say, and a manifest without a layer; up to five for each [tag](crate::tags). A test
//! counts them.

use crate::{
    error::restart,
    gate::{Promised, View},
    keys,
    links::SECTIONS,
    manifest_reads::stated,
    store::Store,
    tags::{Link, Moving, Origin},
};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Moved, Needed, PutManifest, PutOutcome, Result, StorageError, TagExpect, TagMove},
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Progress of a put.
struct Progress {
    /// Moves that are left, in byte order of the tags.
    moves: VecDeque<TagMove>,
    outcome: PutOutcome,
    /// Tags that were moved before the section began again.
    moved_before: Vec<Moved>,
}

/// Outcome of a section.
enum Section {
    Done,
    /// It has to begin again.
    Again,
}

/// State of the record of a manifest and of its referrer entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Both are there.
    Recorded,
    /// A deletion has marked the record.
    Marked,
    /// One of them is gone, or is being removed.
    Gone,
}

/// Time for which a put waits for the end of a deletion.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time between two looks at a record that a deletion has marked.
const STEP: Duration = Duration::from_millis(200);

impl Store {
    pub(crate) async fn put_manifest(
        &self,
        repository: &RepositoryName,
        mut put: PutManifest,
    ) -> Result<PutOutcome> {
        put.tags.sort_by(|a, b| a.tag.cmp(&b.tag));
        let mut progress = Progress {
            moves: std::mem::take(&mut put.tags).into(),
            outcome: PutOutcome::of_manifest(false),
            moved_before: Vec::new(),
        };
        for _ in 0..SECTIONS {
            match self.put_section(repository, &put, &mut progress).await? {
                Section::Done => return Ok(progress.outcome),
                Section::Again => {}
            }
        }
        Err(restart(&format!("put {}", put.manifest.digest())))
    }

    async fn put_section(
        &self,
        repository: &RepositoryName,
        put: &PutManifest,
        progress: &mut Progress,
    ) -> Result<Section> {
        let digest = put.manifest.digest();
        let view = self.gate.view(&self.bucket).await?;
        let promised = promised(repository, digest, &put.needs);
        self.gate.promise(&self.bucket, &view, &promised).await?;
        let check = || self.check_needs(repository, &put.needs, put.sizes, view.fence());
        let (needs, has_waited, there) = tokio::join!(
            check(),
            self.outlast_deletion_of_needs(repository, &put.needs),
            self.revision_link(repository, digest)
        );
        let needs = match has_waited? {
            true => check().await?,
            false => needs?,
        };
        progress.outcome.wrong_sizes = needs.wrong_sizes;
        progress.outcome.created |= there?.target().is_none();
        if progress.outcome.created {
            // The repository exists from then on, also if all its manifests are deleted.
            self.note_repository(repository, &view).await?;
        }

        if !self
            .store_content(repository, put, &view, needs.has_layer)
            .await?
        {
            return Ok(Section::Again);
        }
        let record = keys::revision(repository, digest);
        if !self.publish(&record, digest.to_string().into(), &view).await? {
            return Ok(Section::Again);
        }
        if !self.move_tags(repository, put, &view, progress).await? {
            return Ok(Section::Again);
        }
        if self.has_stayed(repository, put).await? {
            return Ok(Section::Done);
        }
        progress.begin_again(digest);
        Ok(Section::Again)
    }

    /// Stores what readers do not see before the record is there. Returns false if the view has become too old.
    async fn store_content(
        &self,
        repository: &RepositoryName,
        put: &PutManifest,
        view: &View,
        has_layer: bool,
    ) -> Result<bool> {
        let (digest, bytes) = (put.manifest.digest(), put.manifest.bytes());
        let data = keys::blob(digest);
        let content = self.bucket.put(&data, bytes.clone());
        let media_type = async {
            if stated(bytes).as_ref() == Some(&put.media_type) {
                return Ok(());
            }
            let key = keys::media_type(repository, digest);
            self.bucket.put(&key, put.media_type.as_str().to_owned()).await
        };
        let layers = async {
            match has_layer {
                true => Ok(()),
                false => self.bucket.put(&keys::layers_exist(repository), "").await,
            }
        };
        let entry = self.add_referrer(repository, put, view);
        let (content, media_type, layers, entry) = tokio::join!(content, media_type, layers, entry);
        content?;
        media_type?;
        layers?;
        entry
    }

    /// Moves the tags that are left, until one fails. Returns false if the view has become too old.
    async fn move_tags(
        &self,
        repository: &RepositoryName,
        put: &PutManifest,
        view: &View,
        progress: &mut Progress,
    ) -> Result<bool> {
        while let Some(TagMove { tag, expect, .. }) = progress.moves.front() {
            let moving = Moving {
                repository,
                tag,
                to: put.manifest.digest(),
                expect: *expect,
                origin: Origin::of(put),
                view,
            };
            let before = progress.moved_before(tag);
            match self.move_tag(&moving).await {
                Ok(Some(moved)) => progress.outcome.moved.push(before.unwrap_or(moved)),
                Ok(None) => return Ok(false),
                // Somebody has moved it on since this put has moved it.
                Err(StorageError::TagConflict { .. }) if before.is_some() => {
                    progress.outcome.moved.extend(before);
                }
                Err(error) => {
                    progress.outcome.failed = Some((tag.clone(), error));
                    progress.moves.clear();
                    break;
                }
            }
            progress.moves.pop_front();
        }
        Ok(true)
    }

    /// Returns true if the manifest is there, with its referrer entry, and no deletion removes it that was going on before.
    async fn has_stayed(&self, repository: &RepositoryName, put: &PutManifest) -> Result<bool> {
        if self.has_marks() {
            let began = Instant::now();
            loop {
                match self.state(repository, put).await? {
                    State::Recorded => return Ok(true),
                    // The deletion is probably going on.
                    State::Marked if began.elapsed() < PATIENCE => tokio::time::sleep(STEP).await,
                    // To write it again takes the mark off.
                    State::Marked | State::Gone => return Ok(false),
                }
            }
        }
        let (state, has_waited) = tokio::join!(
            self.state(repository, put),
            self.outlast_deletion(repository, put.manifest.digest())
        );
        let state = match has_waited? {
            true => self.state(repository, put).await,
            false => state,
        };
        Ok(state? == State::Recorded)
    }

    async fn state(&self, repository: &RepositoryName, put: &PutManifest) -> Result<State> {
        let (record, has_entry) = tokio::join!(
            self.record(repository, put.manifest.digest()),
            self.has_referrer(repository, put)
        );
        Ok(match (record?, has_entry?) {
            ((Link::None, _), _) => State::Gone,
            ((_, true), _) => State::Marked,
            ((_, false), false) => State::Gone,
            ((_, false), true) => State::Recorded,
        })
    }
}

impl Progress {
    /// Returns the move of a tag in an earlier section.
    fn moved_before(&self, tag: &Tag) -> Option<Moved> {
        self.moved_before.iter().find(|moved| moved.tag == *tag).cloned()
    }

    /// Forgets that the tags were moved, because the manifest has gone meanwhile.
    ///
    /// A tag that was moved before is moved again only if it is absent, as the deletion of the manifest leaves it, or still
    /// there.
    fn begin_again(&mut self, digest: &Digest) {
        for moved in std::mem::take(&mut self.outcome.moved).into_iter().rev() {
            let expect = TagExpect::AbsentOrIs(*digest);
            self.moves
                .push_front(TagMove::new(moved.tag.clone()).expecting(expect));
            self.moved_before.retain(|before| before.tag != moved.tag);
            self.moved_before.push(moved);
        }
    }
}

/// Returns what a pusher of a manifest relies on.
fn promised<'a>(
    repository: &'a RepositoryName,
    digest: &'a Digest,
    needs: &'a [Needed],
) -> Vec<Promised<'a>> {
    let blobs = needs.iter().filter(|needed| needed.need.admits_blob());
    let manifests = needs.iter().filter(|needed| needed.need.admits_manifest());
    let blobs = blobs.map(|needed| Promised::Blob(repository, &needed.digest));
    let manifests = manifests.map(|needed| Promised::Manifest(repository, &needed.digest));
    let own = Promised::Manifest(repository, digest);
    blobs.chain(manifests).chain([own]).collect()
}
