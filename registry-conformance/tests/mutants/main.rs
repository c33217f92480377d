//! Proof that the suite can fail: a backend that breaks one promise at a time, and the case that detects it.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod maintenance;
mod reading;
mod writing;

use registry_conformance::storage::{Backend, run};
use registry_core::{
    Digest, RepositoryName,
    storage::{Deletion, MemoryStorage, Page, Storage, StorageWrite},
};
use std::sync::Arc;

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
    /// Restores are pushes.
    RestoresForgotten,
    /// Forgetting a history removes that of a tag that exists, too.
    HistoriesOfTagsForgotten,
    /// Only tags that exist are listed with a history.
    DeletedTagsUnlisted,
    /// A tag that was deleted is lost.
    DeletionsTakenForLosses,
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
    RestoresForgotten: restores_forgotten by trash::a_restore_is_an_event_that_says_so_and_no_push;
    UploadersUnlisted: uploaders_unlisted by uploaders::a_session_is_listed_with_its_uploader;
    RecordsUnlisted: records_unlisted by trash::deletions_at_once_are_all_recorded;
    PermanenceIgnored: permanence_ignored by trash::a_permanent_deletion_leaves_no_record;
    DeletersForgotten: deleters_forgotten by trash::a_deleted_tag_is_recorded_with_its_target;
    DeletedBytesLost: deleted_bytes_lost by trash::a_deleted_manifest_is_recorded_with_its_tags_and_bytes;
    RecordsKept: records_kept by trash::a_record_is_forgotten_and_nothing_else;
    MoversForgotten: movers_forgotten by trash::a_tag_has_a_history_of_its_moves_and_deletions;
    HistoriesOfTagsForgotten: histories_of_tags_forgotten by trash::the_history_of_a_deleted_tag_is_forgotten_and_no_other;
    DeletedTagsUnlisted: deleted_tags_unlisted by trash::tags_with_a_history_are_listed_also_deleted_ones;
    DeletionsTakenForLosses: deletions_taken_for_losses by trash::what_was_deleted_is_not_lost;
    AbsenceHidden: absence_hidden by repair::sound_content_is_sound_and_absent_content_is_absent;
    FaultsInvented: faults_invented by repair::a_healthy_repository_has_no_faults;
    MissingIsSound: missing_is_sound by repair::a_record_that_does_not_exist_is_missing;
    QuarantineInvented: quarantine_invented by repair::nothing_is_in_quarantine_at_first;
    ProgressForgotten: progress_forgotten by repair::the_progress_of_a_verification_is_saved_for_every_handle;
}

/// A storage in memory with one fault.
#[derive(Clone, Debug)]
struct Mutant {
    memory: MemoryStorage,
    fault: Fault,
    /// True for the second handle.
    second: bool,
}

impl Mutant {
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
