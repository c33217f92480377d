//! A published file can be fetched.

mod tool;

use oci_client::secrets::RegistryAuth::Anonymous;
use registry_test::TestRegistry;

#[tokio::test]
async fn what_is_published_is_fetched() {
    let registry = TestRegistry::start();
    let image = registry.reference("app:v1");
    tool::publish(&image, b"hello", &Anonymous).await.unwrap();
    assert_eq!(tool::fetch(&image, &Anonymous).await.unwrap(), b"hello");
    registry.assert_pushed("app:v1");
    registry.assert_no_open_uploads();
}
