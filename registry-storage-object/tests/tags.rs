//! Tags, manifests and blobs on real stores, whose versions of objects are made of their content, with requests that are late.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use libtest_mimic::{Arguments, Trial};
use object_stores::{
    HostileProxy, S3Server, SeaweedFs, Versitygw,
    proxy::{Fault, Gate, Kind, on},
};
use registry_conformance::tools;
use registry_core::{
    Algorithm, Digest, MediaType, Reference, Registry, RepositoryName, Tag,
    storage::{
        Deletion, Page, PutManifest, Seen, Storage as _, StorageError, StorageInspect as _,
        StorageWrite as _, TagExpect, TagMove, Verified,
    },
};
use registry_storage_object::{Location, ObjectStorage, S3};
use std::{io, process::ExitCode};

const BUCKET: &str = "tags";

/// Starts a store.
type Start = fn() -> io::Result<S3Server>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let programs: [(&str, Start); 2] = [
        (SeaweedFs::PROGRAM, SeaweedFs::start),
        (Versitygw::PROGRAM, Versitygw::start),
    ];
    let mut trials = Vec::new();
    for (program, start) in programs {
        trials.push(trial(
            program,
            start,
            "a_tag_that_is_put_again_while_it_is_removed_stays",
            async |server| a_tag_that_is_put_again_while_it_is_removed_stays(server).await,
        ));
        trials.push(trial(
            program,
            start,
            "what_is_pushed_again_after_its_deletion_has_stopped_stays",
            async |server| what_is_pushed_again_after_its_deletion_has_stopped_stays(server).await,
        ));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(
    program: &'static str,
    start: Start,
    name: &str,
    test: impl AsyncFn(&S3Server) + Send + 'static,
) -> Trial {
    tools::trial(format!("{program}::{name}"), &[program], move || {
        let server = start().unwrap();
        server.bucket(BUCKET).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(test(&server));
        Ok(())
    })
}

fn location(server: &S3Server, endpoint: &str) -> Location {
    S3::new(BUCKET)
        .endpoint(endpoint)
        .region(server.region())
        .credentials(server.access_key(), server.secret())
        .path_style()
        .into()
}

async fn put(storage: &ObjectStorage, repository: &RepositoryName, tag: &Tag) -> Digest {
    let media_type = MediaType::OCI_MANIFEST;
    let document = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}"}}"#);
    let manifest = Verified::of(Algorithm::Sha256, document.into());
    let digest = *manifest.digest();
    let mut put = PutManifest::new(manifest, MediaType::parse(media_type).unwrap());
    put.tags = vec![TagMove::new(tag.clone())];
    let outcome = storage.put_manifest(repository, put).await.unwrap();
    assert!(outcome.failed.is_none(), "{outcome:?}");
    digest
}

/// A rule of retention removes a tag that nobody has put again. The removal is on its way while somebody puts it.
async fn a_tag_that_is_put_again_while_it_is_removed_stays(server: &S3Server) {
    let proxy = HostileProxy::start(server.address()).unwrap();
    let direct = location(server, &server.endpoint());
    let probe = ObjectStorage::options().probe(&direct).await.unwrap();
    let options = ObjectStorage::options().probed(probe);
    let pusher = options.clone().open(direct).await.unwrap();
    let remover = options.open(location(server, &proxy.endpoint())).await.unwrap();
    let (a, v1) = (RepositoryName::parse("a").unwrap(), Tag::parse("v1").unwrap());
    let digest = put(&pusher, &a, &v1).await;
    let listed = remover.tag_targets(&a, Page::first(1)).await.unwrap();
    let seen = listed.items.into_iter().find_map(Seen::whole).unwrap();
    let expect = TagExpect::Unchanged(digest, seen.version.unwrap());
    let gate = Gate::new();
    proxy.fault(
        on(Kind::ConditionalDelete).key("/v1/current/link"),
        Fault::Delay(gate.clone()),
    );
    let removal = tokio::spawn({
        let (a, v1) = (a.clone(), v1.clone());
        async move { remover.delete_tag(&a, &v1, expect, Deletion::new()).await }
    });
    assert!(gate.reached(1).await);
    let reference = Reference::Tag(v1.clone());
    assert!(pusher.manifest(&a, &reference).await.unwrap().is_some());

    put(&pusher, &a, &v1).await;
    gate.open();

    let refused = removal.await.unwrap();
    assert!(
        matches!(refused, Err(StorageError::TagConflict { current, .. }) if current == Some(digest)),
        "{refused:?}"
    );
    assert!(pusher.manifest(&a, &reference).await.unwrap().is_some());
}

async fn push_blob(storage: &ObjectStorage, repository: &RepositoryName) -> Digest {
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository(repository.as_str()).unwrap();
    repository.push_blob("content", None).await.unwrap().digest
}

/// A replica deletes, and dies while its request is on its way to the store.
async fn what_is_pushed_again_after_its_deletion_has_stopped_stays(server: &S3Server) {
    let proxy = HostileProxy::start(server.address()).unwrap();
    let direct = location(server, &server.endpoint());
    let probe = ObjectStorage::options().probe(&direct).await.unwrap();
    let options = ObjectStorage::options().probed(probe);
    let pusher = options.clone().open(direct).await.unwrap();
    let (a, v1) = (RepositoryName::parse("a").unwrap(), Tag::parse("v1").unwrap());
    for what in ["tag", "manifest", "blob"] {
        let manifest = put(&pusher, &a, &v1).await;
        let blob = push_blob(&pusher, &a).await;
        let remover = options.clone().open(location(server, &proxy.endpoint()));
        let remover = remover.await.unwrap();
        let part = match what {
            "tag" => "/v1/current/link",
            "manifest" => "/revisions/",
            _ => "/_layers/",
        };
        let gate = Gate::new();
        let removal = on(Kind::ConditionalDelete).key(part);
        proxy.fault(removal, Fault::Delay(gate.clone()));
        let dying = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        dying.spawn({
            let (a, v1) = (a.clone(), v1.clone());
            async move {
                let how = Deletion::new();
                match what {
                    "tag" => drop(remover.delete_tag(&a, &v1, TagExpect::Any, how).await),
                    "manifest" => drop(remover.delete_manifest(&a, &manifest, how).await),
                    _ => drop(remover.delete_blob(&a, &blob, how).await),
                }
            }
        });
        assert!(gate.reached(1).await);
        dying.shutdown_background();

        put(&pusher, &a, &v1).await;
        push_blob(&pusher, &a).await;
        gate.open();
        while proxy.seen().iter().any(|seen| seen.status.is_none()) {
            tokio::task::yield_now().await;
        }

        for reference in [Reference::Tag(v1.clone()), Reference::Digest(manifest)] {
            let found = pusher.manifest(&a, &reference).await.unwrap();
            assert!(found.is_some(), "{what}: {reference:?}");
        }
        assert!(pusher.blob(&a, &blob).await.unwrap().is_some(), "{what}");
    }
}
