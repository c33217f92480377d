// A client for the hidden lines of the guides, which include this file. Errors are panics, which fail the example.

/// Returns the address of a new listener, and the listener.
async fn listener() -> (String, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap().to_string(), listener)
}

/// Pushes an image with the tag `v1` to `HOST/REPOSITORY`, pulls its layer, and compares the bytes.
async fn push_and_pull(repository: &str, content: &'static [u8]) {
    push_and_pull_by(&registry_client::Client::new(), repository, content).await;
}

/// Does the same with a client that may have a login.
async fn push_and_pull_by(client: &registry_client::Client, repository: &str, content: &'static [u8]) {
    use registry_core::{Algorithm, MediaType, Tag};
    let repository = client.repository(repository).unwrap();
    let body = http_body_util::Full::new(bytes::Bytes::from_static(content));
    let layer = repository.push_stream(body, Algorithm::Sha256).await.unwrap();
    let descriptor = serde_json::json!({
        "mediaType": "application/octet-stream", "digest": layer.digest.to_string(), "size": layer.size,
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": &descriptor, "layers": [&descriptor],
    });
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let tag = Tag::parse("v1").unwrap();
    repository.put_manifest(manifest.to_string(), &media_type, &[tag], None).await.unwrap();
    let pulled = repository.blob(&layer.digest, content.len()).await.unwrap();
    assert_eq!(pulled, content);
}
