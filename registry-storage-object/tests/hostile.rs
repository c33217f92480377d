//! Replicas on stores that keep no conditions, or only some, and behind a proxy that answers in the store's place.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use http::StatusCode;
use libtest_mimic::{Arguments, Trial};
use object_stores::{
    HostileProxy, S3Server, SeaweedFs, Versitygw,
    proxy::{Fault, Gate, Kind, on, on_any},
};
use registry_conformance::tools;
use registry_core::{
    Algorithm, Digest, MediaType, Reference, RepositoryName, Tag,
    storage::{
        Deletion, PutManifest, Storage as _, StorageError, StorageWrite as _, TagExpect, TagMove, Verified,
    },
};
use registry_storage_object::{Kept, Location, ObjectStorage, S3};
use std::{io, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

const BUCKET: &str = "hostile";

/// Number of tests at the same time, unless the command line has it. They wait for a store or a clock most of theirs.
const AT_ONCE: usize = 7;

/// Number of probes of a store that keeps no conditions. Each one has to find out.
const PROBES: usize = 3;

/// Number of moves of a tag that each of two replicas has to make.
const MOVES: usize = 12;

/// Starts a store.
type Start = fn() -> io::Result<S3Server>;

/// A test on a store, behind a proxy.
type Test = for<'a> fn(&'a S3Server, &'a HostileProxy) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let programs: [(&str, Start); 2] = [
        (SeaweedFs::PROGRAM, SeaweedFs::start),
        (Versitygw::PROGRAM, Versitygw::start),
    ];
    let tests: [(&str, Test); 7] = [
        (
            "a_store_that_ignores_conditions_is_found_out_each_time",
            |server, proxy| Box::pin(ignored(server, proxy)),
        ),
        (
            "two_replicas_lose_no_move_of_a_tag_if_deletions_ignore_conditions",
            |server, proxy| Box::pin(counted(server, proxy)),
        ),
        (
            "a_store_that_checks_too_early_is_found_out_each_time",
            |server, proxy| Box::pin(early(server, proxy)),
        ),
        (
            "deletions_that_check_too_early_are_found_out_soon",
            |server, proxy| Box::pin(removed_early(server, proxy)),
        ),
        (
            "a_move_that_lands_long_after_its_503_is_refused",
            |server, proxy| Box::pin(late(server, proxy)),
        ),
        ("a_removal_that_lands_twice_removes_once", |server, proxy| {
            Box::pin(doubled(server, proxy))
        }),
        ("a_404_of_a_proxy_is_an_outage", |server, proxy| {
            Box::pin(foreign(server, proxy))
        }),
    ];
    let mut trials: Vec<Trial> = Vec::new();
    for (program, start) in programs {
        for (name, test) in tests {
            let name = format!("{program}::{name}");
            trials.push(tools::trial(&name, &[program], move || {
                let server = start().unwrap();
                server.bucket(BUCKET).unwrap();
                let proxy = HostileProxy::start(server.address()).unwrap();
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(test(&server, &proxy));
                Ok(())
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn location(server: &S3Server, proxy: &HostileProxy) -> Location {
    at(server, proxy.endpoint())
}

fn direct(server: &S3Server) -> Location {
    at(server, server.endpoint())
}

fn at(server: &S3Server, endpoint: String) -> Location {
    S3::new(BUCKET)
        .endpoint(endpoint)
        .region(server.region())
        .credentials(server.access_key(), server.secret())
        .path_style()
        .into()
}

fn name() -> RepositoryName {
    RepositoryName::parse("a").unwrap()
}

fn tag() -> Tag {
    Tag::parse("v1").unwrap()
}

/// Returns an image without layers, another one for each number.
fn image(number: usize) -> Verified<bytes::Bytes> {
    let media_type = MediaType::OCI_MANIFEST;
    let document = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","number":{number}}}"#);
    Verified::of(Algorithm::Sha256, document.into())
}

/// Puts an image with the tag, which has to be as expected. Returns the target that the tag had, unless it was another one.
async fn put(storage: &ObjectStorage, number: usize, expect: TagExpect) -> Option<Option<Digest>> {
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let mut put = PutManifest::new(image(number), media_type);
    put.tags = vec![TagMove::new(tag()).expecting(expect)];
    let outcome = storage.put_manifest(&name(), put).await.unwrap();
    match outcome.failed {
        None => Some(outcome.moved.first().unwrap().previous),
        Some((_, StorageError::TagConflict { .. } | StorageError::Unavailable { .. })) => None,
        Some(other) => panic!("{other:?}"),
    }
}

async fn target(storage: &ObjectStorage) -> Result<Option<Digest>, StorageError> {
    let found = storage.manifest(&name(), &Reference::Tag(tag())).await?;
    Ok(found.map(|found| found.digest))
}

async fn ignored(server: &S3Server, proxy: &HostileProxy) {
    proxy.fault(on_any().always(), Fault::IgnoreConditions);
    let location = location(server, proxy);
    let options = ObjectStorage::options();
    for _ in 0..PROBES {
        let probe = options.probe(&location).await.unwrap();
        assert!(!probe.supports_replicas(), "{probe}");
        assert_eq!(probe.create, Kept::Never, "{probe}");
        assert_eq!(probe.update, Kept::Never, "{probe}");
        assert_eq!(probe.delete, Kept::Never, "{probe}");

        let refused = options.clone().probed(probe).open(location.clone()).await;

        let refused = refused.unwrap_err();
        assert!(matches!(refused, StorageError::Denied { .. }), "{refused}");
        assert!(refused.to_string().contains("replicas: 1"), "{refused}");
    }
    let alone = options.sole_replica().open(location).await.unwrap();
    put(&alone, 1, TagExpect::Any).await.unwrap();
    assert_eq!(target(&alone).await.unwrap(), Some(*image(1).digest()));
    alone.release().await.unwrap();
}

/// Both replicas move the tag from where it is to an image of their own. If a move were lost, two would start at one target.
async fn counted(server: &S3Server, proxy: &HostileProxy) {
    proxy.fault(on(Kind::ConditionalDelete).always(), Fault::IgnoreConditions);
    let location = location(server, proxy);
    let options = ObjectStorage::options();
    let probe = options.probe(&location).await.unwrap();
    assert_eq!((&probe.create, &probe.delete), (&Kept::Always, &Kept::Never));
    assert!(probe.supports_replicas(), "{probe}");
    let options = options.probed(probe);
    let movers = [0, 1].map(|replica| {
        let (options, location) = (options.clone(), location.clone());
        async move {
            let storage = Arc::new(options.open(location).await.unwrap());
            let mut starts = Vec::new();
            while starts.len() < MOVES {
                let expect = match target(&storage).await.unwrap() {
                    Some(target) => TagExpect::Is(target),
                    None => TagExpect::Absent,
                };
                let number = 1 + replica * MOVES + starts.len();
                starts.extend(put(&storage, number, expect).await);
            }
            starts
        }
    });
    let [first, second] = movers.map(tokio::spawn);
    let mut starts = first.await.unwrap();
    starts.extend(second.await.unwrap());

    let moves = starts.len();
    starts.sort();
    starts.dedup();
    assert_eq!(starts.len(), moves, "two moves started at one target");
}

async fn early(server: &S3Server, proxy: &HostileProxy) {
    proxy.fault(on(Kind::ConditionalPut).always(), Fault::CheckEarly);
    let location = location(server, proxy);
    for _ in 0..PROBES {
        let probe = ObjectStorage::options().probe(&location).await.unwrap();
        assert!(matches!(probe.create, Kept::Races { .. }), "{probe}");
        assert!(matches!(probe.update, Kept::Races { .. }), "{probe}");
        assert!(!probe.supports_replicas(), "{probe}");
    }
}

/// A removal has no bytes that could be held back, so such a store is found out by chance. What one check has found is remembered.
async fn removed_early(server: &S3Server, proxy: &HostileProxy) {
    proxy.fault(on(Kind::ConditionalDelete).always(), Fault::CheckEarly);
    let location = location(server, proxy);
    for _ in 0..3 * PROBES {
        let probe = ObjectStorage::options().probe(&location).await.unwrap();
        assert_eq!((&probe.create, &probe.update), (&Kept::Always, &Kept::Always));
        if matches!(probe.delete, Kept::Races { .. }) {
            return;
        }
    }
    panic!("no check has found out that removals race");
}

/// Opens a replica behind the proxy, and another one beside it.
async fn open_both(server: &S3Server, proxy: &HostileProxy) -> (ObjectStorage, ObjectStorage) {
    let probe = ObjectStorage::options().probe(&direct(server)).await.unwrap();
    let open = |location| ObjectStorage::options().probed(probe.clone()).open(location);
    let through = open(location(server, proxy)).await.unwrap();
    (through, open(direct(server)).await.unwrap())
}

/// Returns the target of the tag as its link has it, which a numbered log would hide.
async fn linked(server: &S3Server) -> Option<Digest> {
    let options = ObjectStorage::options().read_only();
    target(&options.open(direct(server)).await.unwrap())
        .await
        .unwrap()
}

/// The store forgets nothing of the first request. The link has the same version again when it lands.
async fn late(server: &S3Server, proxy: &HostileProxy) {
    let (through, beside) = open_both(server, proxy).await;
    put(&through, 1, TagExpect::Any).await.unwrap();
    let (gate, link) = (
        Gate::new(),
        on(Kind::ConditionalPut).or(Kind::Put).key("/current/link"),
    );
    let fault = Fault::AnswerBeforeEffect(StatusCode::SERVICE_UNAVAILABLE, gate.clone());
    let rule = proxy.fault(link, fault);
    // One node has a wrong clock. Were it believed, the move would wait for an hour.
    proxy.fault(
        on(Kind::Get).always(),
        Fault::WrongDate(Duration::from_secs(3600)),
    );

    put(&through, 2, TagExpect::Any).await.unwrap();

    assert_eq!(rule.happened(), 1);
    assert_eq!(linked(server).await, Some(*image(2).digest()));
    put(&beside, 1, TagExpect::Any).await.unwrap();
    gate.open();
    assert!(gate.left(1).await);
    assert_eq!(linked(server).await, Some(*image(1).digest()));
    assert_eq!(target(&beside).await.unwrap(), Some(*image(1).digest()));
}

/// The link has the same version again when the second removal lands.
async fn doubled(server: &S3Server, proxy: &HostileProxy) {
    let (through, beside) = open_both(server, proxy).await;
    put(&through, 1, TagExpect::Any).await.unwrap();
    let link = on(Kind::ConditionalDelete).or(Kind::Delete).key("/current/link");
    let gate = Gate::new();
    proxy.fault(link.clone(), Fault::Double(gate.clone()));
    let rule = proxy.fault(link, Fault::AnswerAfterEffect(StatusCode::SERVICE_UNAVAILABLE));

    let (name, tag) = (name(), tag());
    let removed = through.delete_tag(&name, &tag, TagExpect::Any, Deletion::new());

    assert!(removed.await.unwrap().is_some());
    assert_eq!(rule.happened(), 1);
    assert_eq!(linked(server).await, None);
    put(&beside, 1, TagExpect::Any).await.unwrap();
    gate.open();
    assert!(gate.left(1).await);
    assert_eq!(linked(server).await, Some(*image(1).digest()));
    assert_eq!(target(&beside).await.unwrap(), Some(*image(1).digest()));
}

async fn foreign(server: &S3Server, proxy: &HostileProxy) {
    let storage = ObjectStorage::options()
        .manifest_memory(0)
        .open(location(server, proxy))
        .await
        .unwrap();
    put(&storage, 1, TagExpect::Any).await.unwrap();
    let absent = Tag::parse("absent").unwrap();
    let found = storage.manifest(&name(), &Reference::Tag(absent)).await;
    assert!(found.unwrap().is_none(), "the store's own 404");
    let digest = *image(1).digest();

    let outage = proxy.fault(on_any().always(), Fault::Answer(StatusCode::NOT_FOUND));

    for reference in [Reference::Tag(tag()), Reference::Digest(digest)] {
        let failed = storage.manifest(&name(), &reference).await.unwrap_err();
        assert!(matches!(failed, StorageError::Unavailable { .. }), "{failed}");
    }
    outage.remove();
    assert_eq!(target(&storage).await.unwrap(), Some(digest));
}
