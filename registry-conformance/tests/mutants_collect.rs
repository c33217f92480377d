//! Proof that the cases of collection can fail: a collector that breaks one promise at a time, and the case that detects
//! it.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use async_trait::async_trait;
use registry_conformance::storage::{Backend, run};
use registry_core::{
    Digest, Reference, RepositoryName, Tag, forward_storage,
    storage::{
        BlobInfo, Census, Deletion, Due, MemoryStorage, Mount, Page, PutManifest, PutOutcome, Reclaimed,
        Result, Run, Storage, StorageCollect, StorageError, StorageExpire, StorageHealth, StorageInspect,
        StorageRepair, StorageTrash, StorageWrite, StoredManifest, Suspect, TagExpect, Terms, UploadState,
        Verified, Victim, Waiting,
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// A fault of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No fault.
    Nothing,
    /// A client that asks for a blob does not touch it.
    BlobsUntouched,
    /// A client that asks for a manifest does not touch it.
    ManifestsUntouched,
    /// A mount does not touch the blob.
    MountsUntouched,
    /// A commit does not touch the blob.
    CommitsUntouched,
    /// A put manifest does not touch what it names.
    PutsUntouched,
    /// A referrer is removed, although its subject was touched.
    SubjectsIgnored,
    /// Released content is removed, although it was touched since the run began.
    ReleasesOverrule,
    /// A put and a removal do not exclude each other: the removal has looked before.
    RemovalsUnprotected,
    /// Tags protect nothing.
    TagsIgnored,
    /// The grace period is 0.
    GraceIgnored,
    /// Upload requests keep nothing.
    UploadsIgnored,
    /// Nothing counts as released.
    ReleasesIgnored,
    /// A moved or deleted tag releases nothing.
    TagsReleaseNothing,
    /// A forgotten record releases what it kept, although that was touched since the deletion.
    RecordsOverrule,
    /// No deletion accounts for a removal.
    DeletionsUnaccounted,
    /// Several runs are open at once.
    RunsOverlap,
    /// The census is lost.
    CensusForgotten,
    /// The number of deletions is lost.
    DeletionsForgotten,
    /// A preview does not know the census.
    PreviewsExpectNothing,
    /// A preview removes.
    PreviewsRemove,
    /// A removal does nothing.
    RemovalsFeigned,
    /// Absent items are in use.
    AbsentInUse,
    /// A repository that is not empty is removed.
    RepositoriesUnchecked,
    /// Removed manifests stay in the listings.
    ManifestsListed,
    /// A put does not look for what was removed.
    NeedsIgnored,
    /// Nothing is suspect.
    SuspectsForgotten,
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
                    run(async || Mutant::backend($fault), registry_conformance::storage::$group::$case);
                }

                #[test]
                fn alone_is_what_is_noticed() {
                    run(async || Mutant::backend(Nothing), registry_conformance::storage::$group::$case);
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
    BlobsUntouched: blobs_untouched by collect::a_blob_that_a_client_was_told_of_is_in_use;
    ManifestsUntouched: manifests_untouched by collect::a_manifest_that_is_found_by_its_digest_protects_what_it_names;
    MountsUntouched: mounts_untouched by collect::a_mounted_blob_is_in_use;
    CommitsUntouched: commits_untouched by collect::a_committed_blob_is_in_use;
    PutsUntouched: puts_untouched by collect::a_put_manifest_protects_what_it_names;
    SubjectsIgnored: subjects_ignored by collect::a_referrer_is_in_use_once_its_subject_is;
    ReleasesOverrule: releases_overrule by collect::what_was_touched_stays_although_it_is_released;
    RemovalsUnprotected: removals_unprotected by collect::a_put_and_a_removal_exclude_each_other;
    TagsIgnored: tags_ignored by collect::a_tagged_manifest_is_in_use;
    GraceIgnored: grace_ignored by releases::within_the_grace_period_everything_stays;
    UploadsIgnored: uploads_ignored by releases::after_an_upload_request_links_stay_unless_a_deletion_released_them;
    ReleasesIgnored: releases_ignored by releases::what_a_deletion_released_is_due_at_once_until_it_is_touched;
    TagsReleaseNothing: tags_release_nothing by releases::a_tag_that_moves_or_is_deleted_releases_its_target;
    RecordsOverrule: records_overrule by releases::what_was_used_since_its_deletion_stays_although_the_record_is_forgotten;
    DeletionsUnaccounted: deletions_unaccounted by releases::deletions_account_for_what_they_release;
    RunsOverlap: runs_overlap by collect::one_run_is_open_at_a_time;
    CensusForgotten: census_forgotten by collect::a_run_knows_the_census_of_the_previous_one;
    DeletionsForgotten: deletions_forgotten by collect::a_run_knows_what_has_gone_since_the_census;
    PreviewsExpectNothing: previews_expect_nothing by collect::a_run_knows_what_has_gone_since_the_census;
    PreviewsRemove: previews_remove by collect::a_preview_changes_nothing;
    RemovalsFeigned: removals_feigned by collect::what_nothing_names_is_removed_level_by_level;
    AbsentInUse: absent_in_use by collect::what_is_not_there_is_absent;
    RepositoriesUnchecked: repositories_unchecked by collect::only_an_empty_repository_is_removed;
    ManifestsListed: manifests_listed by collect::a_removed_manifest_is_gone_from_every_listing;
    NeedsIgnored: needs_ignored by collect::content_that_was_removed_can_be_pushed_again;
    SuspectsForgotten: suspects_forgotten by collect::what_a_request_released_is_a_suspect;
}

/// A storage in memory whose collector has one fault.
#[derive(Clone, Debug)]
struct Mutant {
    memory: MemoryStorage,
    fault: Fault,
    /// Run of the inner storage.
    open: Arc<Mutex<Option<Run>>>,
}

/// Closes the inner run with the outer one.
struct Open(Arc<Mutex<Option<Run>>>);

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = None;
    }
}

