//! TLS: trusted authorities, and certificates that the client presents.

use crate::support::builder;
use registry_client::{Client, ClientBuilder, Error, Host, HostOptions, Retry};
use registry_core::Digest;
use registry_test::{TestRegistry, image};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

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

    let trusting = builder().host(host.clone(), HostOptions::new().accept_any_certificate());
    assert_eq!(pull(&trusting.build().unwrap(), &registry).await.unwrap(), digest);

    let stranger = builder().host(host, HostOptions::new().plain_http(false));
    let error = fails_at_once(stranger, &registry).await;
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Returns the error of a pull that is not tried again.
async fn fails_at_once(client: ClientBuilder, registry: &TestRegistry) -> Error {
    let pauses = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pauses);
    let client = client.jitter(move || count.fetch_add(1, Ordering::SeqCst) as u64);
    let error = pull(&client.build().unwrap(), registry).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert_eq!(pauses.load(Ordering::SeqCst), 0, "{error}");
    error
}

#[tokio::test]
async fn settings_that_allow_no_connection_are_an_error_at_once() {
    let registry = TestRegistry::builder().tls(provider()).start();
    let host = Host::parse(registry.host()).unwrap();
    let trusting = |pem: &[u8]| HostOptions::new().trust_pem(pem).unwrap();
    // A certificate that is none, and a provider that can nothing.
    let malformed = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fails_at_once(builder().host(host.clone(), trusting(malformed)), &registry).await;
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.clear();
    let options = trusting(registry.ca_pem().unwrap().as_bytes());
    let client = builder().host(host, options).crypto(Arc::new(provider));
    fails_at_once(client, &registry).await;
}

#[tokio::test]
async fn a_registry_without_tls_is_an_error_at_once() {
    let registry = TestRegistry::start();
    let host = Host::parse(registry.host()).unwrap();
    let client = builder().host(host, HostOptions::new().plain_http(false));

    let error = fails_at_once(client, &registry).await;

    assert!(error.to_string().contains("plain HTTP"), "{error}");
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

    // The refusal may come after the connection has ended.
    let error = pull(&client(), &registry).await.unwrap_err();
    assert!(
        matches!(error, Error::Tls { .. } | Error::Transport { .. }),
        "{error:?}"
    );

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
