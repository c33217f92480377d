//! A run that is killed after any of its requests.

use super::*;
use crate::keys;

/// Runs a collection that is killed after a number of requests. Returns true if it has ended before.
fn killed_after(memory: &Arc<InMemory>, requests: u64) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    // All its tasks end with the runtime.
    runtime.block_on(async {
        let stops = Stops::after(requests);
        let storage = open(memory, &stops, Reach::Punctual);
        tokio::select! {
            _ = run(&storage, &Host) => true,
            () = stops.stopped() => false,
        }
    })
}

async fn marks(storage: &ObjectStorage) -> Vec<String> {
    let mut left = Vec::new();
    for directory in [
        keys::LISTS,
        keys::RESCUED,
        keys::BATCHES,
        keys::GONE,
        keys::HOLDERS,
    ] {
        let listed = storage.store.list_all(directory).await.unwrap();
        left.extend(listed.into_iter().map(|object| object.key));
    }
    left
}

#[test]
fn a_run_that_is_killed_anywhere_leaves_nothing_but_garbage() {
    // Time is paused: nobody waits for a client that has to come back later.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut pushed_again = 0;
    for requests in 0.. {
        let memory = Arc::new(InMemory::new());
        let before = open(&memory, &Stops::never(), Reach::Punctual);
        let content = runtime.block_on(Content::push(&before));
        if killed_after(&memory, requests) {
            assert!(requests > 50 && pushed_again > 10, "{requests} {pushed_again}");
            return;
        }
        let context = format!("killed after {requests} requests");

        runtime.block_on(async {
            let after = open(&memory, &Stops::never(), Reach::Punctual);
            content.assert_kept(&after, &context).await;
            // Every other time, a client pushes the index again, as far as it is told that it has to.
            let is_pushed = requests % 2 == 1 && push_again(&after, &content).await;
            pushed_again += u32::from(is_pushed);
            run(&after, &Host).await;
            content.assert_kept(&after, &context).await;
            if requests % 2 == 1 {
                // It has spared what a client asked for that was told to come back later.
                run(&after, &Host).await;
            }
            assert_eq!(content.left(&after).await, [is_pushed; 3], "{context}");
            assert_eq!(marks(&after).await, Vec::<String>::new(), "{context}");
        });
    }
}

/// Pushes like a client that skips what exists. Returns false if it is told to come back later.
async fn push_again(storage: &ObjectStorage, content: &Content) -> bool {
    let repository = repository(storage);
    if !has(&repository, &content.child.0).await {
        if repository.blob(&content.blob).await.unwrap().is_none()
            && repository.push_blob("garbage", None).await.is_err()
        {
            return false;
        }
        if put(&repository, None, &content.child.1).await.is_err() {
            return false;
        }
    }
    put(&repository, Some("again"), &content.index.1).await.is_ok()
}
