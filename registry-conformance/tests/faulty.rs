//! Proof that the suite can fail: a backend that breaks one promise at a time, and the case that detects it.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use async_trait::async_trait;
use registry_conformance::storage::{Backend, run};
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Reference, RepositoryName, Tag, forward_storage,
    hash::Hasher,
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Checked, Deletion, Document, Fault as RecordFault,
        FaultKind, HeldManifest, Listing, MemoryStorage, Mount, NewUpload, Page, PutManifest, PutOutcome,
        QuarantineId, Quarantined, ReadBlob, Record, Referring, Result, Seen, Storage, StorageCollect,
        StorageError, StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash,
        StorageWrite, StoredManifest, TagEvent, TagExpect, TagTarget, TagVersion, TrashId, Trashed,
        UploadBody, UploadState, Verified,
    },
    upload_id::UploadId,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A fault of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No fault.
    Nothing,
    /// Every handle is a backend of its own.
    HandlesShareNothing,
    /// A blob is readable through every repository.
    BlobsLeak,
    /// A request for a part of a blob returns all of it.
    RangesIgnored,
    /// The content under a digest is gone as soon as one repository deletes it.
    BlobsDeletedEverywhere,
    /// The source that a mount names is ignored.
    MountSourceIgnored,
    /// Sessions do not keep their uploader.
    UploadersForgotten,
    /// Any state of a session is accepted.
    VersionsIgnored,
    /// A commit whose answer was lost cannot be retried.
    CommitsNotRepeatable,
    /// One proof is accepted for any session.
    ProofsTransferable,
    /// Cancelling succeeds, and does nothing.
    CancelForgotten,
    /// The items that a manifest refers to are not looked up.
    NeedsIgnored,
    /// Only the first missing item is named.
    OneMissingNamed,
    /// Every manifest is an OCI image manifest.
    MediaTypesForgotten,
    /// Tags are moved whatever their target is.
    ExpectationsIgnored,
    /// Tags are deleted whatever their target is.
    DeletionsUnconditional,
    /// Subjects are not recorded.
    ReferrersForgotten,
    /// Referrers of every type are listed.
    FilterIgnored,
    /// The item at which a page starts is repeated in it.
    PagesOverlap,
    /// There is never another page.
    MoreForgotten,
    /// Repositories are listed in the order of a walk through directories.
    RepositoriesWalked,
    /// A repository without tags does not exist.
    EmptyIsAbsent,
    /// Conditional tags are not declared, and conditions are ignored.
    ConditionsIgnored,
    /// Another process opens the storage, although it is declared exclusive.
    ExclusiveOverstated,
    /// Sessions are declared shared, and the other handle does not know them.
    SessionsOverstated,
    /// The content is declared durable, and gone with the handles.
    DurableOverstated,
    /// Redirects are declared, and never made.
    RedirectsOverstated,
    /// Redirects are made, and not declared.
    RedirectsUndeclared,
    /// Holders are declared, and never listed.
    HoldersOverstated,
    /// Chunks below the declared size are refused.
    SmallChunksRefused,
    /// Inspection shows only the repositories that readers see.
    EmptyRepositoriesHidden,
    /// A lost document is called a damaged one.
    LossHidden,
    /// The tags of a manifest are those of its repository.
    TargetsIgnored,
    /// The time of a tag is that of its creation.
    MovesUntimed,
    /// Repositories with sessions are not listed.
    SessionsUnlisted,
    /// The time of a manifest is that of its first put.
    PutsUntimed,
    /// A put of the manifest that a tag has does not change the version of the tag.
    VersionsOfTargets,
    /// Sessions are listed without their uploaders.
    UploadersUnlisted,
    /// Records of deletions are not listed.
    RecordsUnlisted,
    /// A permanent deletion is recorded like any other.
    PermanenceIgnored,
    /// Records do not name who deleted.
    DeletersForgotten,
    /// The bytes of a deleted manifest are lost.
    DeletedBytesLost,
    /// Forgetting a record succeeds, and does nothing.
    RecordsKept,
    /// Histories do not name who moved a tag.
    MoversForgotten,
    /// Histories do not tell that a tag was put again.
    PutsAgainForgotten,
    /// Forgetting a history removes that of a tag that exists, too.
    HistoriesOfTagsForgotten,
    /// Only tags that exist are listed with a history.
    DeletedTagsUnlisted,
    /// Everything is sound, even what does not exist.
    AbsenceHidden,
    /// Deleted records are faults.
    FaultsInvented,
    /// Records that do not exist are sound.
    MissingIsSound,
    /// An item is in quarantine that nobody put there.
    QuarantineInvented,
    /// The progress of a verification is not saved.
    ProgressForgotten,
}

