//! The data sets of real use: what the cases of manifests push.

use crate::wire::{
    content::{
        self, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_LAYER_FOREIGN, DOCKER_LIST, DOCKER_MANIFEST, DataSet,
        Document, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_FOREIGN, OCI_LAYER_GZIP, OCI_MANIFEST,
        artifact, config, descriptor, image, index, platforms,
    },
    session::{Blob, Session},
};
use registry_core::Algorithm;
use serde_json::{Value, json};

/// Makes the content of a set, of names and bytes that no other session uses.
type Build = fn(&Session) -> DataSet;

/// The sets that every registry takes, by the names of their cases.
pub(super) const ALL: [(&str, Build); 21] = [
    ("image", DataSet::image),
    ("image-uncompressed", image_uncompressed),
    ("no-layers", no_layers),
    ("custom-fields", custom_fields),
    ("data-field", data_field),
    ("index", image_index),
    ("nested-index", nested_index),
    ("empty-index", empty_index),
    ("artifact-index", artifact_index),
    ("artifact", artifact_with_layer),
    ("artifact-without-layers", artifact_without_layers),
    ("artifacts-with-subject", artifacts_with_subject),
    ("index-with-subject", index_with_subject),
    ("missing-subject", missing_subject),
    ("non-distributable-layers", non_distributable_layers),
    ("docker-image", docker_image),
    ("docker-list", docker_list),
    ("docker-foreign-layers", docker_foreign_layers),
    ("mixed-index", mixed_index),
    ("index-of-blobs", index_of_blobs),
    ("docker-list-of-blobs", docker_list_of_blobs),
];

fn image_uncompressed(session: &Session) -> DataSet {
    let (config, layer) = (config(session, "amd64"), session.blob(2048));
    let manifest = image(&descriptor(OCI_CONFIG, &config), &[descriptor(OCI_LAYER, &layer)]);
    set(session, vec![config, layer], vec![manifest])
}

/// Returns a set in which no document refers to another.
fn set(session: &Session, blobs: Vec<Blob>, documents: Vec<Value>) -> DataSet {
    let documents = documents
        .into_iter()
        .map(|value| Document::new(session.algorithm, value));
    DataSet {
        blobs,
        documents: documents.collect(),
    }
}

fn no_layers(session: &Session) -> DataSet {
    let config = config(session, "amd64");
    let manifest = image(&descriptor(OCI_CONFIG, &config), &[]);
    set(session, vec![config], vec![manifest])
}

/// Returns an image with null for each list that is empty, as encoders in Go write it.
pub(super) fn null_lists(session: &Session) -> DataSet {
    let config = config(session, "amd64");
    let mut manifest = image(&descriptor(OCI_CONFIG, &config), &[]);
    manifest["manifests"] = json!(null);
    manifest["annotations"] = json!(null);
    manifest["config"]["urls"] = json!(null);
    set(session, vec![config], vec![manifest])
}

/// Returns fields that no specification defines, in config, manifest, descriptor and index.
fn custom_fields(session: &Session) -> DataSet {
    let unique = session.unknown_digest().hex();
    let config =
        session.blob_of(json!({ "os": "linux", "org.example.field": { "unique": unique } }).to_string());
    let mut base = DataSet::image(session);
    base.documents.clear();
    base.blobs.push(config.clone());
    let mut manifest = image(&descriptor(OCI_CONFIG, &config), &[]);
    manifest["org.example.field"] = json!({ "nested": [1, null, "text"] });
    manifest["config"]["org.example.field"] = json!(true);
    let manifest = Document::new(session.algorithm, manifest);
    let mut top = index(&[&manifest]);
    top["org.example.field"] = json!(3.5);
    top["manifests"][0]["org.example.field"] = json!("text");
    base.documents = vec![manifest, Document::new(session.algorithm, top)];
    base
}

fn data_field(session: &Session) -> DataSet {
    let empty = content::empty_json(session);
    let mut manifest = artifact("application/vnd.example.data", &empty);
    manifest["config"]["data"] = json!("e30=");
    manifest["layers"][0]["data"] = json!("e30=");
    manifest["annotations"] = json!({ "org.example.unique": session.unknown_digest().hex() });
    set(session, vec![empty], vec![manifest])
}

