//! With the means `inspect`: open sessions are listed with their uploaders, so that the service can count those that it
//! did not open itself.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, RepositoryName, UploadId,
    hash::Hasher,
    storage::{NewUpload, Page, Seen, UploadState, Uploader},
};
use std::{collections::BTreeMap, net::Ipv6Addr, sync::Arc};

async fn open_by(backend: &Backend, name: &RepositoryName, uploader: Option<Uploader>) -> UploadState {
    let new = NewUpload::hashed_by(Algorithm::Sha256).by(uploader);
    writer(&backend.first).open_upload(name, new).await.unwrap()
}

fn user(name: &str) -> Option<Uploader> {
    Some(Uploader::user(name))
}

/// Lists the sessions of a repository with their uploaders, in pages of two.
async fn listed(backend: &Backend, name: &RepositoryName) -> BTreeMap<UploadId, Option<Uploader>> {
    let inspect = inspection(&backend.second);
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let page = Page::first(2).after(after.as_ref());
        let listing = inspect.uploads(name, page).await.unwrap();
        for session in listing.items.into_iter().map(|seen| seen.whole().unwrap()) {
            after = Some(session.id);
            let twice = found.insert(session.id, session.opened_by);
            assert!(twice.is_none(), "{} is listed twice", session.id);
        }
        if !listing.more {
            return found;
        }
    }
}

pub async fn a_session_is_listed_with_its_uploader(backend: Backend) {
    let (a, b) = (repository("a"), repository("b/c"));
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 2, 3, 4, 5);
    let uploaders = [
        user("ann"),
        user("ann@example.com: \"a\\b\"\n\u{1F600}"),
        Some(Uploader::anonymous([192, 0, 2, 1].into())),
        Some(Uploader::anonymous(address.into())),
        None,
    ];
    let mut opened = BTreeMap::new();
    for uploader in uploaders {
        let state = open_by(&backend, &a, uploader.clone()).await;
        opened.insert(state.id, uploader);
    }
    let other = open_by(&backend, &b, user("bob")).await;

    assert_eq!(listed(&backend, &a).await, opened);
    assert_eq!(
        listed(&backend, &b).await,
        BTreeMap::from([(other.id, user("bob"))])
    );
}

pub async fn the_uploader_stays_the_same_while_the_session_changes(backend: Backend) {
    let a = repository("a");
    let opened = open_by(&backend, &a, user("ann")).await;
    let id = opened.id;
    assert_eq!(opened.opened_by, user("ann"));

    let added = appended(backend.sharing(), &a, &opened, &content(1, 100)).await;
    assert_eq!(added.opened_by, user("ann"));
    assert_eq!(listed(&backend, &a).await, BTreeMap::from([(id, user("ann"))]));

    let hasher = Hasher::new(Algorithm::Sha512);
    let (sealed, _) = writer(backend.sharing()).rehash(&a, added, hasher).await.unwrap();
    assert_eq!(sealed.opened_by, user("ann"));
    assert_eq!(listed(&backend, &a).await, BTreeMap::from([(id, user("ann"))]));

    close(backend.sharing(), &a, sealed, Algorithm::Sha512).await;
    assert!(listed(&backend, &a).await.is_empty());
}

pub async fn of_many_sessions_opened_at_once_each_is_listed_once(backend: Backend) {
    let a = repository("a");
    let opening: Vec<_> = (0..24)
        .map(|number| {
            let handle = Arc::clone(if number % 2 == 0 {
                &backend.first
            } else {
                backend.sharing()
            });
            let uploader = user(&format!("user-{number}"));
            let new = NewUpload::hashed_by(Algorithm::Sha256).by(uploader.clone());
            tokio::spawn(async move {
                let opened = writer(&handle).open_upload(&repository("a"), new).await.unwrap();
                (opened.id, uploader)
            })
        })
        .collect();
    let mut opened = BTreeMap::new();
    for one in opening {
        opened.extend([one.await.unwrap()]);
    }

    assert_eq!(listed(&backend, &a).await, opened);
}

pub async fn a_session_that_stays_open_is_listed_whatever_others_do(backend: Backend) {
    let a = repository("a");
    let mut others = Vec::new();
    let mut staying = Vec::new();
    for number in 0..12 {
        let id = open_by(&backend, &a, None).await.id;
        if number % 3 == 0 {
            staying.push(id);
        } else {
            others.push(id);
        }
    }
    let inspect = inspection(&backend.second);
    let mut found = Vec::new();
    loop {
        let page = Page::first(1).after(found.last());
        let listing = inspect.uploads(&a, page).await.unwrap();
        found.extend(
            listing
                .items
                .into_iter()
                .filter_map(Seen::whole)
                .map(|state| state.id),
        );
        if !listing.more {
            break;
        }
        if let Some(ended) = others.pop() {
            assert!(writer(&backend.first).cancel(&a, &ended).await.unwrap());
        }
        if found.len() < 6 {
            open_by(&backend, &a, user("ann")).await;
        }
    }

    assert!(
        staying.iter().all(|id| found.contains(id)),
        "{staying:?} {found:?}"
    );
}