use Fault::*;

/// Defines a test per fault, that the case fails, and one that it passes on the same backend without the fault.
macro_rules! noticed {
    ($($fault:ident: $name:ident by $group:ident::$case:ident;)*) => {
        $(
            mod $name {
                use super::*;

                #[test]
                #[should_panic]
                fn is_noticed() {
                    run(async || Faulty::backend($fault), registry_conformance::storage::$group::$case);
                }

                #[test]
                fn alone_is_what_is_noticed() {
                    run(async || Faulty::backend(Nothing), registry_conformance::storage::$group::$case);
                }
            }
        )*

        #[test]
        fn every_fault_is_tried() {
            // There is no `_` arm, so that a new fault does not compile without a test.
            let tried = |fault| match fault {
                Nothing => false,
                $($fault => true,)*
            };
            assert!(!tried(Nothing));
        }
    };
}

noticed! {
    HandlesShareNothing: handles_share_nothing by manifests::a_manifest_comes_back_byte_for_byte_by_digest_and_by_tag;
    BlobsLeak: blobs_leak by isolation::a_blob_of_one_repository_is_absent_from_another;
    RangesIgnored: ranges_ignored by ranges::every_kind_of_range_gives_its_bytes;
    BlobsDeletedEverywhere: blobs_deleted_everywhere by isolation::deleting_in_one_repository_leaves_the_others;
    MountSourceIgnored: mount_source_ignored by repositories::a_blob_that_the_source_does_not_hold_is_not_mounted;
    UploadersForgotten: uploaders_forgotten by uploads::a_session_has_its_uploader;
    VersionsIgnored: versions_ignored by uploads::a_session_that_has_moved_on_refuses_and_stays_as_it_is;
    CommitsNotRepeatable: commits_not_repeatable by commits::a_commit_that_is_retried_succeeds;
    ProofsTransferable: proofs_transferable by commits::the_proof_of_another_session_is_refused;
    CancelForgotten: cancel_forgotten by uploads::a_cancelled_session_is_gone_for_every_handle;
    NeedsIgnored: needs_ignored by manifests::a_refused_manifest_leaves_no_trace;
    OneMissingNamed: one_missing_named by manifests::everything_that_is_missing_is_named;
    MediaTypesForgotten: media_types_forgotten by manifests::every_media_type_survives;
    ExpectationsIgnored: expectations_ignored by tags::a_tag_moves_only_from_where_it_is_expected;
    DeletionsUnconditional: deletions_unconditional by deletions::a_tag_is_deleted_only_if_it_is_as_expected;
    ReferrersForgotten: referrers_forgotten by referrers::a_subject_need_not_exist_nor_its_repository;
    FilterIgnored: filter_ignored by referrers::referrers_are_listed_by_digest_and_filtered_by_type;
    PagesOverlap: pages_overlap by listings::tags_are_listed_in_byte_order_after_any_name;
    MoreForgotten: more_forgotten by listings::random_tags_are_paged_as_a_sorted_model_says;
    RepositoriesWalked: repositories_walked by listings::repositories_are_listed_in_byte_order_after_any_name;
    EmptyIsAbsent: empty_is_absent by repositories::a_repository_still_exists_when_everything_in_it_has_gone;
    ConditionsIgnored: conditions_ignored by abilities::a_condition_on_a_tag_is_kept_or_refused;
    ExclusiveOverstated: exclusive_overstated by abilities::an_exclusive_backend_is_opened_once;
    SessionsOverstated: sessions_overstated by abilities::a_session_is_continued_by_every_handle_if_declared;
    DurableOverstated: durable_overstated by abilities::what_is_durable_outlives_its_handles;
    RedirectsOverstated: redirects_overstated by abilities::a_blob_is_redirected_if_declared_and_allowed;
    RedirectsUndeclared: redirects_undeclared by abilities::a_blob_is_redirected_if_declared_and_allowed;
    HoldersOverstated: holders_overstated by abilities::declared_holders_are_listed;
    SmallChunksRefused: small_chunks_refused by abilities::chunks_of_the_announced_size_and_smaller_ones_are_kept;
    EmptyRepositoriesHidden: empty_repositories_hidden by inspect::every_repository_is_listed_also_without_a_manifest;
    LossHidden: loss_hidden by inspect::a_document_is_whole_or_lost;
    TargetsIgnored: targets_ignored by inspect::the_tags_of_a_manifest_are_listed_as_they_move;
    MovesUntimed: moves_untimed by inspect::the_time_of_a_tag_is_that_of_its_last_move;
    SessionsUnlisted: sessions_unlisted by reconciling::what_another_process_opens_and_ends_is_counted;
    PutsUntimed: puts_untimed by inspect::the_time_of_a_manifest_is_that_of_its_last_put;
    VersionsOfTargets: versions_of_targets by inspect::every_put_of_a_tag_changes_its_version;
    PutsAgainForgotten: puts_again_forgotten by trash::a_put_of_the_same_manifest_renews_the_last_event;
    UploadersUnlisted: uploaders_unlisted by uploaders::a_session_is_listed_with_its_uploader;
    RecordsUnlisted: records_unlisted by trash::deletions_at_once_are_all_recorded;
    PermanenceIgnored: permanence_ignored by trash::a_permanent_deletion_leaves_no_record;
    DeletersForgotten: deleters_forgotten by trash::a_deleted_tag_is_recorded_with_its_target;
    DeletedBytesLost: deleted_bytes_lost by trash::a_deleted_manifest_is_recorded_with_its_tags_and_bytes;
    RecordsKept: records_kept by trash::a_record_is_forgotten_and_nothing_else;
    MoversForgotten: movers_forgotten by trash::a_tag_has_a_history_of_its_moves_and_deletions;
    HistoriesOfTagsForgotten: histories_of_tags_forgotten by trash::the_history_of_a_deleted_tag_is_forgotten_and_no_other;
    DeletedTagsUnlisted: deleted_tags_unlisted by trash::tags_with_a_history_are_listed_also_deleted_ones;
    AbsenceHidden: absence_hidden by repair::sound_content_is_sound_and_absent_content_is_absent;
    FaultsInvented: faults_invented by repair::a_healthy_repository_has_no_faults;
    MissingIsSound: missing_is_sound by repair::a_record_that_does_not_exist_is_missing;
    QuarantineInvented: quarantine_invented by repair::nothing_is_in_quarantine_at_first;
    ProgressForgotten: progress_forgotten by repair::the_progress_of_a_verification_is_saved_for_every_handle;
}

