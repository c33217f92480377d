//! An index that is damaged, unreadable or wrong: it is derived, so the list stays right.

use super::*;

#[tokio::test]
async fn an_index_that_was_removed_or_garbled_is_made_again() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let signatures = [0, 1, 2].map(signature);
    for manifest in &signatures {
        put(&storage, manifest).await;
    }
    let expected = sorted(&signatures.each_ref());
    assert_eq!(listed(&storage).await, expected);
    let index = top(root.path()).join("_index");
    let own = index.join("a/_referrers");

    fs::remove_dir_all(&own).unwrap();
    assert_eq!(listed(&storage).await, expected);
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(listed(&storage).await, expected);
    fs::write(own.join("complete"), "\0\0garbage").unwrap();
    assert_eq!(listed(&storage).await, expected);
    let subject = own.join(format!("sha256/{}", subject().hex()));
    for odd in ["x", "sha256-zz", "md5-00", "sha256-00/short", "sha256-00/é"] {
        let odd = subject.join(odd);
        fs::create_dir_all(odd.parent().unwrap()).unwrap();
        fs::write(odd, "").unwrap();
    }
    assert_eq!(listed(&storage).await, expected);
    // A file where a directory belongs goes away.
    fs::remove_dir_all(&own).unwrap();
    fs::write(&own, "").unwrap();
    assert_eq!(listed(&storage).await, expected);
    assert!(storage.store().referrer_index().is_complete(&name("a")).unwrap());
    fs::remove_dir_all(own.join("sha256")).unwrap();
    fs::write(own.join("sha256"), "").unwrap();
    put(&storage, &signature(3)).await;
    assert_eq!(listed(&storage).await, sorted(&[&signature(3)]));
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_no_outage() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &signature(0)).await;
    let expected = sorted(&[&signature(0)]);
    assert_eq!(listed(&storage).await, expected);
    let own = top(root.path()).join("_index/a/_referrers");
    let subject = own.join(format!("sha256/{}", subject().hex()));
    let fan = format!("sha256-{}", &digest_of(&signature(0)).hex()[..2]);
    let reader = read_only(root.path());
    for unreadable in [own.join("complete"), subject.join(fan), subject] {
        let _fault = fail(&unreadable, Errno::IO);
        for storage in [&storage, &reader] {
            assert_eq!(listed(storage).await, expected, "{}", unreadable.display());
        }
    }
}

#[tokio::test]
async fn entries_that_do_not_fit_their_manifest_show_nothing() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &signature(0)).await;
    let expected = sorted(&[&signature(0)]);
    assert_eq!(listed(&storage).await, expected);
    let store = storage.store();
    let manifest = store.revision(&name("a"), &expected[0]).unwrap().unwrap();
    let entry = Entry::of(&manifest).unwrap();
    let other = Digest::of(Algorithm::Sha256, b"other");
    for wrong in [
        Entry {
            subject: other,
            ..entry
        },
        Entry {
            kind: Kind::of(Some("x/y")),
            ..entry
        },
    ] {
        store.referrer_index().add(&name("a"), &wrong).unwrap();
    }

    let page = Page::first(10);
    let of_other = storage.referrers(&name("a"), Referring::new(&other), page).await;

    assert_eq!(listed(&storage).await, expected, "once");
    assert!(of_other.unwrap().items.is_empty());
}

#[tokio::test]
async fn an_index_that_cannot_be_written_is_no_outage() {
    let root = TempDir::new().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    put(&storage, &signature(0)).await;
    drop(storage);
    let index = top(root.path()).join("_index");
    fs::remove_dir_all(&index).unwrap();
    fs::write(&index, "in the way").unwrap();

    let storage = FsStorage::open(root.path()).unwrap();
    assert_eq!(listed(&storage).await, sorted(&[&signature(0)]));
    assert_eq!(listed(&read_only(root.path())).await, sorted(&[&signature(0)]));
}
