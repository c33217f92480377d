//! A busy registry is asked again.

mod tool;

use oci_client::secrets::RegistryAuth;
use registry_test::{PUT, TestRegistry, on, status};

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let registry = TestRegistry::builder().bearer("ann", "secret").start();
    registry.fault(on(PUT).manifest(), status(429).retry_after(1));
    let login = RegistryAuth::Basic("ann".into(), "secret".into());
    let image = registry.reference("app:v1");
    tool::publish(&image, b"hello", &login).await.unwrap();
    assert_eq!(tool::fetch(&image, &login).await.unwrap(), b"hello");
    registry.assert_pushed("app:v1");
    assert_eq!(registry.requests().method("PUT").manifest().count(), 2);
}