/// Returns two images, and an index that names them by platform.
pub(super) fn image_index(session: &Session) -> DataSet {
    let (first, second) = (DataSet::image(session), DataSet::image(session));
    let top = platforms(&[(first.top(), "amd64"), (second.top(), "arm64")]);
    let mut documents = [first.documents, second.documents].concat();
    documents.push(Document::new(session.algorithm, top));
    DataSet {
        blobs: [first.blobs, second.blobs].concat(),
        documents,
    }
}

/// Wraps the last document of a set in an index.
fn in_index(session: &Session, mut set: DataSet, bend: impl FnOnce(&mut Value)) -> DataSet {
    let mut top = index(&[set.top()]);
    bend(&mut top);
    set.documents.push(Document::new(session.algorithm, top));
    set
}

fn nested_index(session: &Session) -> DataSet {
    in_index(session, image_index(session), |_| {})
}

fn empty_index(session: &Session) -> DataSet {
    let mut top = index(&[]);
    top["annotations"] = json!({ "org.example.unique": session.unknown_digest().hex() });
    set(session, vec![], vec![top])
}

fn artifact_index(session: &Session) -> DataSet {
    in_index(session, DataSet::image(session), |top| {
        top["artifactType"] = json!("application/vnd.example.index");
    })
}

fn artifact_with_layer(session: &Session) -> DataSet {
    let (empty, layer) = (content::empty_json(session), session.blob(300));
    let mut manifest = artifact("application/vnd.example.artifact", &empty);
    manifest["layers"] = json!([descriptor("application/vnd.example.layer", &layer)]);
    set(session, vec![empty, layer], vec![manifest])
}

fn artifact_without_layers(session: &Session) -> DataSet {
    let empty = content::empty_json(session);
    let mut manifest = artifact("application/vnd.example.artifact", &empty);
    manifest["annotations"] = json!({ "org.example.unique": session.unknown_digest().hex() });
    set(session, vec![empty], vec![manifest])
}

fn with_subject(mut value: Value, subject: &Value, annotation: &str) -> Value {
    value["subject"] = subject.clone();
    value["annotations"] = json!({ "org.example.name": annotation });
    value
}

/// Returns an image, and three that refer to it: two artifacts of different types, and an image by its config's type.
fn artifacts_with_subject(session: &Session) -> DataSet {
    let mut base = DataSet::image(session);
    let (empty, config) = (content::empty_json(session), config(session, "amd64"));
    let subject = base.top().descriptor();
    let plain = image(&descriptor(OCI_CONFIG, &config), &[]);
    for value in [
        with_subject(artifact("application/vnd.example.sbom", &empty), &subject, "sbom"),
        with_subject(
            artifact("application/vnd.example.signature", &empty),
            &subject,
            "signature",
        ),
        with_subject(plain, &subject, "plain"),
    ] {
        base.documents.push(Document::new(session.algorithm, value));
    }
    base.blobs.extend([empty, config]);
    base
}

/// Returns an image, and two indexes that refer to it: one with an artifact type, one without.
fn index_with_subject(session: &Session) -> DataSet {
    let mut base = DataSet::image(session);
    let subject = base.top().descriptor();
    let plain = with_subject(index(&[base.top()]), &subject, "plain");
    let mut typed = with_subject(index(&[]), &subject, "typed");
    typed["artifactType"] = json!("application/vnd.example.index");
    for value in [plain, typed] {
        base.documents.push(Document::new(session.algorithm, value));
    }
    base
}

fn missing_subject(session: &Session) -> DataSet {
    let empty = content::empty_json(session);
    let absent =
        json!({ "mediaType": OCI_MANIFEST, "digest": session.unknown_digest().to_string(), "size": 1234 });
    let manifest = with_subject(
        artifact("application/vnd.example.sbom", &empty),
        &absent,
        "orphan",
    );
    set(session, vec![empty], vec![manifest])
}

/// Returns a layer that is to be fetched elsewhere, and was never pushed here.
pub(super) fn foreign(session: &Session, media_type: &str) -> Value {
    let mut layer = descriptor(media_type, &session.blob(123));
    layer["urls"] = json!(["https://example.com/layer"]);
    layer
}

