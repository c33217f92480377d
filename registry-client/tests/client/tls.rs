//! TLS: trusted authorities, and certificates that the client presents.

use crate::support::builder;
use registry_client::{Client, Error, Host, HostOptions, Retry};
use registry_core::Digest;
use registry_test::{TestRegistry, image};
use std::{fs, sync::Arc};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

async fn pull(client: &Client, registry: &TestRegistry) -> Result<Digest, Error> {
    let repository = client
        .repository(&format!("{}/team/app", registry.host()))
        .unwrap();
    Ok(repository.manifest("v1").await?.digest)
}

#[tokio::test]
async fn only_a_trusted_registry_is_connected_to() {
    let registry = TestRegistry::builder().tls(provider()).start();
    let digest = registry.seed("team/app:v1", image().files([("a", "1")]));
    let host = Host::parse(registry.host()).unwrap();

    let options = HostOptions::new()
        .trust_pem(registry.ca_pem().unwrap().as_bytes())
        .unwrap();
    let client = builder().host(host.clone(), options).build().unwrap();
    assert_eq!(pull(&client, &registry).await.unwrap(), digest);
    // No provider is installed for the process.
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());

    let stranger = builder()
        .host(host, HostOptions::new().plain_http(false))
        .retry(Retry::new(1));
    let error = pull(&stranger.build().unwrap(), &registry).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_directory_of_certificates_names_authorities_and_identities_per_host() {
    let registry = TestRegistry::builder()
        .tls(provider())
        .client_certificate()
        .start();
    let digest = registry.seed("team/app:v1", image().files([("a", "1")]));
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(registry.host());
    fs::create_dir(&own).unwrap();
    fs::write(own.join("ca.crt"), registry.ca_pem().unwrap()).unwrap();
    let client = || {
        builder()
            .retry(Retry::new(1))
            .certs_dir(folder.path())
            .unwrap()
            .build()
            .unwrap()
    };

    let error = pull(&client(), &registry).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");

    let identity = registry.client_certificate().unwrap();
    fs::write(own.join("client.cert"), &identity.certificate_pem).unwrap();
    fs::write(own.join("client.key"), &identity.key_pem).unwrap();
    assert_eq!(pull(&client(), &registry).await.unwrap(), digest);
    // Other options of the registry keep its certificates.
    let host = Host::parse(registry.host()).unwrap();
    let with_options = builder()
        .certs_dir(folder.path())
        .unwrap()
        .host(host, HostOptions::new().plain_http(false))
        .build()
        .unwrap();
    assert_eq!(pull(&with_options, &registry).await.unwrap(), digest);
}
