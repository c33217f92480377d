//! `oci-client` against a test registry. The README has its first test, and what it makes of faults.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the harness reports where"
)]

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use registry_test::{GET, PUT, Side::Response, TestRegistry, cut, image, on, status};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Returns a client for plain HTTP.
fn client() -> Client {
    // Asked for even where nothing is encrypted; that another test has installed it is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    })
}

/// Pushes an image with one layer.
async fn push(registry: &TestRegistry, login: &RegistryAuth) -> Result<(), OciDistributionError> {
    let image: Reference = registry.reference("team/app:v1").parse().unwrap();
    let layer = ImageLayer::oci_v1(&b"hello"[..], None);
    let config = Config::oci_v1(&b"{}"[..], None);
    client()
        .push(&image, &[layer], config, login, None)
        .await
        .map(drop)
}

/// Pulls that image, and returns its layer.
async fn pull(registry: &TestRegistry, login: &RegistryAuth) -> Result<Vec<u8>, OciDistributionError> {
    let image: Reference = registry.reference("team/app:v1").parse().unwrap();
    let pulled = client().pull(&image, login, vec![LAYER]).await?;
    Ok(pulled.layers[0].data.to_vec())
}

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let registry = TestRegistry::start();

    push(&registry, &RegistryAuth::Anonymous).await.unwrap();

    assert_eq!(pull(&registry, &RegistryAuth::Anonymous).await.unwrap(), b"hello");
    registry.assert_pushed("team/app:v1");
    registry.assert_no_open_uploads();
    assert_eq!(
        registry.requests().method("PUT").manifest().status(201).count(),
        1
    );
}

#[tokio::test]
async fn it_logs_in_with_basic_credentials_and_gets_tokens() {
    let login = RegistryAuth::Basic("ann".to_owned(), "secret".to_owned());
    let wrong = RegistryAuth::Basic("ann".to_owned(), "other".to_owned());
    for (registry, tokens) in [
        (TestRegistry::builder().basic("ann", "secret").start(), 0),
        (TestRegistry::builder().bearer("ann", "secret").start(), 2),
    ] {
        assert!(push(&registry, &RegistryAuth::Anonymous).await.is_err());
        assert!(push(&registry, &wrong).await.is_err());
        registry.take_requests();

        push(&registry, &login).await.unwrap();

        assert_eq!(pull(&registry, &login).await.unwrap(), b"hello");
        registry.assert_pushed("team/app:v1");
        assert_eq!(
            registry.requests().token().count(),
            tokens,
            "{:?}",
            registry.requests()
        );
    }
}

#[tokio::test]
async fn it_reports_a_429_as_an_error() {
    let registry = TestRegistry::start();
    let busy = registry.fault(on(PUT).manifest(), status(429).retry_after(1));

    let refused = push(&registry, &RegistryAuth::Anonymous).await.unwrap_err();

    assert!(
        refused.to_string().contains("429") || refused.to_string().contains("TOOMANYREQUESTS"),
        "{refused}"
    );
    assert_eq!(busy.fired(), 1);
    assert!(registry.check_pushed("team/app:v1").is_err());
    push(&registry, &RegistryAuth::Anonymous).await.unwrap();
    registry.assert_pushed("team/app:v1");
}

#[tokio::test]
async fn it_reports_a_cut_body_as_an_error() {
    let registry = TestRegistry::builder()
        .seed("team/app:v1", image().files([("etc/motd", "hello")]))
        .start();
    registry.fault(on(GET).blob(), cut(Response).after(10));

    assert!(pull(&registry, &RegistryAuth::Anonymous).await.is_err());

    let layer = pull(&registry, &RegistryAuth::Anonymous).await.unwrap();
    let digest = registry_core::Digest::of(registry_core::Algorithm::Sha256, &layer);
    assert_eq!(registry.blob("team/app", &digest), Some(layer));
}
