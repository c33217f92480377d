//! The single list of cases, and its use: [`storage_tests!`](crate::storage_tests).

/// Makes every promise of the storage contract a test of its own, in a module `storage_contract`.
///
/// Takes an `async fn() -> Backend`, and the means of that backend among `collect`, `damage`, `expire`, `health`,
/// `inspect`, `read_only`, `repair`, `restart` and `trash`. See [`storage`](crate::storage).
///
/// ```
/// use registry_conformance::{storage::Backend, storage_tests};
/// # use registry_core::storage::MemoryStorage as MyStorage;
/// use std::sync::Arc;
///
/// async fn fresh() -> Backend {
///     let storage = MyStorage::new();
///     Backend::new(Arc::new(storage.clone()), Arc::new(storage))
/// }
///
/// storage_tests!(fresh, collect, expire, health, inspect, repair, trash);
/// ```
#[macro_export]
macro_rules! storage_tests {
    ($factory:expr $(, $means:ident)* $(,)?) => {
        mod storage_contract {
            #[allow(unused_imports, reason = "the factory may be named by a path")]
            use super::*;

            #[test]
            fn the_declared_means_are_those_of_the_backend() {
                $crate::storage::assert_means($factory, &[$(stringify!($means)),*]);
            }

            $crate::__storage_cases! { any [$crate::__storage_tests] $factory }
            $($crate::__storage_cases! { $means [$crate::__storage_tests] $factory })*
        }
    };
}

/// Returns the promises of the storage contract as trials of a test target with `harness = false`, for backends that need
/// an external program.
///
/// Takes a name for the backend, the programs that it needs, a `Fn() -> impl Future<Output = Backend>` that can be cloned, and the means
/// as [`storage_tests!`](crate::storage_tests) does. Without one of the programs, the trials are
/// [ignored](crate::tools::trial).
///
/// ```
/// use registry_conformance::{storage::Backend, storage_trials};
/// # use registry_core::storage::MemoryStorage as MyStorage;
/// use std::sync::Arc;
///
/// let fresh = || async {
///     let storage = MyStorage::new();
///     Backend::new(Arc::new(storage.clone()), Arc::new(storage))
/// };
/// let trials = storage_trials!("mine", &["true"], fresh, collect, expire, health, inspect, repair, trash);
/// assert!(trials.len() > 100);
/// ```
#[macro_export]
macro_rules! storage_trials {
    ($name:expr, $programs:expr, $factory:expr $(, $means:ident)* $(,)?) => {{
        let (name, programs, factory) = ($name, $programs, $factory);
        let mut trials = Vec::new();
        let means = factory.clone();
        trials.push($crate::tools::trial(
            format!("{name}::the_declared_means_are_those_of_the_backend"),
            programs,
            move || {
                $crate::storage::assert_means(means, &[$(stringify!($means)),*]);
                Ok(())
            },
        ));
        $crate::__storage_cases! { any [$crate::__storage_trials] trials name programs factory }
        $($crate::__storage_cases! { $means [$crate::__storage_trials] trials name programs factory })*
        trials
    }};
}

/// Groups of cases as trials.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_trials {
    (
        [$trials:ident $name:ident $programs:ident $factory:ident]
        $($group:ident { $($case:ident)* })*
    ) => {
        $($(
            let factory = $factory.clone();
            $trials.push($crate::tools::trial(
                format!("{}::{}::{}", $name, stringify!($group), stringify!($case)),
                $programs,
                move || {
                    $crate::storage::run(factory, $crate::storage::$group::$case);
                    Ok(())
                },
            ));
        )*)*
    };
}

/// Groups of cases as modules of tests.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_tests {
    ([$factory:expr] $($group:ident { $($case:ident)* })*) => {
        $crate::__storage_tests! { @groups [$factory] $($group { $($case)* })* }
    };
    (@groups [$factory:expr]) => {};
    (@groups [$factory:expr] $group:ident { $($case:ident)* } $($rest:tt)*) => {
        mod $group {
            #[allow(unused_imports, reason = "the factory may be named by a path")]
            use super::*;
            $crate::__storage_tests! { @cases [$factory] $group $($case)* }
        }
        $crate::__storage_tests! { @groups [$factory] $($rest)* }
    };
    (@cases [$factory:expr] $group:ident $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::storage::run($factory, $crate::storage::$group::$case);
            }
        )*
    };
}

