//! Responses of a registry, read by the client.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use registry_client::{Client, Error, Proxies, RemoteRepository, Retry};
use registry_core::{Algorithm, Descriptor, Digest, MediaType};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
};

/// Number of connections that are answered, since each answer may lead to the next request.
const CONNECTIONS: usize = 64;
/// Maximum number of bytes and items that the client accepts.
const LIMIT: usize = 1000;

/// Checks that a registry which sends these bytes to every request gets no content past the client that has another digest,
/// and no control characters into its messages.
pub fn answer(data: &[u8]) {
    if leads_elsewhere(data) {
        return;
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        tokio::select! {
            () = serve(listener, data) => {}
            () = ask(&address) => {}
        }
    });
}

/// Returns true if a redirect may lead to another server of this machine. Other hosts are behind the proxy.
fn leads_elsewhere(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data).to_ascii_lowercase();
    ["127.", "localhost", "::"].iter().any(|part| text.contains(part))
}

async fn serve(listener: TcpListener, data: &[u8]) {
    for _ in 0..CONNECTIONS {
        let Ok((mut connection, _)) = listener.accept().await else {
            return;
        };
        // The client may close the connection at any time.
        if read_head(&mut connection).await.is_some() {
            let _ = connection.write_all(data).await;
            let _ = connection.shutdown().await;
        }
    }
}

async fn read_head(connection: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    Some(())
}

async fn ask(address: &str) {
    let proxies = Proxies::all(&format!("http://{address}"), "").expect("it is the URL of a proxy");
    let client = Client::builder()
        .proxies(proxies)
        .retry(Retry::new(1))
        .idle_timeout(Duration::from_secs(10))
        .build();
    let repository = client
        .expect("the settings are valid")
        .repository(&format!("{address}/a"));
    let repository = repository.expect("it is the name of a repository");

    pull(&repository).await;
    if let Some(tags) = checked(repository.tags().all(LIMIT).await) {
        assert!(tags.len() <= LIMIT);
    }
    let digest = Digest::of(Algorithm::Sha256, b"{}");
    let of_type = checked(repository.referrers(&digest, Some("a/b")).await).unwrap_or_default();
    assert!(
        of_type
            .iter()
            .all(|found| found.artifact_type.as_deref() == Some("a/b"))
    );
    checked(repository.mount(&digest, repository.name()).await);
    let blob = Bytes::from_static(b"{}");
    checked(repository.push_blob(blob, &descriptor(digest, 2)).await);
    checked(repository.delete_manifest(&digest).await);
}

/// Pulls by tag and by digest. What arrives is what was requested.
async fn pull(repository: &RemoteRepository) {
    let digest = Digest::of(Algorithm::Sha256, b"{}");
    checked(repository.resolve("v1").await);
    if let Some(manifest) = checked(repository.manifest("v1").await) {
        assert_eq!(
            manifest.digest,
            Digest::of(manifest.digest.algorithm(), &manifest.bytes)
        );
    }
    for bytes in [
        checked(repository.manifest(&digest).await).map(|manifest| manifest.bytes),
        checked(repository.blob(&digest, LIMIT).await),
    ] {
        assert!(bytes.is_none_or(|bytes| bytes == "{}"));
    }
    for (from, expected) in [(0, Some(&b"{}"[..])), (1, None)] {
        let stream = repository.open_blob(&descriptor(digest, 2), from);
        let Some(bytes) = checked(stream.into_body().collect().await) else {
            continue;
        };
        let bytes = bytes.to_bytes();
        // A stream from an offset on is not verified, but has as many bytes as the blob.
        assert_eq!(bytes.len() as u64, 2 - from);
        assert!(expected.is_none_or(|expected| bytes == expected));
    }
}

fn descriptor(digest: Digest, size: u64) -> Descriptor {
    let media_type = MediaType::parse("application/octet-stream").expect("it is a media type");
    Descriptor::new(media_type, digest, size)
}

/// Checks the message of an error.
fn checked<T>(result: Result<T, Error>) -> Option<T> {
    let error = match result {
        Ok(value) => return Some(value),
        Err(error) => error.to_string(),
    };
    assert!(error.len() < 4 << 10, "a message of {} bytes", error.len());
    assert!(!error.chars().any(char::is_control), "{error:?}");
    None
}
