//! The same two faults with `oci-client` and with this crate: a 429, and a body that breaks off.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the harness reports where"
)]

use oci_client::{
    Reference,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use registry_client::{Client, Error, Retry};
use registry_core::{Descriptor, MediaType};
use registry_test::{
    TestRegistry,
    fault::{GET, Side::Response, cut, on, status},
    image,
};
use std::time::Duration;

/// Pulls the layer of the image with `oci-client`.
async fn with_oci_client(registry: &TestRegistry) -> Result<Vec<u8>, OciDistributionError> {
    // It is asked for even where nothing is encrypted. Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = oci_client::Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    });
    let image: Reference = registry.reference("team/app:v1").parse().unwrap();
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let pulled = client.pull(&image, &RegistryAuth::Anonymous, vec![layer]).await?;
    Ok(pulled.layers[0].data.to_vec())
}

/// Pulls the layer of the image with this crate.
async fn with_registry_client(registry: &TestRegistry) -> Result<Vec<u8>, Error> {
    let short = Duration::from_millis(1);
    let client = Client::builder()
        .retry(Retry::new(3).pauses(short, short))
        .build()
        .unwrap();
    let repository = client.repository(&registry.reference("team/app")).unwrap();
    let manifest = repository.manifest("v1").await?;
    let manifest = registry_core::manifest::Manifest::parse(&manifest.bytes, None).unwrap();
    let layer = &manifest.blobs()[1];
    let media_type = MediaType::parse("application/vnd.oci.image.layer.v1.tar").unwrap();
    let layer = Descriptor::new(media_type, *layer.digest.known().unwrap(), layer.size);
    let mut stream = repository.open_blob(&layer, 0);
    let mut pulled = Vec::new();
    while let Some(bytes) = stream.next().await? {
        pulled.extend_from_slice(&bytes);
    }
    Ok(pulled)
}

#[tokio::test]
async fn one_reports_faults_and_the_other_survives_them_byte_for_byte() {
    let registry = TestRegistry::start();
    registry.seed("team/app:v1", image().files([("a", "x".repeat(100_000))]));
    let layer = with_oci_client(&registry).await.unwrap();
    assert!(layer.len() > 100_000);

    let busy = || registry.fault(on(GET).manifest(), status(429).retry_after(0));
    let broken = || registry.fault(on(GET).blob().each_first(), cut(Response).after(1000).reset());

    let fault = busy();
    assert!(with_oci_client(&registry).await.is_err());
    assert_eq!(fault.fired(), 1);
    let fault = broken();
    assert!(with_oci_client(&registry).await.is_err());
    assert!(fault.fired() >= 1);
    registry.clear_faults();

    let (busy, broken) = (busy(), broken());
    assert!(with_registry_client(&registry).await.unwrap() == layer);
    assert_eq!((busy.fired(), broken.fired()), (1, 1));
}
