//! Images are overwritten, and absent ones are errors.

mod tool;

use oci_client::secrets::RegistryAuth::Anonymous;
use registry_test::TestRegistry;

#[tokio::test]
async fn the_last_one_counts() {
    let registry = TestRegistry::start();
    let image = &registry.reference("app:v1");
    tool::publish(image, b"first", &Anonymous).await.unwrap();
    tool::publish(image, b"last", &Anonymous).await.unwrap();
    assert_eq!(tool::fetch(image, &Anonymous).await.unwrap(), b"last");
}

#[tokio::test]
async fn an_absent_image_is_an_error() {
    let registry = TestRegistry::start();
    let image = &registry.reference("app:v2");
    assert!(tool::fetch(image, &Anonymous).await.is_err());
}
