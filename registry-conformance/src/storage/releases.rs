//! With the means `collect`: how long a collection keeps content, and what a deletion releases.

use super::{Backend, support::*};
use registry_core::storage::{Deletion, Due, Mount, Need, Reclaimed, TagExpect, Terms, Victim};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

pub async fn within_the_grace_period_everything_stays(backend: Backend) {
    let a = repository("a");
    let Graph { blob, index, .. } = graph(&backend.first, &a).await;
    let terms = Terms::new().with_grace(HOUR);
    let run = collector(&backend.first).begin(terms).await.unwrap();

    for victim in [record(&a, index.digest()), link(&a, blob), Victim::Data(blob)] {
        let preview = due(&backend.first, terms, victim.clone()).await;
        assert!(
            matches!(preview, Due::Later(left) if left <= HOUR),
            "{victim}: {preview:?}"
        );
        let reclaimed = reclaim(&backend.first, &run, victim.clone()).await;
        assert!(
            matches!(reclaimed, Reclaimed::Later(left) if left <= HOUR),
            "{victim}: {reclaimed:?}"
        );
    }
    end(&backend.first, run).await;
    assert!(holds(&backend.second, &a, &blob).await);
}

/// A client may still push the manifest that names them.
pub async fn after_an_upload_request_links_stay_unless_a_deletion_released_them(backend: Backend) {
    if announces(&backend.first).await {
        return;
    }
    let a = repository("a");
    let named = push(&backend.first, &a, &content(1, 1000)).await;
    let image = Image::new(2).needing(named.digest, named.size, Need::Blob);
    put(&backend.first, &a, image.tagged(&[])).await;
    let write = writer(&backend.first);
    write
        .delete_manifest(&a, &image.digest(), Deletion::new())
        .await
        .unwrap();
    let unnamed = push(&backend.first, &a, &content(3, 1000)).await.digest;
    let (unnamed, named) = (link(&a, unnamed), link(&a, named.digest));
    let terms = Terms::new().with_uploading(HOUR);

    let preview = due(&backend.second, terms, unnamed.clone()).await;
    assert!(matches!(preview, Due::Later(left) if left <= HOUR), "{preview:?}");
    let preview = due(&backend.second, terms, named.clone()).await;
    assert!(matches!(preview, Due::Now { .. }), "{preview:?}");
    let run = collector(&backend.first).begin(terms).await.unwrap();
    let reclaimed = reclaim(&backend.first, &run, unnamed.clone()).await;
    assert!(
        matches!(reclaimed, Reclaimed::Later(left) if left <= HOUR),
        "{reclaimed:?}"
    );
    assert_removed(&backend.first, &run, named).await;
    end(&backend.first, run).await;

    let run = begin(&backend.first).await;
    assert_removed(&backend.first, &run, unnamed).await;
    end(&backend.first, run).await;
}

pub async fn what_a_deletion_released_is_due_at_once_until_it_is_touched(backend: Backend) {
    if announces(&backend.first).await {
        return;
    }
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    let terms = Terms::new().with_grace(HOUR).with_released(true);
    let released = [record(&a, child.digest()), link(&a, blob), Victim::Data(blob)];
    let write = writer(&backend.first);

    write
        .delete_manifest(&a, &index.digest(), Deletion::new())
        .await
        .unwrap();

    for victim in &released {
        let preview = due(&backend.second, terms, victim.clone()).await;
        assert!(matches!(preview, Due::Now { .. }), "{victim}: {preview:?}");
    }
    put(&backend.first, &a, child.tagged(&[])).await;
    for victim in &released {
        let preview = due(&backend.second, terms, victim.clone()).await;
        assert!(matches!(preview, Due::Later(_)), "{victim}: {preview:?}");
    }
}

pub async fn what_a_forgotten_record_kept_is_due_at_once(backend: Backend) {
    if announces(&backend.first).await {
        return;
    }
    let Some(trash) = backend.first.trash() else {
        return;
    };
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    for image in [&index, &child] {
        writer(&backend.first)
            .delete_manifest(&a, &image.digest(), Deletion::new())
            .await
            .unwrap();
    }

    forget_all(trash, &a).await;

    let terms = Terms::new().with_grace(HOUR).with_released(true);
    for victim in [link(&a, blob), Victim::Data(blob)] {
        let preview = due(&backend.second, terms, victim.clone()).await;
        assert!(matches!(preview, Due::Now { .. }), "{victim}: {preview:?}");
    }
}

