//! Manifests and indexes to push: plain JSON, so that a case can change it, and [`Document`], its bytes.

pub(super) use super::media_types::*;

use super::session::{Blob, Session};
use bytes::Bytes;
use registry_core::{Algorithm, Digest};
use serde_json::{Value, json};

/// A manifest or index as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) media_type: String,
    pub(super) value: Value,
    pub(super) body: Bytes,
    pub(super) digest: Digest,
}

impl Document {
    /// Returns the document in compact JSON; its type is its own `mediaType`.
    pub(super) fn new(algorithm: Algorithm, value: Value) -> Self {
        let body = Bytes::from(value.to_string());
        Self {
            media_type: text(&value, "mediaType"),
            digest: Digest::of(algorithm, &body),
            value,
            body,
        }
    }

    /// Returns the descriptor by which an index or a `subject` names it.
    pub(super) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.body.len() })
    }

    /// Returns the digest of its `subject`.
    pub(super) fn subject(&self) -> Option<String> {
        Some(self.value.get("subject")?.get("digest")?.as_str()?.to_owned())
    }

    /// Returns its type in a referrers list: its own, else that of an image's config; none for an index.
    pub(super) fn artifact_type(&self) -> Option<String> {
        let own = Some(text(&self.value, "artifactType")).filter(|own| !own.is_empty());
        own.or_else(|| Some(text(self.value.get("config")?, "mediaType")))
    }

    /// Returns the entry that a referrers list must contain for it.
    pub(super) fn referrer(&self) -> Value {
        let mut entry = self.descriptor();
        if let Some(artifact_type) = self.artifact_type() {
            entry["artifactType"] = artifact_type.into();
        }
        if let Some(annotations) = self.value.get("annotations") {
            entry["annotations"] = annotations.clone();
        }
        entry
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Returns a descriptor of a blob.
pub(super) fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.len() })
}

/// Returns an OCI image manifest of these descriptors.
pub(super) fn image(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers })
}

/// Returns an OCI index of these documents.
pub(super) fn index(children: &[&Document]) -> Value {
    let manifests: Vec<Value> = children.iter().map(|child| child.descriptor()).collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

/// Returns an OCI index of one document for each platform.
pub(super) fn platforms(children: &[(&Document, &str)]) -> Value {
    let documents: Vec<&Document> = children.iter().map(|(document, _)| *document).collect();
    let mut value = index(&documents);
    for (number, (_, architecture)) in children.iter().enumerate() {
        value["manifests"][number]["platform"] = json!({ "os": "linux", "architecture": architecture });
    }
    value
}

/// Returns an artifact of this type without content of its own: the empty JSON blob is config and layer.
pub(super) fn artifact(artifact_type: &str, empty: &Blob) -> Value {
    let mut value = image(&descriptor(OCI_EMPTY, empty), &[descriptor(OCI_EMPTY, empty)]);
    value["artifactType"] = artifact_type.into();
    value
}

/// Content of a data set, in the order in which it is pushed.
#[derive(Clone, Debug, Default)]
pub(super) struct DataSet {
    pub(super) blobs: Vec<Blob>,
    /// Children before their parents.
    pub(super) documents: Vec<Document>,
}

impl DataSet {
    /// Returns an image of a config and two layers: the set that cases about other things push.
    pub(super) fn image(session: &Session) -> Self {
        let (config, layers) = (config(session, "amd64"), [session.blob(1024), session.blob(700)]);
        let list: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor(OCI_LAYER_GZIP, layer))
            .collect();
        let manifest = image(&descriptor(OCI_CONFIG, &config), &list);
        Self {
            blobs: [vec![config], layers.to_vec()].concat(),
            documents: vec![Document::new(session.algorithm, manifest)],
        }
    }

    /// Returns the last document: the one that a tag would name.
    pub(super) fn top(&self) -> &Document {
        self.documents.last().expect("a data set has a document")
    }
}

/// Returns a unique image config.
pub(super) fn config(session: &Session, architecture: &str) -> Blob {
    let unique = session.unknown_digest().hex();
    let value = json!({
        "architecture": architecture,
        "os": "linux",
        "author": unique,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [] },
        "history": [],
    });
    session.blob_of(value.to_string())
}

/// Returns the blob `{}`.
pub(super) fn empty_json(session: &Session) -> Blob {
    session.blob_of("{}")
}
