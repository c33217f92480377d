//! Pushes and faults that several tests need.

use crate::support::{Tapped, descriptor};
use bytes::Bytes;
use http::Method;
use registry_client::{Error, Pushed, RemoteRepository};
use registry_core::{Algorithm, Digest, MediaType, Tag};
use registry_test::tap::{Exchange, Fault, Rule, Side};

pub(crate) fn manifest(layer: &[u8]) -> String {
    let config = Digest::of(Algorithm::Sha256, b"{}");
    let digest = Digest::of(Algorithm::Sha256, layer);
    let size = layer.len();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}]}}"#
    )
}

pub(crate) fn image_type() -> MediaType {
    MediaType::parse(MediaType::OCI_MANIFEST).unwrap()
}

pub(crate) fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::parse(name).unwrap()).collect()
}

pub(crate) async fn push_blob(repository: &RemoteRepository, blob: &[u8]) -> Result<Pushed, Error> {
    repository
        .push_blob(Bytes::copy_from_slice(blob), &descriptor(blob))
        .await
}

pub(crate) fn fault(fault: Fault, method: Method, part: &'static str, times: usize) -> Rule {
    let applies = move |exchange: &Exchange| exchange.method == method && exchange.target.contains(part);
    Rule::new(fault).when(applies).times(times)
}

pub(crate) fn cut(side: Side, after: u64, method: Method, part: &'static str, times: usize) -> Rule {
    fault(Fault::Cut { side, after }, method, part, times)
}

pub(crate) fn sent(tapped: &Tapped, method: &Method) -> Vec<u64> {
    let exchanges = tapped.tap.exchanges();
    let of_method = exchanges.iter().filter(|exchange| exchange.method == *method);
    of_method.map(|exchange| exchange.sent).collect()
}
