//! Replicas beside a collection of another one. Time is paused, so that the delay takes none.

use super::*;
use crate::keys;
use registry_core::storage::{Due, Reclaimed, StorageCollect as _, StorageError, Terms, Victim, Waiting};

/// A clock on which somebody does something during the first long sleep.
struct Meanwhile<F>(tokio::sync::Mutex<Option<F>>);

impl<F> Meanwhile<F> {
    fn of(action: F) -> Self {
        Self(tokio::sync::Mutex::new(Some(action)))
    }
}

#[async_trait]
impl<F: Future<Output = ()> + Send> Clock for Meanwhile<F> {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        let action = self.0.lock().await.take();
        if let Some(action) = action {
            action.await;
        }
        tokio::time::sleep(duration).await;
    }
}

fn replicas() -> (ObjectStorage, ObjectStorage) {
    let memory = Arc::new(InMemory::new());
    let replica = || open(&memory, &Stops::never(), Reach::Replicas);
    (replica(), replica())
}

async fn rescued(storage: &ObjectStorage) -> usize {
    storage.store.list_all(keys::RESCUED).await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_goes_after_the_delay() {
    let (pusher, collector) = replicas();
    let content = Content::push(&pusher).await;
    let began = tokio::time::Instant::now();

    run(&collector, &Host).await;

    assert_eq!(content.left(&pusher).await, [false; 3]);
    content.assert_kept(&pusher, "after the run").await;
    assert!(began.elapsed() >= collector.store.gate.delay());
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_announcements_cannot_be_shortened_removes_and_counts_the_same() {
    let mut removed = Vec::new();
    for stops in [Stops::never(), Stops::fixing("_collect/batches")] {
        let memory = Arc::new(InMemory::new());
        let pusher = open(&memory, &Stops::never(), Reach::Replicas);
        let collector = open(&memory, &stops, Reach::Replicas);
        let content = Content::push(&pusher).await;

        let report = run(&collector, &Host).await;

        assert_eq!(content.left(&pusher).await, [false; 3]);
        let of = report.removed;
        removed.push([of.manifests, of.links, of.data, of.repositories]);
    }
    assert_ne!(removed[0], [0; 4]);
    assert_eq!(removed[0], removed[1]);
}

#[tokio::test(start_paused = true)]
async fn a_push_of_a_replica_that_does_not_know_the_announcement_stays() {
    let (pusher, collector) = replicas();
    let content = Content::push(&pusher).await;
    // The replica has read the state just now, and does not look again for a while.
    content.left(&pusher).await;
    let push = async {
        put(&repository(&pusher), Some("late"), &content.index.1)
            .await
            .unwrap();
        assert_eq!(rescued(&pusher).await, 0, "nothing is known to be condemned");
    };

    run(&collector, &Meanwhile::of(push)).await;

    assert_eq!(content.left(&pusher).await, [true; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_was_told_of_after_the_announcement_stays_with_all_that_it_needs() {
    let (pusher, collector) = replicas();
    let content = Content::push(&pusher).await;
    let look = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(has(&repository(&pusher), &content.child.0).await);
        assert_ne!(rescued(&pusher).await, 0);
    };

    run(&collector, &Meanwhile::of(look)).await;

    assert_eq!(content.left(&pusher).await, [false, true, true]);
    // So the client can rely on it.
    put(&repository(&pusher), Some("late"), &content.index.1)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_after_the_announcement_stays_for_its_record() {
    let (pusher, collector) = replicas();
    let content = Content::push(&pusher).await;
    let delete = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let deleted = repository(&pusher).delete_manifest(content.child.0).await;
        assert!(deleted.is_ok());
        assert_ne!(rescued(&pusher).await, 0);
    };

    let options = options().empty_trash(false);
    collect(&collector, &options, &Meanwhile::of(delete), &|_| {})
        .await
        .unwrap();

    assert_eq!(content.left(&pusher).await, [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_taken_over_removes_nothing() {
    let (first, second) = replicas();
    let content = Content::push(&first).await;
    let name = repository(&first).name().clone();
    let victim = Victim::Manifest(name.clone(), content.index.0);
    let old = first.begin(Terms::new()).await.unwrap();
    let announced = first.condemn(&old, std::slice::from_ref(&victim)).await.unwrap();
    assert!(matches!(announced, Waiting::Until(left) if left == first.store.gate.delay()));
    let refused = second.begin(Terms::new()).await;
    assert!(matches!(refused, Err(StorageError::Busy { .. })), "{refused:?}");

    // The first one gives no sign any more.
    let holder = second.store.gate.stored(&second.store.bucket).await.unwrap();
    let holder = holder.state.holder.unwrap();
    second.store.bucket.delete(&keys::holder(&holder)).await.unwrap();
    let new = second.begin(Terms::new()).await.unwrap();
    tokio::time::sleep(first.store.gate.delay()).await;

    let stale = first.reclaim(&old, std::slice::from_ref(&victim)).await;
    assert!(matches!(stale, Err(StorageError::Busy { .. })), "{stale:?}");
    let record = keys::revision(&name, &content.index.0);
    assert!(second.store.bucket.head(&record).await.unwrap().is_some());
    second.condemn(&new, std::slice::from_ref(&victim)).await.unwrap();
    let removed = second.reclaim(&new, &[victim]).await.unwrap();
    assert!(matches!(removed[..], [Reclaimed::Removed { .. }]), "{removed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_run_goes_on_with_the_announcements_of_one_that_stopped() {
    let (first, second) = replicas();
    let content = Content::push(&first).await;
    let name = repository(&first).name().clone();
    let [index, child] =
        [content.index.0, content.child.0].map(|digest| Victim::Manifest(name.clone(), digest));
    let day = Terms::new().with_grace(Duration::from_secs(24 * 60 * 60));
    let run = first.begin(Terms::new()).await.unwrap();
    first.condemn(&run, std::slice::from_ref(&index)).await.unwrap();
    drop(run);
    // That was two days ago.
    let stored = second.store.gate.stored(&second.store.bucket).await.unwrap();
    let long_ago = stored.change(&second.store.bucket, Rung::Conditional, |state| {
        state.holder = None;
        state.listed = Some(1);
    });
    long_ago.await.unwrap().unwrap();

    let run = second.begin(day).await.unwrap();
    let open = second.store.gate.process.run(run.id).unwrap();
    assert_eq!(open.delay, Duration::from_secs(60 * 60), "others wait for a run");
    let waiting = second
        .condemn(&run, &[index.clone(), child.clone()])
        .await
        .unwrap();

    assert_eq!(waiting, Waiting::Until(Duration::ZERO));
    // Both were written just now, and only one was announced.
    let due = second
        .due(&Terms::new(), std::slice::from_ref(&index))
        .await
        .unwrap();
    assert!(matches!(due[..], [Due::Now { .. }]), "{due:?}");
    let work = second.store.gate.process.run(run.id).unwrap();
    let work = work.work.lock().await;
    assert!(work.is_closed && work.left().is_zero());
    assert_eq!(
        [&index, &child].map(|victim| work.condemned.contains(crate::gate::Mark::of(victim))),
        [true, false]
    );
}

#[tokio::test(start_paused = true)]
async fn a_tag_whose_link_was_overwritten_keeps_the_images_of_its_repository() {
    let (storage, _) = replicas();
    let content = Content::push(&storage).await;
    let name = repository(&storage).name().clone();
    let kept = Tag::parse("kept").unwrap();
    // Nothing has it, and registry:2's list of the targets of the tag does not name it.
    let nothing = Digest::of(registry_core::Algorithm::Sha256, b"nothing");
    let link = keys::tag(&name, &kept);
    storage
        .store
        .bucket
        .put(&link, nothing.to_string())
        .await
        .unwrap();

    let report = run(&storage, &Host).await;

    assert!(!report.pins.is_empty(), "{report:?}");
    assert_eq!(content.left(&storage).await, [true; 3]);
    assert!(has(&repository(&storage), &content.kept.0).await);
}