/// Lists the cases that every backend with some means has to pass, and passes them to the macro in brackets.
#[doc(hidden)]
#[macro_export]
macro_rules! __storage_cases {
    (any [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            isolation {
                a_blob_of_one_repository_is_absent_from_another
                a_blob_pushed_to_two_repositories_is_read_through_both
                a_manifest_cannot_refer_to_a_blob_of_another_repository
                a_manifest_and_its_tags_are_of_one_repository
                a_nested_repository_is_another_one
                the_parts_of_urls_are_names_of_repositories_like_others
                deleting_in_one_repository_leaves_the_others
                a_session_of_one_repository_is_unknown_to_another
            }
            blobs {
                sha256_blobs_of_every_size_come_back
                sha512_blobs_of_every_size_come_back
                blobs_of_several_mebibytes_come_back
                the_same_bytes_are_two_blobs_under_two_algorithms
                a_blob_that_nobody_pushed_is_absent
                pushing_a_blob_again_succeeds_and_changes_nothing
                bytes_of_another_digest_leave_neither_a_blob_nor_a_session
                a_blob_that_is_being_read_stays_whole_when_it_is_deleted
                a_blob_that_was_deleted_can_be_pushed_again
            }
            ranges {
                every_kind_of_range_gives_its_bytes
                a_range_that_ends_beyond_the_blob_ends_with_it
                a_range_without_bytes_is_refused_with_the_size
                a_range_of_an_absent_blob_is_an_absent_blob
                every_range_of_a_small_blob_is_right
            }
            uploads {
                a_session_begins_at_0_with_the_announced_algorithm
                sessions_have_different_ids
                a_session_has_its_uploader
                a_session_that_was_never_opened_is_unknown
                appends_add_up_and_offset_and_checkpoint_agree
                the_running_hash_is_given_back_and_proves_the_bytes
                the_bytes_of_an_open_session_are_not_a_blob
                a_session_that_has_moved_on_refuses_and_stays_as_it_is
                while_an_append_runs_everything_else_is_refused_at_once
                of_two_appends_from_the_same_state_one_lands
                a_session_opened_and_fed_by_two_handles_is_closed_by_either
                a_rehash_feeds_every_byte_in_any_algorithm
                a_rehash_seals_the_session_and_can_be_repeated
                a_cancelled_session_is_gone_for_every_handle
                cancelling_one_session_leaves_the_others
            }
            counting {
                each_bound_counts_the_sessions_in_its_scope
                a_session_makes_room_however_it_ends
                a_session_that_ends_while_it_is_used_makes_room
                a_push_in_one_piece_is_not_refused_and_leaves_no_count
                of_many_that_race_for_the_last_seat_one_opens_a_session
                an_opening_that_is_dropped_keeps_no_seat
            }
            resuming {
                a_body_that_breaks_off_keeps_what_came_before
                a_closing_body_that_breaks_off_or_is_dropped_counts_for_nothing
                a_closing_body_counts_only_once_it_is_committed
                a_closing_body_can_be_hashed_with_another_algorithm
                an_append_discards_a_closing_body_whose_commit_is_then_a_conflict
                a_session_whose_append_was_dropped_goes_on_where_it_stands
                a_session_whose_append_was_dropped_closes_at_what_it_kept
                an_append_that_dies_loses_less_than_16_mebibytes
                a_patch_cut_at_random_points_and_resumed_gives_the_right_blob
            }
            commits {
                a_commit_ends_the_session
                a_commit_that_is_retried_succeeds
                a_commit_of_a_cancelled_session_brings_nothing_back
                the_proof_of_another_session_is_refused
                a_proof_of_another_size_than_what_is_stored_is_refused
                writers_that_race_with_the_same_blob_all_succeed
                of_commits_that_race_for_one_session_one_publishes_it
            }
            repositories {
                blobs_and_mounts_do_not_make_a_repository_exist
                a_repository_exists_from_its_first_manifest_on
                a_repository_still_exists_when_everything_in_it_has_gone
                a_mounted_blob_is_a_blob_of_both
                a_blob_that_the_source_does_not_hold_is_not_mounted
                a_mounted_blob_stays_when_the_source_deletes_it
                mounting_where_the_blob_is_already_succeeds
                whoever_is_listed_as_a_holder_holds_the_blob
            }
            manifests {
                a_manifest_comes_back_byte_for_byte_by_digest_and_by_tag
                every_media_type_survives
                a_media_type_that_the_document_does_not_name_survives
                sha512_manifests_are_equals
                a_manifest_of_4_mebibytes_comes_back
                putting_the_same_manifest_again_succeeds_and_creates_nothing
                a_manifest_that_was_deleted_can_be_put_again
                everything_that_is_missing_is_named
                a_refused_manifest_leaves_no_trace
                a_refused_manifest_moves_no_tag
                a_manifest_is_refused_whose_descriptor_lies_about_a_whole_blob
                a_size_that_does_not_match_is_accepted_where_any_is
                an_index_is_refused_whose_descriptor_lies_about_a_manifest
                a_blob_does_not_stand_in_for_a_manifest_nor_the_other_way_round
                what_may_be_either_is_a_blob_or_a_manifest_of_the_repository
                the_size_of_what_may_be_either_is_checked_whatever_it_is
                a_manifest_goes_in_when_what_it_needs_is_there
                a_manifest_that_nobody_put_is_absent
            }
            tags {
                a_tag_moves_and_the_outcome_says_from_where
                a_tag_moves_between_algorithms
                a_tag_moves_only_from_where_it_is_expected
                pushing_the_same_manifest_to_an_immutable_tag_again_succeeds
                of_writers_that_race_for_a_new_tag_one_wins
                of_writers_that_race_to_move_a_tag_one_wins
                several_tags_are_moved_in_byte_order
                a_tag_that_conflicts_ends_the_put_and_earlier_tags_stay_moved
                a_tag_points_at_one_whole_manifest_while_it_is_moved
            }
            referrers {
                a_referrer_is_listed_as_its_descriptor_says
                referrers_are_listed_by_digest_and_filtered_by_type
                an_artifact_type_that_is_no_media_type_is_listed_and_filtered_as_it_is
                a_subject_need_not_exist_nor_its_repository
                putting_a_referrer_again_lists_it_once
                a_deleted_referrer_is_no_longer_listed
                referrers_stay_when_their_subject_is_deleted
                referrers_are_of_one_repository
                referrers_in_sha512_and_of_sha512_are_equals
                pages_of_referrers_match_a_sorted_model
                referrers_that_come_and_go_while_paging_shift_no_page
            }
            deletions {
                deleting_a_tag_leaves_the_manifest_and_the_other_tags
                a_tag_is_deleted_only_if_it_is_as_expected
                deleting_what_is_not_there_says_so
                deleting_a_manifest_deletes_exactly_its_tags
                deleting_a_manifest_leaves_its_blobs_and_children
                a_manifest_can_no_longer_refer_to_what_was_deleted
                a_blob_is_deleted_before_a_manifest_that_needs_it_is_put_or_after
            }
            dropping {
                a_commit_that_is_dropped_can_be_repeated
                a_manifest_whose_put_is_dropped_is_there_with_its_referrer_entry_or_not_at_all
                a_manifest_whose_deletion_is_dropped_takes_its_tags_along_or_stays
                deletions_that_are_dropped_can_be_repeated
                a_mount_that_is_dropped_can_be_repeated
            }
            listings {
                tags_are_listed_in_byte_order_after_any_name
                repositories_are_listed_in_byte_order_after_any_name
                random_tags_are_paged_as_a_sorted_model_says
                random_repositories_are_paged_as_a_sorted_model_says
                names_that_come_and_go_while_paging_shift_no_page
                repositories_that_come_while_paging_shift_no_page
            }
            abilities {
                all_handles_declare_the_same_abilities
                an_exclusive_backend_is_opened_once
                a_condition_on_a_tag_is_kept_or_refused
                a_session_is_continued_by_every_handle_if_declared
                what_is_durable_outlives_its_handles
                a_blob_is_redirected_if_declared_and_allowed
                declared_holders_are_listed
                chunks_of_the_announced_size_and_smaller_ones_are_kept
            }
            wrappers {
                a_shared_storage_is_the_same_storage
                a_wrapper_that_hands_on_no_writing_is_read_only
            }
        }
    };
    (inspect [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            inspect {
                every_stored_blob_is_listed_once
                the_blobs_of_a_repository_are_listed
                the_manifests_of_a_repository_are_listed_tagged_or_not
                the_open_sessions_of_a_repository_are_listed
                every_repository_is_listed_also_without_a_manifest
                every_tag_is_listed_with_its_target
                the_time_of_a_manifest_is_that_of_its_last_put
                every_put_of_a_tag_changes_its_version
                the_time_of_a_tag_is_that_of_its_last_move
                the_tags_of_a_manifest_are_listed_as_they_move
                a_document_is_whole_or_lost
            }
            uploaders {
                a_session_is_listed_with_its_uploader
                the_uploader_stays_the_same_while_the_session_changes
                of_many_sessions_opened_at_once_each_is_listed_once
                a_session_that_stays_open_is_listed_whatever_others_do
            }
            reconciling {
                what_another_process_opens_and_ends_is_counted
                sessions_that_are_found_count_for_their_uploaders
                counting_beside_openers_is_exact
            }
        }
    };
    (expire [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            expiry {
                repositories_with_open_sessions_are_listed
                a_session_says_when_it_was_touched
                an_idle_session_expires_and_one_that_moved_on_stays
                a_session_that_is_being_added_to_does_not_expire
                idle_sessions_expire_in_every_repository
                sessions_without_a_byte_expire_alone
            }
        }
    };
    (repair [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            repair {
                sound_content_is_sound_and_absent_content_is_absent
                a_healthy_repository_has_no_faults
                a_record_that_does_not_exist_is_missing
                nothing_is_in_quarantine_at_first
                the_progress_of_a_verification_is_saved_for_every_handle
                a_healthy_storage_is_verified_without_a_finding
            }
        }
    };
    (collect [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            collect {
                what_nothing_names_is_removed_level_by_level
                a_removed_manifest_is_gone_from_every_listing
                content_that_was_removed_can_be_pushed_again
                a_tagged_manifest_is_in_use
                a_blob_that_a_client_was_told_of_is_in_use
                a_mounted_blob_is_in_use
                a_committed_blob_is_in_use
                a_manifest_that_is_found_by_its_digest_protects_what_it_names
                a_put_manifest_protects_what_it_names
                a_referrer_is_in_use_once_its_subject_is
                what_was_touched_stays_although_it_is_released
                one_run_is_open_at_a_time
                a_run_knows_the_census_of_the_previous_one
                a_run_knows_what_has_gone_since_the_census
                a_preview_changes_nothing
                what_is_not_there_is_absent
                only_an_empty_repository_is_removed
                a_put_and_a_removal_exclude_each_other
                what_a_request_released_is_a_suspect
            }
            releases {
                within_the_grace_period_everything_stays
                after_an_upload_request_links_stay_unless_a_deletion_released_them
                what_a_deletion_released_is_due_at_once_until_it_is_touched
                what_a_forgotten_record_kept_is_due_at_once
                what_was_used_since_its_deletion_stays_although_the_record_is_forgotten
                deletions_account_for_what_they_release
                a_tag_that_moves_or_is_deleted_releases_its_target
                what_a_deleted_tag_released_is_due_although_its_manifest_went_first
            }
        }
    };
    (health [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            health {
                a_probe_succeeds_and_leaves_nothing_behind
                no_more_is_free_than_there_is
                a_storage_that_accepts_uploads_takes_one
            }
        }
    };
    (damage [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            damage {
                a_blob_of_which_nothing_is_left_is_absent
                a_damaged_blob_is_healed_by_pushing_it_again
                a_manifest_that_needs_a_truncated_blob_asks_for_it
                an_index_that_needs_something_truncated_asks_for_it_whatever_it_is
                a_size_that_does_not_match_makes_the_blob_be_hashed_again
                a_blob_that_was_found_damaged_is_absent_for_everybody
                a_damaged_manifest_is_absent_until_it_is_put_again
                a_damaged_document_is_shown_as_damaged
                a_damaged_child_is_asked_for_and_put_again
                whoever_reads_a_damaged_blob_reads_on_when_it_is_found
            }
            quarantine {
                corrupt_content_is_found_and_a_check_changes_nothing
                content_in_quarantine_is_absent_for_everybody_until_it_is_pushed_again
                content_that_was_pushed_again_is_not_quarantined
                items_in_quarantine_are_listed_in_pages_and_removed_once
                a_corrupt_manifest_is_quarantined_and_put_again
                a_verification_names_the_images_that_need_corrupt_content_and_repairs_it
            }
        }
    };
    (read_only [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            read_only {
                a_read_only_handle_reads_all_and_writes_nothing
                a_read_only_handle_finds_damage_and_repairs_nothing
                a_read_only_handle_ends_no_session
            }
        }
    };
    (restart [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            restart {
                blobs_manifests_tags_and_referrers_survive
                a_media_type_that_the_document_does_not_name_survives
                deletions_survive
                a_session_survives_with_its_checkpoint
                a_session_whose_append_was_dropped_goes_on_after_the_restart
                a_sealed_session_stays_sealed
                a_commit_is_retried_after_the_restart
                a_session_of_before_has_its_uploader
                what_was_deleted_is_still_recorded
                the_census_is_known_with_what_has_gone_since
                what_accounts_for_removals_survives
                what_a_run_removes_for_good_is_accounted_for_although_it_does_not_end
            }
        }
    };
    (trash [$($with:tt)*] $($args:tt)*) => {
        $($with)*! {
            [$($args)*]
            trash {
                a_deleted_manifest_is_recorded_with_its_tags_and_bytes
                a_deleted_tag_is_recorded_with_its_target
                a_permanent_deletion_leaves_no_record
                what_deletes_nothing_leaves_no_record
                records_are_listed_in_the_order_of_the_deletions
                a_record_is_forgotten_and_nothing_else
                repositories_with_records_are_listed
                what_is_deleted_twice_is_recorded_twice
                deletions_at_once_are_all_recorded
                a_tag_has_a_history_of_its_moves_and_deletions
                a_put_of_the_same_manifest_renews_the_last_event
                a_restore_is_an_event_that_says_so_and_no_push
                the_newest_events_of_a_history_are_always_there
                tags_with_a_history_are_listed_also_deleted_ones
                the_history_of_a_deleted_tag_is_forgotten_and_no_other
                what_was_deleted_is_not_lost
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    macro_rules! listed {
        ([] $($group:ident { $($case:ident)* })*) => {
            vec![$((stringify!($group), include_str!(concat!(stringify!($group), ".rs")), vec![$(stringify!($case)),*])),*]
        };
    }

    #[test]
    fn every_case_is_in_the_list_and_so_is_a_test_of_every_backend() {
        let mut groups = crate::__storage_cases! { any [listed] };
        groups.extend(crate::__storage_cases! { inspect [listed] });
        groups.extend(crate::__storage_cases! { expire [listed] });
        groups.extend(crate::__storage_cases! { collect [listed] });
        groups.extend(crate::__storage_cases! { health [listed] });
        groups.extend(crate::__storage_cases! { damage [listed] });
        groups.extend(crate::__storage_cases! { read_only [listed] });
        groups.extend(crate::__storage_cases! { repair [listed] });
        groups.extend(crate::__storage_cases! { restart [listed] });
        groups.extend(crate::__storage_cases! { trash [listed] });
        let names: BTreeSet<&str> = groups.iter().map(|(group, ..)| *group).collect();
        for (group, source, listed) in &groups {
            let written: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
                .collect();
            assert_eq!(written, *listed, "{group}");
        }
        let modules: BTreeSet<&str> = include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .collect();
        assert_eq!(modules, names);
    }
}