/// A storage in memory with one fault.
#[derive(Clone, Debug)]
struct Faulty {
    memory: MemoryStorage,
    fault: Fault,
    /// True for the second handle.
    second: bool,
}

impl Faulty {
    fn backend(fault: Fault) -> Backend {
        let memory = MemoryStorage::new();
        let other = match fault {
            HandlesShareNothing => MemoryStorage::new(),
            _ => memory.clone(),
        };
        let [first, second] = [(memory, false), (other, true)].map(|(memory, second)| {
            Arc::new(Self {
                memory,
                fault,
                second,
            })
        });
        let backend = Backend::new(first, second);
        match fault {
            ExclusiveOverstated => backend.rivalled(|| true),
            DurableOverstated => backend.reopening(async || {
                let [first, second] =
                    [(); 2].map(|()| -> Arc<dyn Storage> { Arc::new(MemoryStorage::new()) });
                (first, second)
            }),
            _ => backend.rivalled(|| false),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn writer(&self) -> &dyn StorageWrite {
        self.memory.write().unwrap()
    }

    fn deletion(&self, how: Deletion) -> Deletion {
        match self.fault {
            PermanenceIgnored => Deletion::new().by(how.by),
            DeletersForgotten => how.by(None),
            _ => how,
        }
    }

    /// Returns the repository to look in: this one, or with the fault any that holds the blob.
    async fn holder(&self, fault: Fault, repository: &RepositoryName, digest: &Digest) -> RepositoryName {
        let page = Page::first(1);
        let holders = self.memory.holders(digest, page).await.unwrap();
        let any = holders.items.into_iter().next().filter(|_| self.has(fault));
        any.unwrap_or_else(|| repository.clone())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Faulty {
    forward_storage! {
        Storage: self => &self.memory;
        except abilities, blob, open_blob, manifest, tags, referrers, repositories, holders
    }

    fn abilities(&self) -> Abilities {
        let abilities = self.memory.abilities();
        match self.fault {
            ConditionsIgnored => abilities.with_conditional_tags(false),
            DurableOverstated => abilities.with_durable(true),
            RedirectsOverstated => abilities.with_redirects(true),
            SmallChunksRefused => abilities.with_min_chunk(Some(1024)),
            _ => abilities,
        }
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let repository = self.holder(BlobsLeak, repository, digest).await;
        self.memory.blob(&repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let repository = self.holder(BlobsLeak, repository, digest).await;
        let how = if self.has(RangesIgnored) {
            ReadBlob::default()
        } else {
            how
        };
        let mut read = self.memory.open_blob(&repository, digest, how).await?;
        if let Some(read) = &mut read
            && how.allow_redirect
            && self.has(RedirectsUndeclared)
        {
            read.body = BlobBody::Redirect("https://bucket.example/blob".parse().unwrap());
        }
        Ok(read)
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let mut found = self.memory.manifest(repository, reference).await?;
        if let Some(manifest) = &mut found
            && self.has(MediaTypesForgotten)
        {
            manifest.media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
        }
        Ok(found)
    }

    async fn tags(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        let limit = page.limit;
        let after = page.after.cloned();
        let mut listing = self.memory.tags(repository, page).await?;
        if let Some(found) = &mut listing {
            if let Some(after) = after
                && self.has(PagesOverlap)
            {
                found.items.insert(0, after);
                found.items.truncate(limit);
            }
            found.more &= !self.has(MoreForgotten);
        }
        Ok(listing.filter(|found| !self.has(EmptyIsAbsent) || !found.items.is_empty()))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        of: Referring<'_>,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>> {
        let artifact_type = of.artifact_type.filter(|_| !self.has(FilterIgnored));
        self.memory
            .referrers(repository, of.of_type(artifact_type), page)
            .await
    }

    async fn repositories(&self, page: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        if !self.has(RepositoriesWalked) {
            return self.memory.repositories(page).await;
        }
        let everything = Page::first(usize::MAX);
        let walked =
            |name: &RepositoryName| -> Vec<String> { name.as_str().split('/').map(str::to_owned).collect() };
        let mut names = self.memory.repositories(everything).await?.items;
        names.sort_by_key(walked);
        let after = page.after.map(walked);
        names.retain(|name| after.as_ref().is_none_or(|after| walked(name) > *after));
        Ok(Listing::first(page.limit, names))
    }

    async fn holders(
        &self,
        digest: &Digest,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        if self.has(HoldersOverstated) {
            return Ok(Listing::default());
        }
        self.memory.holders(digest, page).await
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.memory.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.memory.collect()
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.memory.health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageWrite for Faulty {
    forward_storage! {
        StorageWrite: self => self.memory.write();
        except open_upload, upload, append, rehash, commit, cancel, mount, put_manifest, delete_tag, delete_manifest,
            delete_blob
    }

    async fn open_upload(&self, repository: &RepositoryName, new: NewUpload) -> Result<UploadState> {
        let new = match self.fault {
            UploadersForgotten => new.by(None),
            _ => new,
        };
        self.writer().open_upload(repository, new).await
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<Option<UploadState>> {
        if self.second && self.has(SessionsOverstated) {
            return Ok(None);
        }
        self.writer().upload(repository, id).await
    }

    async fn append(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let is_small = body.remaining().is_none_or(|bytes| bytes < 1024);
        if is_small && self.has(SmallChunksRefused) {
            return Err(StorageError::Unsupported("store small chunks"));
        }
        self.writer().append(repository, state, body).await
    }

    async fn rehash(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        hasher: Hasher,
    ) -> Result<(UploadState, Hasher)> {
        let state = match self.writer().upload(repository, &state.id).await? {
            Some(current) if self.has(VersionsIgnored) => current,
            _ => state,
        };
        self.writer().rehash(repository, state, hasher).await
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        let known = self.writer().upload(repository, &state.id).await?;
        if known.is_none() && self.has(CommitsNotRepeatable) {
            return Err(StorageError::UploadUnknown);
        }
        let state = match self.writer().upload(repository, proof.upload()).await? {
            Some(proved) if self.has(ProofsTransferable) => proved,
            _ => state,
        };
        self.writer().commit(repository, state, proof).await
    }

    async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        if self.has(CancelForgotten) {
            return Ok(self.writer().upload(repository, id).await?.is_some());
        }
        self.writer().cancel(repository, id).await
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let from = self.holder(MountSourceIgnored, mount.from, mount.digest).await;
        let from_holder = Mount::new(&from, mount.digest).by(mount.by);
        self.writer().mount(to, from_holder).await
    }

    async fn put_manifest(&self, repository: &RepositoryName, mut put: PutManifest) -> Result<PutOutcome> {
        if self.has(NeedsIgnored) {
            put.needs.clear();
        }
        if self.has(ReferrersForgotten) {
            put.referrer = None;
        }
        if self.has(MoversForgotten) {
            put.by = None;
        }
        if self.has(ExpectationsIgnored) || self.has(ConditionsIgnored) {
            put.tags
                .iter_mut()
                .for_each(|moved| moved.expect = TagExpect::Any);
        }
        let mut outcome = self.writer().put_manifest(repository, put).await;
        if let Err(StorageError::MissingReferences(missing)) = &mut outcome
            && self.has(OneMissingNamed)
        {
            missing.truncate(1);
        }
        outcome
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let expect = if self.has(DeletionsUnconditional) {
            TagExpect::Any
        } else {
            expect
        };
        let expect = match expect {
            TagExpect::Unchanged(target, _) if self.has(VersionsOfTargets) => TagExpect::Is(target),
            expect => expect,
        };
        let how = self.deletion(how);
        self.writer().delete_tag(repository, tag, expect, how).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: Deletion,
    ) -> Result<Option<Vec<Tag>>> {
        let how = self.deletion(how);
        self.writer().delete_manifest(repository, digest, how).await
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest, how: Deletion) -> Result<bool> {
        let deleted = self.writer().delete_blob(repository, digest, how.clone()).await?;
        if self.has(BlobsDeletedEverywhere) {
            let everybody = Page::first(usize::MAX);
            for holder in self.memory.holders(digest, everybody).await?.items {
                self.writer().delete_blob(&holder, digest, how.clone()).await?;
            }
        }
        Ok(deleted)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageInspect for Faulty {
    forward_storage! {
        StorageInspect: self => self.memory.inspect();
        except all_repositories, document, manifests, tag_targets, tags_of, uploading, uploads
    }

    async fn all_repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        if self.has(EmptyRepositoriesHidden) {
            let Listing { items, more, .. } = self.memory.repositories(page).await?;
            let items = items.into_iter().map(Seen::Whole).collect();
            return Ok(Listing::new(items, more));
        }
        self.memory.all_repositories(page).await
    }

    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        match self.memory.document(repository, digest).await? {
            Document::Lost if self.has(LossHidden) => Ok(Document::Damaged(bytes::Bytes::new())),
            found => Ok(found),
        }
    }

    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        let mut listed = self.memory.manifests(repository, page).await?;
        for manifest in &mut listed.items {
            if let Seen::Whole(manifest) = manifest
                && self.has(PutsUntimed)
            {
                manifest.put = Some(SystemTime::UNIX_EPOCH);
            }
        }
        Ok(listed)
    }

    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let mut listed = self.memory.tag_targets(repository, page).await?;
        for (second, target) in (0..).zip(&mut listed.items) {
            let Seen::Whole(target) = target else { continue };
            if self.has(MovesUntimed) {
                // The tags of the case were created in the order of their names.
                target.moved = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            }
            if self.has(VersionsOfTargets) {
                target.version = Some(TagVersion::new(1));
            }
        }
        Ok(listed)
    }

    async fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        if self.has(TargetsIgnored) {
            let all = self.memory.tags(repository, page).await?;
            return Ok(all.unwrap_or_default());
        }
        self.memory.tags_of(repository, digest, page).await
    }

    async fn uploading(&self, page: Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        if self.has(SessionsUnlisted) {
            return Ok(Listing::default());
        }
        self.memory.uploading(page).await
    }

    async fn uploads(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        let mut listed = self.memory.uploads(repository, page).await?;
        for session in &mut listed.items {
            if let Seen::Whole(state) = session
                && self.has(UploadersUnlisted)
            {
                state.opened_by = None;
            }
        }
        Ok(listed)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageTrash for Faulty {
    forward_storage! {
        StorageTrash: self => self.memory.trash();
        except deleted, deleted_document, forget, forget_history, with_history, history
    }

    async fn deleted(
        &self,
        repository: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>> {
        if self.has(RecordsUnlisted) {
            return Ok(Listing::default());
        }
        self.memory.deleted(repository, page).await
    }

    async fn deleted_document(&self, repository: &RepositoryName, id: &TrashId) -> Result<Document> {
        if self.has(DeletedBytesLost) {
            return Ok(Document::Lost);
        }
        self.memory.deleted_document(repository, id).await
    }

    async fn forget(&self, repository: &RepositoryName, id: &TrashId) -> Result<bool> {
        if self.has(RecordsKept) {
            return Ok(true);
        }
        self.memory.forget(repository, id).await
    }

    async fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool> {
        let forgotten = self.memory.forget_history(repository, tag, ended_before).await?;
        Ok(forgotten || self.has(HistoriesOfTagsForgotten))
    }

    async fn with_history(&self, repository: &RepositoryName, page: Page<'_, Tag>) -> Result<Listing<Tag>> {
        if self.has(DeletedTagsUnlisted) {
            let existing = self.memory.tags(repository, page).await?;
            return Ok(existing.unwrap_or_default());
        }
        self.memory.with_history(repository, page).await
    }

    async fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>> {
        let mut events = self.memory.history(repository, tag).await?;
        if self.has(PutsAgainForgotten) {
            events.iter_mut().for_each(|event| event.put_again = None);
        }
        Ok(events)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageRepair for Faulty {
    forward_storage! {
        StorageRepair: self => self.memory.repair();
        except check, quarantined, faults, fault, save_progress
    }

    async fn check(&self, digest: &Digest) -> Result<Checked> {
        match self.memory.check(digest).await? {
            Checked::Absent if self.has(AbsenceHidden) => Ok(Checked::sound(0)),
            found => Ok(found),
        }
    }

    async fn quarantined(&self, page: Page<'_, QuarantineId>) -> Result<Listing<Quarantined>> {
        if self.has(QuarantineInvented) {
            let id = QuarantineId::new(Digest::of(Algorithm::Sha256, b"invented"), 1);
            return Ok(Listing::new(
                vec![Quarantined::new(id, 8, "here", "invented")],
                false,
            ));
        }
        self.memory.quarantined(page).await
    }

    async fn faults(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Record>,
    ) -> Result<Listing<RecordFault>> {
        if self.has(FaultsInvented) {
            let fault = RecordFault::new(Record::Referrers, FaultKind::Garbled, "here", "invented");
            return Ok(Listing::new(vec![fault], false));
        }
        self.memory.faults(repository, page).await
    }

    async fn fault(&self, repository: &RepositoryName, record: &Record) -> Result<Option<RecordFault>> {
        let found = self.memory.fault(repository, record).await?;
        Ok(found.filter(|_| !self.has(MissingIsSound)))
    }

    async fn save_progress(&self, progress: Vec<u8>) -> Result<()> {
        if self.has(ProgressForgotten) {
            return Ok(());
        }
        self.memory.save_progress(progress).await
    }
}
