//! Servers, proxy and fake, by the client that the storage uses.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use futures_util::TryStreamExt as _;
use http::{Method, Request, StatusCode};
use libtest_mimic::{Arguments, Failed, Trial};
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload,
    client::{HttpConnector as _, HttpRequestBody, ReqwestConnector},
    multipart::MultipartStore,
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_conformance::tools;
use std::{io, process::ExitCode, time::Duration};

mod azurite;
mod gcs;
mod proxy;
mod servers;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [
        azurite::trials(),
        gcs::trials(),
        servers::trials(),
        proxy::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// Starts a server.
type Start = fn() -> io::Result<S3Server>;

/// A test of one server.
type Test = fn(&mut S3Server);

const SEAWEEDFS: (&str, Start) = (SeaweedFs::PROGRAM, SeaweedFs::start);
const VERSITYGW: (&str, Start) = (Versitygw::PROGRAM, Versitygw::start);

/// Returns each test with each server.
fn on_each_server(module: &str, tests: &[(&str, Test)]) -> Vec<Trial> {
    [SEAWEEDFS, VERSITYGW]
        .into_iter()
        .flat_map(|server| on_server(server, module, tests))
        .collect()
}

/// Returns each test with this server.
fn on_server((program, start): (&'static str, Start), module: &str, tests: &[(&str, Test)]) -> Vec<Trial> {
    let trial =
        |&(test, run): &(&str, Test)| trial(&format!("{module}::{program}::{test}"), program, start, run);
    tests.iter().map(trial).collect()
}

fn trial(name: &str, program: &'static str, start: Start, test: Test) -> Trial {
    tools::trial(name, &[program], move || {
        test(&mut start().map_err(Failed::from)?);
        Ok(())
    })
}

/// Does once what the storage does: writes under conditions, multipart uploads, listings, deletions.
async fn round_trip(store: &(impl ObjectStore + MultipartStore)) {
    let path = Path::from("a/b/object");
    let first = store
        .put_opts(&path, "first".into(), PutMode::Create.into())
        .await
        .unwrap();
    let again = store
        .put_opts(&path, "second".into(), PutMode::Create.into())
        .await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let update = PutMode::Update(first.into());
    store
        .put_opts(&path, "second".into(), update.clone().into())
        .await
        .unwrap();
    let stale = store.put_opts(&path, "third".into(), update.into()).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    assert_eq!(read(store, &path).await, b"second");
    let part = store.get_range(&path, 1..4).await.unwrap();
    assert_eq!(part.as_ref(), b"eco");

    let large = Path::from("a/large");
    let id = store.create_multipart(&large).await.unwrap();
    let part = PutPayload::from(vec![7; 5 << 20]);
    let parts = vec![
        store.put_part(&large, &id, 0, part).await.unwrap(),
        store.put_part(&large, &id, 1, "end".into()).await.unwrap(),
    ];
    store.complete_multipart(&large, &id, parts).await.unwrap();
    assert_eq!(store.head(&large).await.unwrap().size, (5 << 20) + 3);
    store.copy(&path, &Path::from("copy")).await.unwrap();

    assert_eq!(list(store, "a").await, ["a/b/object", "a/large"]);
    let top = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(top.common_prefixes, [Path::from("a")]);

    store.delete(&path).await.unwrap();
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
}

/// Returns the sorted keys below a prefix.
async fn list(store: &impl ObjectStore, prefix: &str) -> Vec<String> {
    let objects: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    let mut keys: Vec<_> = objects
        .into_iter()
        .map(|object| object.location.to_string())
        .collect();
    keys.sort();
    keys
}

async fn read(store: &impl ObjectStore, path: &Path) -> Vec<u8> {
    store.get(path).await.unwrap().bytes().await.unwrap().to_vec()
}

/// Sends an empty body by a signed URL, and returns the status.
async fn send(
    store: &impl Signer,
    method: Method,
    path: &Path,
    options: SignedUrlOptions,
    headers: &[(&str, &str)],
) -> StatusCode {
    let valid = Duration::from_secs(60);
    let url = store
        .signed_url_opts(method.clone(), path, valid, &options)
        .await
        .unwrap();
    send_to(url.as_str(), method, headers).await
}

async fn send_to(url: &str, method: Method, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let settings = ClientOptions::new().with_allow_http(true);
    let client = ReqwestConnector::default().connect(&settings).unwrap();
    let request = request.body(HttpRequestBody::empty()).unwrap();
    client.execute(request).await.unwrap().status()
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}