/// Otherwise, the manifest of a client would be refused that was told of a blob after the deletion.
pub async fn what_was_used_since_its_deletion_stays_although_the_record_is_forgotten(backend: Backend) {
    if announces(&backend.first).await {
        return;
    }
    let Some(trash) = backend.first.trash() else {
        return;
    };
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    for image in [&index, &child] {
        writer(&backend.first)
            .delete_manifest(&a, &image.digest(), Deletion::new())
            .await
            .unwrap();
    }
    assert!(backend.first.blob(&a, &blob).await.unwrap().is_some());
    let terms = Terms::new().with_grace(HOUR).with_released(true);
    let assert_later = async || {
        for victim in [link(&a, blob), Victim::Data(blob)] {
            let preview = due(&backend.second, terms, victim.clone()).await;
            assert!(matches!(preview, Due::Later(_)), "{victim}: {preview:?}");
        }
    };
    assert_later().await;

    forget_all(trash, &a).await;

    assert_later().await;
}

pub async fn deletions_account_for_what_they_release(backend: Backend) {
    if announces(&backend.first).await {
        return;
    }
    let (a, b) = (repository("a"), repository("b"));
    let Graph { blob, index, .. } = graph(&backend.first, &a).await;
    let shared = push(&backend.first, &a, &content(2, 1000)).await.digest;
    let write = writer(&backend.first);
    let mounted = write.mount(&b, Mount::new(&a, &shared)).await.unwrap();
    assert!(mounted.is_some());
    let assert_released = async |expected: [bool; 2], when: &str| {
        let released = collector(&backend.second).released(&[blob, shared]).await;
        assert_eq!(released.unwrap(), expected, "{when}");
    };
    assert_released([false, false], "before").await;

    write
        .delete_manifest(&a, &index.digest(), Deletion::new())
        .await
        .unwrap();
    assert_released([true, false], "after the deletion of a manifest").await;
    write.delete_blob(&a, &shared, Deletion::new()).await.unwrap();
    assert_released([true, true], "after the deletion of a blob").await;

    assert!(backend.first.blob(&a, &blob).await.unwrap().is_some());
    assert_released([false, true], "after a client was told of the blob").await;
    let Some(trash) = backend.first.trash() else {
        return;
    };
    forget_all(trash, &a).await;
    assert_released([true, true], "after the record was forgotten").await;
}

pub async fn a_tag_that_moves_or_is_deleted_releases_its_target(backend: Backend) {
    if announces(&backend.first).await {
        return;
    }
    let a = repository("a");
    let terms = Terms::new().with_grace(HOUR).with_released(true);
    let [one, two] = [1, 2].map(Image::new);
    put(&backend.first, &a, one.tagged(&["v1"])).await;
    put(&backend.first, &a, two.tagged(&["v1"])).await;

    let preview = due(&backend.second, terms, record(&a, one.digest())).await;
    assert!(matches!(preview, Due::Now { .. }), "{preview:?}");

    let write = writer(&backend.first);
    write
        .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    let preview = due(&backend.second, terms, record(&a, two.digest())).await;
    assert!(matches!(preview, Due::Now { .. }), "{preview:?}");

    // With everything that it names, also before the first run.
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    put(&backend.first, &a, index.tagged(&["v2"])).await;
    write
        .delete_tag(&a, &tag("v2"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    for victim in [record(&a, child.digest()), link(&a, blob), Victim::Data(blob)] {
        let preview = due(&backend.second, terms, victim.clone()).await;
        assert!(matches!(preview, Due::Now { .. }), "{victim}: {preview:?}");
    }
}

pub async fn what_a_deleted_tag_released_is_due_although_its_manifest_went_first(backend: Backend) {
    if announces(&backend.first).await {
        return;
    }
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    put(&backend.first, &a, index.tagged(&["v1"])).await;
    let storage = &backend.first;
    // As when a rule of retention drops a tag with its manifest.
    let run = begin(storage).await;
    writer(storage)
        .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    assert_removed(storage, &run, record(&a, index.digest())).await;
    assert_removed(storage, &run, record(&a, child.digest())).await;
    end(storage, run).await;

    let terms = Terms::new().with_grace(HOUR).with_released(true);
    for victim in [link(&a, blob), Victim::Data(blob)] {
        let preview = due(&backend.second, terms, victim.clone()).await;
        assert!(matches!(preview, Due::Now { .. }), "{victim}: {preview:?}");
    }
}
