//! Pushes of manifests, signatures and tags over HTTP.

use super::policy::{PAYLOAD, PublicKey, SIGNATURE, SignedReleases};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioExecutor;
use registry_client::{Client, RemoteRepository};
use registry_conformance::faulty::{Fault, Faulty, On};
use registry_core::{Algorithm, Descriptor, Digest, MediaType, Registry, Tag, storage::MemoryStorage};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Key of a person who signs releases.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random);
        Self(key.unwrap())
    }

    fn public(&self) -> PublicKey {
        let start = BASE64.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
        let der = [&start, self.0.public_key().as_ref()].concat();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64.encode(der)
        );
        PublicKey::from_pem(&pem).unwrap()
    }

    /// Returns the payload for a manifest, and its signature.
    fn sign(&self, digest: &Digest) -> (Bytes, String) {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": ""},
                "image": {"docker-manifest-digest": digest.to_string()},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = Bytes::from(payload.to_string());
        let signature = self.0.sign(&SystemRandom::new(), &payload).unwrap();
        (payload, BASE64.encode(signature))
    }
}

/// Starts a registry that trusts a signer, and returns its storage and one of its repositories.
async fn start(signer: &Signer) -> (Faulty<MemoryStorage>, RemoteRepository) {
    let (storage, address) = serve(signer).await;
    let client = Client::builder().without_credentials().build().unwrap();
    (
        storage,
        client.repository(&format!("{address}/team/app")).unwrap(),
    )
}

async fn serve(signer: &Signer) -> (Faulty<MemoryStorage>, SocketAddr) {
    let storage = Faulty::new(MemoryStorage::new());
    let registry = Registry::builder(storage.clone())
        .hooks(SignedReleases::new(storage.clone(), signer.public()))
        .allow_anonymous_push()
        .build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(registry_listener::serve(
        listener,
        registry_axum::router(registry),
    ));
    (storage, address)
}

async fn push_blob(repository: &RemoteRepository, bytes: impl Into<Bytes>) -> Descriptor {
    let bytes = bytes.into();
    let media_type = MediaType::parse("application/octet-stream").unwrap();
    let blob = Descriptor::new(
        media_type,
        Digest::of(Algorithm::Sha256, &bytes),
        bytes.len() as u64,
    );
    repository.push_blob(bytes, &blob).await.unwrap();
    blob
}

async fn put(repository: &RemoteRepository, manifest: &Value, tags: &[&str]) -> Result<Digest, String> {
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let tags: Vec<Tag> = tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
    let put = repository
        .put_manifest(manifest.to_string(), &media_type, &tags, None)
        .await;
    put.map(|manifest| manifest.digest)
        .map_err(|error| error.to_string())
}

/// Pushes the blob of an image, and returns its manifest.
async fn image(repository: &RemoteRepository) -> Value {
    let config = push_blob(repository, "{}").await;
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.digest.to_string(),
            "size": config.size,
        },
        "layers": [],
    })
}

/// Returns the artifact that cosign pushes for a payload and its signature.
async fn signature(repository: &RemoteRepository, payload: Bytes, signature: &str) -> Value {
    let mut artifact = image(repository).await;
    let payload = push_blob(repository, payload).await;
    artifact["layers"] = json!([{
        "mediaType": PAYLOAD,
        "digest": payload.digest.to_string(),
        "size": payload.size,
        "annotations": {SIGNATURE: signature},
    }]);
    artifact
}

/// Adds the subject, which makes an artifact a referrer of the manifest.
fn referring(mut artifact: Value, manifest: &Value, digest: &Digest) -> Value {
    let size = manifest.to_string().len();
    artifact["subject"] =
        json!({"mediaType": MediaType::OCI_MANIFEST, "digest": digest.to_string(), "size": size});
    artifact
}

const REFUSED: &str = "only signed manifests may be tagged release-1.0";

#[tokio::test]
async fn a_manifest_is_pushed_by_digest_signed_and_then_tagged() {
    let signer = Signer::new();
    let (_, repository) = start(&signer).await;
    let manifest = image(&repository).await;
    let digest = put(&repository, &manifest, &[]).await.unwrap();

    let refused = put(&repository, &manifest, &["release-1.0"]).await.unwrap_err();
    assert!(
        refused.contains(REFUSED) && refused.contains("cosign sign"),
        "{refused}"
    );

    let (payload, signed) = signer.sign(&digest);
    let artifact = referring(signature(&repository, payload, &signed).await, &manifest, &digest);
    put(&repository, &artifact, &[]).await.unwrap();

    assert_eq!(put(&repository, &manifest, &["release-1.0"]).await, Ok(digest));
    assert_eq!(repository.resolve("release-1.0").await.unwrap().digest, digest);
}

#[tokio::test]
async fn a_signature_under_the_tag_of_cosign_counts_too() {
    let signer = Signer::new();
    let (_, repository) = start(&signer).await;
    let manifest = image(&repository).await;
    let digest = put(&repository, &manifest, &["candidate"]).await.unwrap();
    let (payload, signed) = signer.sign(&digest);
    let artifact = signature(&repository, payload, &signed).await;

    let tag = format!("sha256-{}.sig", digest.hex());
    put(&repository, &artifact, &[&tag]).await.unwrap();

    assert_eq!(put(&repository, &manifest, &["release-1.0"]).await, Ok(digest));
}

#[tokio::test]
async fn a_signature_by_another_key_of_another_manifest_or_of_other_bytes_does_not_count() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let (_, repository) = start(&signer).await;
    let manifest = image(&repository).await;
    let digest = put(&repository, &manifest, &[]).await.unwrap();
    let other = Digest::of(Algorithm::Sha256, b"another manifest");
    let (payload, _) = signer.sign(&digest);
    let (_, of_other) = signer.sign(&other);

    for (payload, signed) in [stranger.sign(&digest), signer.sign(&other), (payload, of_other)] {
        let artifact = referring(signature(&repository, payload, &signed).await, &manifest, &digest);
        put(&repository, &artifact, &[]).await.unwrap();
    }

    let refused = put(&repository, &manifest, &["release-1.0"]).await.unwrap_err();
    assert!(refused.contains(REFUSED), "{refused}");
}

#[tokio::test]
async fn of_several_tags_one_of_a_release_needs_a_signature_and_others_do_not() {
    let (_, repository) = start(&Signer::new()).await;
    let manifest = image(&repository).await;

    let refused = put(&repository, &manifest, &["latest", "release-1.0"])
        .await
        .unwrap_err();

    assert!(refused.contains(REFUSED), "{refused}");
    assert!(
        put(&repository, &manifest, &["latest", "pre-release-1"])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_outage_of_the_lookup_is_neither_a_refusal_nor_a_permission() {
    let (storage, address) = serve(&Signer::new()).await;
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []});
    storage.inject(On::call("referrers"), Fault::outage());

    let url = format!("http://{address}/v2/team/app/manifests/release-1.0");
    let request = http::Request::put(url)
        .body(Full::<Bytes>::from(index.to_string()))
        .unwrap();
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();

    assert_eq!(answer.status(), 503);
    storage.assert_fired();
}
