//! The program under test: it publishes and fetches one file as an image.

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Publishes a file as `HOST/REPOSITORY:TAG`. It asks a second time if the registry refuses.
pub(crate) async fn publish(
    image: &str,
    content: &'static [u8],
    login: &RegistryAuth,
) -> Result<(), OciDistributionError> {
    let image: Reference = image.parse().expect("the name of an image");
    let layers = [ImageLayer::oci_v1(content, None)];
    let config = Config::oci_v1("{}", None);
    let pushed = client().push(&image, &layers, config.clone(), login, None).await;
    match pushed {
        Ok(_) => Ok(()),
        Err(_) => client()
            .push(&image, &layers, config, login, None)
            .await
            .map(|_| ()),
    }
}

/// Fetches the file.
pub(crate) async fn fetch(image: &str, login: &RegistryAuth) -> Result<Vec<u8>, OciDistributionError> {
    let image: Reference = image.parse().expect("the name of an image");
    let pulled = client().pull(&image, login, vec![LAYER]).await?;
    Ok(pulled.layers.into_iter().flat_map(|layer| layer.data).collect())
}

fn client() -> Client {
    // The workspace builds `oci-client` without a default. Only the first call has an effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    })
}