fn non_distributable_layers(session: &Session) -> DataSet {
    let (config, layer) = (config(session, "amd64"), session.blob(200));
    let layers = [
        foreign(session, OCI_LAYER_FOREIGN),
        descriptor(OCI_LAYER_GZIP, &layer),
    ];
    let manifest = image(&descriptor(OCI_CONFIG, &config), &layers);
    set(session, vec![config, layer], vec![manifest])
}

fn docker_manifest(config: &Blob, layers: &[Value]) -> Value {
    let mut manifest = image(&descriptor(DOCKER_CONFIG, config), layers);
    manifest["mediaType"] = json!(DOCKER_MANIFEST);
    manifest
}

fn docker_image(session: &Session) -> DataSet {
    let (config, layer) = (config(session, "amd64"), session.blob(500));
    let manifest = docker_manifest(&config, &[descriptor(DOCKER_LAYER, &layer)]);
    set(session, vec![config, layer], vec![manifest])
}

fn docker_list(session: &Session) -> DataSet {
    let (first, second) = (docker_image(session), docker_image(session));
    let mut top = platforms(&[(first.top(), "amd64"), (second.top(), "arm64")]);
    top["mediaType"] = json!(DOCKER_LIST);
    let mut documents = [first.documents, second.documents].concat();
    documents.push(Document::new(session.algorithm, top));
    DataSet {
        blobs: [first.blobs, second.blobs].concat(),
        documents,
    }
}

fn docker_foreign_layers(session: &Session) -> DataSet {
    let config = config(session, "amd64");
    let manifest = docker_manifest(&config, &[foreign(session, DOCKER_LAYER_FOREIGN)]);
    set(session, vec![config], vec![manifest])
}

/// Returns a Docker image inside an OCI index.
fn mixed_index(session: &Session) -> DataSet {
    in_index(session, docker_image(session), |_| {})
}

/// Returns a cache as BuildKit stores it: an index of layers, and of a configuration of a type of its own.
pub(super) fn index_of_blobs(session: &Session) -> DataSet {
    list_of_blobs(session, OCI_INDEX, OCI_LAYER_GZIP)
}

fn docker_list_of_blobs(session: &Session) -> DataSet {
    list_of_blobs(session, DOCKER_LIST, DOCKER_LAYER)
}

fn list_of_blobs(session: &Session, media_type: &str, layer_type: &str) -> DataSet {
    let layers = [session.blob(1024), session.blob(700)];
    let config = session.blob(100);
    let mut entries: Vec<Value> = layers.iter().map(|layer| descriptor(layer_type, layer)).collect();
    entries.push(descriptor("application/vnd.buildkit.cacheconfig.v0", &config));
    let top = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
    set(session, [layers.to_vec(), vec![config]].concat(), vec![top])
}

/// Returns a sha256 index of a sha512 image of a sha256 config and a sha512 layer.
pub(super) fn mixed_algorithms(session: &Session) -> DataSet {
    let config = config(session, "amd64");
    let layer = Blob::new(Algorithm::Sha512, session.blob(500).bytes);
    let manifest = image(
        &descriptor(OCI_CONFIG, &config),
        &[descriptor(OCI_LAYER_GZIP, &layer)],
    );
    let manifest = Document::new(Algorithm::Sha512, manifest);
    let top = Document::new(Algorithm::Sha256, index(&[&manifest]));
    DataSet {
        blobs: vec![config, layer],
        documents: vec![manifest, top],
    }
}

/// Returns an image manifest with annotations of 10 kB each: 390 of them are about 3.9 MB.
pub(super) fn large(session: &Session, annotations: usize) -> DataSet {
    let mut base = DataSet::image(session);
    let mut value = base.top().value.clone();
    let text = "x".repeat(10_000);
    for number in 0..annotations {
        value["annotations"][format!("org.example.{number:04}")] = json!(text);
    }
    base.documents = vec![Document::new(session.algorithm, value)];
    base
}

/// Returns a manifest beyond any limit that a registry sets in practice: 16 MB.
pub(super) fn over_any_limit(session: &Session) -> DataSet {
    large(session, 1600)
}
