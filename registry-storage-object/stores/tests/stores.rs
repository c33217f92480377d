//! The real servers, by the client that the storage uses.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use futures_util::TryStreamExt as _;
use libtest_mimic::{Arguments, Failed, Trial};
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, RetryConfig, aws::AmazonS3,
    multipart::MultipartStore as _, path::Path,
};
use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_conformance::tools;
use std::{io, process::ExitCode, time::Duration};

/// Starts a server.
type Start = fn() -> io::Result<S3Server>;

/// A test of one server.
type Test = fn(&mut S3Server);

const TESTS: [(&str, Test); 4] = [
    (
        "objects_are_stored_under_conditions_and_listed",
        objects_are_stored_under_conditions_and_listed,
    ),
    ("signatures_are_checked", signatures_are_checked),
    (
        "a_killed_server_has_its_objects_when_it_starts_again",
        a_killed_server_has_its_objects_when_it_starts_again,
    ),
    (
        "a_paused_server_answers_when_it_continues",
        a_paused_server_answers_when_it_continues,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let servers: [(&str, Start); 2] = [
        (SeaweedFs::PROGRAM, SeaweedFs::start),
        (Versitygw::PROGRAM, Versitygw::start),
    ];
    let trials = servers
        .into_iter()
        .flat_map(|(program, start)| TESTS.map(|(name, test)| trial(program, start, name, test)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trial(program: &'static str, start: Start, name: &str, test: Test) -> Trial {
    tools::trial(format!("{program}::{name}"), &[program], move || {
        test(&mut start().map_err(Failed::from)?);
        Ok(())
    })
}

fn objects_are_stored_under_conditions_and_listed(server: &mut S3Server) {
    let store = server.bucket("objects").unwrap().build().unwrap();
    wait_for(async {
        let path = Path::from("a/b/object");
        let first = store
            .put_opts(&path, "first".into(), PutMode::Create.into())
            .await
            .unwrap();
        let again = store
            .put_opts(&path, "second".into(), PutMode::Create.into())
            .await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        store
            .put_opts(
                &path,
                "second".into(),
                PutMode::Update(first.clone().into()).into(),
            )
            .await
            .unwrap();
        let stale = store
            .put_opts(&path, "third".into(), PutMode::Update(first.into()).into())
            .await;
        assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
        assert_eq!(read(&store, &path).await, b"second");

        let large = Path::from("a/large");
        let part = PutPayload::from(vec![7; 5 << 20]);
        let id = store.create_multipart(&large).await.unwrap();
        let parts = vec![
            store.put_part(&large, &id, 0, part.clone()).await.unwrap(),
            store.put_part(&large, &id, 1, "end".into()).await.unwrap(),
        ];
        store.complete_multipart(&large, &id, parts).await.unwrap();
        assert_eq!(store.head(&large).await.unwrap().size, (5 << 20) + 3);

        let listed: Vec<_> = store.list(Some(&Path::from("a"))).try_collect().await.unwrap();
        let mut listed: Vec<_> = listed.into_iter().map(|object| object.location).collect();
        listed.sort();
        assert_eq!(listed, [path.clone(), large]);

        store.delete(&path).await.unwrap();
        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    });
}

fn signatures_are_checked(server: &mut S3Server) {
    let settings = server.bucket("signed").unwrap();
    let forged = settings.with_secret_access_key("another").build().unwrap();

    let refused = wait_for(forged.put(&Path::from("object"), "x".into())).unwrap_err();

    assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused:?}");
}

fn a_killed_server_has_its_objects_when_it_starts_again(server: &mut S3Server) {
    let store = server.bucket("kept").unwrap().build().unwrap();
    let (path, address, pid) = (Path::from("kept"), server.address(), server.pid());
    wait_for(store.put(&path, "kept".into())).unwrap();

    server.kill().unwrap();
    server.restart().unwrap();

    assert_eq!(server.address(), address);
    assert_ne!(server.pid(), pid);
    assert_eq!(wait_for(read(&store, &path)), b"kept");
}

fn a_paused_server_answers_when_it_continues(server: &mut S3Server) {
    let retry = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let store = server
        .bucket("paused")
        .unwrap()
        .with_retry(retry)
        .build()
        .unwrap();
    let path = Path::from("object");

    server.pause().unwrap();
    let stored = wait_for(async {
        let mut stored = std::pin::pin!(store.put(&path, "x".into()));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut stored).await;
        assert!(early.is_err(), "a paused server answers: {early:?}");
        server.resume().unwrap();
        stored.await
    });

    stored.unwrap();
}

async fn read(store: &AmazonS3, path: &Path) -> Vec<u8> {
    store.get(path).await.unwrap().bytes().await.unwrap().to_vec()
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}
