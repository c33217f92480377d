//! The storage contract, kept by a bucket.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{
    storage::{Backend, Handles},
    storage_tests,
};
use registry_storage_object::{Kept, Location, ObjectStorage, Probe};
use std::sync::Arc;

/// Opens two replicas on a bucket, whose store has these abilities.
async fn open(bucket: &Location, probe: &Probe) -> Handles {
    let open = || async {
        let options = ObjectStorage::options().probed(probe.clone());
        Arc::new(options.open(bucket.clone()).await.unwrap())
    };
    (open().await, open().await)
}

/// Two replicas on a new bucket in memory.
async fn replicas(change: impl FnOnce(&mut Probe)) -> Backend {
    let bucket = Location::memory();
    let mut probe = ObjectStorage::options().probe(&bucket).await.unwrap();
    change(&mut probe);
    let (first, second) = open(&bucket, &probe).await;
    Backend::new(first, second).reopening(move || {
        let (bucket, probe) = (bucket.clone(), probe.clone());
        async move { open(&bucket, &probe).await }
    })
}

async fn memory() -> Backend {
    replicas(|_| {}).await
}

storage_tests!(memory, collect, expire, health, inspect, repair, restart, trash);

/// A store that creates absent objects, and keeps no other condition.
mod creating_only {
    use super::*;

    async fn memory() -> Backend {
        replicas(|probe| (probe.update, probe.delete) = (Kept::Never, Kept::Never)).await
    }

    storage_tests!(memory, collect, expire, health, inspect, repair, restart, trash);
}

/// A store that keeps no condition. Another replica that writes would wait for the first one: there is none.
mod without_conditions {
    use super::*;
    use registry_conformance::storage::{deletions, dropping, inspect, run, tags, trash};

    async fn memory() -> Backend {
        let bucket = Location::memory();
        let mut probe = ObjectStorage::options().probe(&bucket).await.unwrap();
        (probe.create, probe.update, probe.delete) = (Kept::Never, Kept::Never, Kept::Never);
        let options = ObjectStorage::options().probed(probe).sole_replica();
        let storage = Arc::new(options.open(bucket).await.unwrap());
        Backend::new(Arc::clone(&storage) as _, storage)
    }

    macro_rules! kept {
        ($($group:ident::$case:ident)*) => {
            $(
                #[test]
                fn $case() {
                    run(memory, $group::$case);
                }
            )*
        };
    }

    kept! {
        tags::a_tag_moves_only_from_where_it_is_expected
        tags::of_writers_that_race_for_a_new_tag_one_wins
        tags::of_writers_that_race_to_move_a_tag_one_wins
        tags::several_tags_are_moved_in_byte_order
        tags::a_tag_that_conflicts_ends_the_put_and_earlier_tags_stay_moved
        tags::a_tag_points_at_one_whole_manifest_while_it_is_moved
        deletions::a_tag_is_deleted_only_if_it_is_as_expected
        deletions::deleting_a_manifest_deletes_exactly_its_tags
        dropping::a_manifest_whose_deletion_is_dropped_takes_its_tags_along_or_stays
        inspect::every_put_of_a_tag_changes_its_version
        trash::a_tag_has_a_history_of_its_moves_and_deletions
        trash::deletions_at_once_are_all_recorded
    }
}
