//! oci-client, the crate that Rust programs pull and push with: blobs in chunks, or in one request.

use libtest_mimic::Trial;
use oci_client::{
    Client, Reference,
    client::{BlobResponse, ClientConfig, ClientProtocol, Config, ImageLayer, PushResponse},
    errors::OciDistributionError,
    manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, OciImageManifest},
    secrets::RegistryAuth,
};
use registry_core::protocol::Request;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::Scene;
use crate::image::{Layout, digest_of, references};

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        pushes_and_pulls_by_tag_and_by_digest,
        pushes_in_one_request,
        mounts_into_a_second_repository,
        pulls_a_part_of_a_blob,
        lists_tags,
    )
}

fn pushes_and_pulls_by_tag_and_by_digest() {
    pushes_and_pulls(&Scene::new());
}

pub(super) fn pushes_and_pulls(scene: &Scene) {
    let digest = scene.layout.digest("one");

    let pulled = run(async {
        let client = client(false);
        scene.oci_push(&client, "team/app:one").await;
        let by_digest = format!("team/app@{digest}");
        [
            scene.oci_pull(&client, "team/app:one").await,
            scene.oci_pull(&client, &by_digest).await,
        ]
    });

    scene.assert_served("team/app", "one", &digest);
    let (mut layers, config) = image(&scene.layout, "one");
    layers.sort();
    for (pulled_layers, pulled_config) in pulled {
        assert!(pulled_layers == layers, "the layers are what was pushed");
        assert_eq!(pulled_config, config);
    }
    let appends = scene.traffic();
    let appends = appends
        .0
        .iter()
        .filter(|e| matches!(e.operation, Some(Request::Append { .. })));
    assert!(appends.clone().count() > 0 && appends.clone().all(|e| e.headers.contains_key("content-range")));
}

fn pushes_in_one_request() {
    let scene = Scene::new();

    run(scene.oci_push(&client(true), "team/app:one"));

    scene.assert_served("team/app", "one", &scene.layout.digest("one"));
    let traffic = scene.traffic();
    let patched = traffic.0.iter().any(|exchange| exchange.method == "PATCH");
    assert!(!patched, "{}", traffic.lines());
}

fn mounts_into_a_second_repository() {
    let scene = Scene::new();
    let (here, there) = (scene.oci("team/app:one"), scene.oci("other/app:one"));
    let manifest = scene.layout.blob(&scene.layout.digest("one"));
    let (_, blobs) = references(&manifest);

    run(async {
        let client = client(false);
        scene.oci_push(&client, "team/app:one").await;
        scene.traffic();
        for blob in &blobs {
            let digest = digest_of(blob).to_string();
            assert!(!client.blob_exists(&there, &digest).await.unwrap());
            client.mount_blob(&there, &here, &digest).await.unwrap();
            assert!(client.blob_exists(&there, &digest).await.unwrap());
        }
        let manifest: OciImageManifest = serde_json::from_slice(&manifest).unwrap();
        client.push_manifest(&there, &manifest.into()).await.unwrap();
    });

    let traffic = scene.traffic();
    assert_eq!(
        (traffic.mounts(), traffic.uploads()),
        (3, 0),
        "{}",
        traffic.lines()
    );
    scene.assert_served("other/app", "one", &scene.layout.digest("one"));
}

fn pulls_a_part_of_a_blob() {
    let scene = Scene::new();
    let reference = scene.oci("team/app:one");
    let (layers, _) = image(&scene.layout, "one");

    let part = run(async {
        use futures_util::TryStreamExt as _;
        let client = client(false);
        scene.oci_push(&client, "team/app:one").await;
        let (manifest, _) = client
            .pull_image_manifest(&reference, &RegistryAuth::Anonymous)
            .await
            .unwrap();
        let part = client
            .pull_blob_stream_partial(&reference, &manifest.layers[0], 1000, None)
            .await
            .unwrap();
        let BlobResponse::Partial(part) = part else {
            panic!("the registry sends the part that was asked for");
        };
        let pieces: Vec<_> = part.stream.try_collect().await.unwrap();
        pieces.concat()
    });

    assert!(part == layers[0][1000..], "the part is that of the layer");
}

fn lists_tags() {
    let scene = Scene::new();

    let listed = run(async {
        let client = client(false);
        for name in ["team/app:one", "team/app:two"] {
            scene.oci_push(&client, name).await;
        }
        let image = scene.oci("team/app");
        client
            .list_tags(&image, &RegistryAuth::Anonymous, None, None)
            .await
    });

    assert_eq!(listed.unwrap().tags, ["one", "two"]);
}

#[expect(clippy::future_not_send, reason = "driven on the thread of the test")]
impl Scene {
    fn oci(&self, name: &str) -> Reference {
        self.tapped(name).parse().unwrap()
    }

    async fn oci_push(&self, client: &Client, name: &str) {
        let pushed = push(client, &self.layout, &self.oci(name), &RegistryAuth::Anonymous).await;
        pushed.unwrap();
    }

    async fn oci_pull(&self, client: &Client, name: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
        pull(client, &self.oci(name), &RegistryAuth::Anonymous).await
    }
}

/// Layers and configuration of an image of the layout.
pub(super) fn image(layout: &Layout, tag: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (_, blobs) = references(&layout.blob(&layout.digest(tag)));
    let mut blobs: Vec<_> = blobs.iter().map(|blob| layout.blob(&digest_of(blob))).collect();
    let config = blobs.pop().unwrap();
    (blobs, config)
}

/// Pushes the image `one` of the layout.
pub(super) async fn push(
    client: &Client,
    layout: &Layout,
    to: &Reference,
    login: &RegistryAuth,
) -> Result<PushResponse, OciDistributionError> {
    let (layers, config) = image(layout, "one");
    let layers: Vec<_> = layers
        .into_iter()
        .map(|layer| ImageLayer::oci_v1_gzip(layer, None))
        .collect();
    let manifest = serde_json::from_slice(&layout.blob(&layout.digest("one"))).unwrap();
    let config = Config::oci_v1(config, None);
    client.push(to, &layers, config, login, Some(manifest)).await
}

/// Pulls an image; its layers are sorted, for they come in the order in which their downloads ended.
pub(super) async fn pull(client: &Client, from: &Reference, login: &RegistryAuth) -> (Vec<Vec<u8>>, Vec<u8>) {
    let accepted = vec![IMAGE_LAYER_GZIP_MEDIA_TYPE];
    let pulled = client.pull(from, login, accepted).await.unwrap();
    let mut layers: Vec<Vec<u8>> = pulled.layers.into_iter().map(|layer| layer.data.into()).collect();
    layers.sort();
    (layers, pulled.config.data.into())
}

fn client(use_monolithic_push: bool) -> Client {
    client_with(ClientConfig {
        protocol: ClientProtocol::Http,
        use_monolithic_push,
        ..ClientConfig::default()
    })
}

pub(super) fn client_with(config: ClientConfig) -> Client {
    // Asked for even where nothing is encrypted; that it is there already is as good.
    _ = aws_lc_rs::default_provider().install_default();
    Client::new(config)
}

pub(super) fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}