impl Mutant {
    fn backend(fault: Fault) -> Backend {
        let storage = Arc::new(Self {
            memory: MemoryStorage::new(),
            fault,
            open: Arc::default(),
        });
        let first: Arc<dyn Storage> = Arc::clone(&storage) as _;
        Backend::new(first, storage)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn collector(&self) -> &dyn StorageCollect {
        self.memory.collect().unwrap()
    }

    fn writer(&self) -> &dyn StorageWrite {
        self.memory.write().unwrap()
    }

    /// Begins the inner run again, if one is open, so that it does not see what was touched before.
    async fn forget_touches(&self, fault: Fault) {
        if !self.has(fault) {
            return;
        }
        let open = self.open.lock().unwrap().take();
        if let Some(run) = open {
            let terms = run.terms;
            drop(run);
            let again = self.collector().begin(terms).await.unwrap();
            *self.open.lock().unwrap() = Some(again);
        }
    }

    fn terms(&self, terms: Terms) -> Terms {
        let terms = match self.fault {
            GraceIgnored => terms.with_grace(Duration::ZERO),
            UploadsIgnored => terms.with_uploading(Duration::ZERO),
            _ => terms,
        };
        terms.with_released(terms.released && !self.has(ReleasesIgnored))
    }

    /// Removes by the means of clients what the collector would keep.
    async fn force(&self, victim: &Victim) -> Reclaimed {
        match victim {
            Victim::Manifest(repository, digest) => {
                let gone = self
                    .writer()
                    .delete_manifest(repository, digest, Deletion::new())
                    .await;
                assert!(gone.is_ok(), "{gone:?}");
            }
            Victim::Link(repository, digest) => {
                let gone = self
                    .writer()
                    .delete_blob(repository, digest, Deletion::new())
                    .await;
                assert!(gone.is_ok(), "{gone:?}");
            }
            Victim::Data(_) | Victim::Repository(_) => {}
        }
        Reclaimed::removed(0)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Mutant {
    forward_storage! { Storage: self => &self.memory; except blob, manifest }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<BlobInfo>> {
        let found = self.memory.blob(repository, digest).await;
        self.forget_touches(BlobsUntouched).await;
        found
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        let found = self.memory.manifest(repository, reference).await;
        self.forget_touches(ManifestsUntouched).await;
        found
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.memory.inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.memory.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.memory.health()
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.memory.repair()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.memory.trash()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageWrite for Mutant {
    forward_storage! {
        StorageWrite: self => self.memory.write();
        except commit, mount, put_manifest, delete_tag
    }

    async fn commit(
        &self,
        repository: &RepositoryName,
        state: UploadState,
        proof: Verified,
    ) -> Result<BlobInfo> {
        let committed = self.writer().commit(repository, state, proof).await;
        self.forget_touches(CommitsUntouched).await;
        committed
    }

    async fn mount(&self, to: &RepositoryName, mount: Mount<'_>) -> Result<Option<BlobInfo>> {
        let mounted = self.writer().mount(to, mount).await;
        self.forget_touches(MountsUntouched).await;
        mounted
    }

    async fn put_manifest(&self, repository: &RepositoryName, mut put: PutManifest) -> Result<PutOutcome> {
        if self.has(NeedsIgnored) {
            put.needs.clear();
        }
        let outcome = self.writer().put_manifest(repository, put).await;
        self.forget_touches(PutsUntouched).await;
        outcome
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        expect: TagExpect,
        how: Deletion,
    ) -> Result<Option<Digest>> {
        let target = self.writer().delete_tag(repository, tag, expect, how).await?;
        if let Some(target) = target
            && self.has(TagsReleaseNothing)
        {
            // Whoever asks for a manifest touches it.
            self.memory.manifest(repository, &target.into()).await?;
        }
        Ok(target)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl StorageCollect for Mutant {
    fn is_own(&self) -> bool {
        self.collector().is_own()
    }

    async fn expected_manifests(&self) -> Result<Option<u64>> {
        if self.has(PreviewsExpectNothing) {
            return Ok(Some(0));
        }
        self.collector().expected_manifests().await
    }

    async fn begin(&self, terms: Terms) -> Result<Run> {
        let terms = self.terms(terms);
        let run = match self.collector().begin(terms).await {
            Err(StorageError::Busy { .. }) if self.has(RunsOverlap) => return Ok(Run::new(0, terms, None)),
            run => run?,
        };
        let previous = run.previous.filter(|_| !self.has(CensusForgotten));
        let deleted = if self.has(DeletionsForgotten) {
            0
        } else {
            run.deleted
        };
        let outer = Run::new(run.id, terms, previous).with_deleted(deleted);
        *self.open.lock().unwrap() = Some(run);
        Ok(outer.holding(Open(Arc::clone(&self.open))))
    }

    async fn due(&self, terms: &Terms, victims: &[Victim]) -> Result<Vec<Due>> {
        let mut terms = self.terms(*terms);
        if self.has(RecordsOverrule) && self.memory.with_deleted(Page::first(1)).await?.items.is_empty() {
            terms = terms.with_grace(Duration::ZERO);
        }
        let due = self.collector().due(&terms, victims).await?;
        if self.has(PreviewsRemove) {
            let run = self.collector().begin(terms).await?;
            self.collector().reclaim(&run, victims).await?;
        }
        Ok(due)
    }

    async fn released(&self, blobs: &[Digest]) -> Result<Vec<bool>> {
        match self.has(DeletionsUnaccounted) {
            true => Ok(vec![false; blobs.len()]),
            false => self.collector().released(blobs).await,
        }
    }

    async fn condemn(&self, _: &Run, _: &[Victim]) -> Result<Waiting> {
        Ok(Waiting::Ready)
    }

    async fn reclaim(&self, _: &Run, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        let run = self.open.lock().unwrap().take();
        let run = run.ok_or_else(|| StorageError::internal("no run is open"))?;
        let mut reclaimed = Vec::new();
        for victim in victims {
            let is_feigned = self.has(RemovalsFeigned)
                || self.has(ManifestsListed) && matches!(victim, Victim::Manifest(..));
            if is_feigned {
                reclaimed.push(Reclaimed::removed(0));
                continue;
            }
            let one = std::slice::from_ref(victim);
            let result = self.collector().reclaim(&run, one).await?.remove(0);
            let is_released = self.collector().due(&run.terms, one).await?;
            let is_released = matches!(is_released[..], [Due::Now { .. }]);
            reclaimed.push(match (result, victim) {
                (Reclaimed::InUse, _) if self.has(ReleasesOverrule) && is_released => {
                    self.force(victim).await
                }
                (Reclaimed::InUse, Victim::Link(..)) if self.has(RemovalsUnprotected) => {
                    self.force(victim).await
                }
                (Reclaimed::InUse, Victim::Manifest(..))
                    if self.has(TagsIgnored) || self.has(SubjectsIgnored) =>
                {
                    self.force(victim).await
                }
                (Reclaimed::InUse, Victim::Repository(_)) if self.has(RepositoriesUnchecked) => {
                    self.force(victim).await
                }
                (Reclaimed::Absent, _) if self.has(AbsentInUse) => Reclaimed::InUse,
                (result, _) => result,
            });
        }
        *self.open.lock().unwrap() = Some(run);
        Ok(reclaimed)
    }

    async fn end(&self, _: Run, seen: Census) -> Result<()> {
        let run = self.open.lock().unwrap().take();
        match run {
            Some(run) => self.collector().end(run, seen).await,
            None => Ok(()),
        }
    }

    async fn suspects(&self, after: u64, limit: usize) -> Result<Vec<Suspect>> {
        match self.has(SuspectsForgotten) {
            true => Ok(Vec::new()),
            false => self.collector().suspects(after, limit).await,
        }
    }
}
