//! A service with a registry inside: its own routes beside the registry's, a hook that receives every push, and the
//! pushed image read in process. Then a client pushes an image over HTTP, to show that it works.
//!
//! `cargo run -p registry-examples --example embed`

use axum::{Router, body::Body, extract::State, routing::get};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use registry_core::{
    Algorithm, Digest, MediaType, Registry, RepositoryName, Tag,
    hooks::{Event, EventKind, Hooks},
    protocol::{Answer, Request},
    storage::MemoryStorage,
};
use serde_json::json;
use std::{error::Error, sync::Arc};
use tokio::net::TcpListener;

/// Hook that prints the tags moved by each push.
#[derive(Debug)]
struct Deployments;

impl Hooks for Deployments {
    fn event(&self, event: &Arc<Event>) {
        if let EventKind::ManifestPushed { digest, tags, .. } = &event.kind {
            let tags: Vec<&str> = tags.iter().map(|moved| moved.tag.as_str()).collect();
            let repository = &event.context.repository;
            println!("hook: {repository}:{} is now {digest}", tags.join(","));
        }
    }
}

/// A route of the host, which reads the registry in process.
async fn images(State(registry): State<Registry>) -> String {
    let page = registry_core::protocol::PageQuery::default();
    match registry.repositories(&page).await {
        Ok(listing) => listing.items.iter().map(|name| format!("{name}\n")).collect(),
        Err(error) => format!("the registry failed: {error}\n"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The three lines: a registry, on a storage; merged into the host's router.
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(Deployments)
        .allow_anonymous_push()
        .build();
    let host = Router::new()
        .route("/images", get(images))
        .with_state(registry.clone());
    let app = host.merge(registry_axum::router(registry.clone()));
    tokio::spawn(registry_axum::upkeep(registry));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("the host listens on http://{address}");
    tokio::spawn(registry_listener::serve(listener, app));

    push(&format!("http://{address}")).await?;

    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let images = client
        .get(format!("http://{address}/images").parse()?)
        .await?
        .into_body()
        .collect()
        .await?;
    print!("GET /images: {}", String::from_utf8_lossy(&images.to_bytes()));
    Ok(())
}

/// Pushes a small image as any client does, with requests built by the core's protocol.
async fn push(base: &str) -> Result<(), Box<dyn Error>> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let repository = RepositoryName::parse("team/app")?;
    let config = Bytes::from(
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
            .to_string(),
    );
    let digest = Digest::of(Algorithm::Sha256, &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest.to_string(),
            "size": config.len(),
        },
        "layers": [],
    });
    let requests = [
        (
            Request::PushBlob {
                repository: repository.clone(),
                digest,
            },
            config,
        ),
        (
            Request::PutManifest {
                repository,
                reference: Tag::parse("latest")?.into(),
                tags: Vec::new(),
                media_type: Some(MediaType::parse(MediaType::OCI_MANIFEST)?),
                precondition: None,
            },
            manifest.to_string().into(),
        ),
    ];
    for (request, body) in requests {
        let mut sent = http::Request::builder()
            .method(request.method())
            .uri(format!("{base}{}", request.target()));
        for (name, value) in &request.headers() {
            sent = sent.header(name, value);
        }
        let answer = client.request(sent.body(Body::from(body))?).await?;
        let location = Answer::new(answer.status(), answer.headers())
            .location()
            .unwrap_or_default()
            .to_owned();
        println!(
            "{} {}: {} {location}",
            request.method(),
            request.target(),
            answer.status()
        );
    }
    Ok(())
}
