//! Documents that are written again, with every value that is kept as it was written.

use crate::platform::{Fields, Platform};
use bytes::Bytes;
use registry_core::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

/// Annotation with the tag or name of an entry of a layout. Specification: image-spec, "Image Layout".
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Content of `oci-layout`.
pub(crate) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Media type of the config of an image.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Annotation with the full name of an image, which containerd needs.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
/// Annotation of `index.json` of an incremental archive: the digest of the list of its base.
pub(crate) const BASE: &str = "vnd.registry-image.base";
/// Annotation of `index.json` of an incremental archive: the digest of the blob that lists the blobs that it leaves out.
pub(crate) const LEFT_OUT: &str = "vnd.registry-image.left-out";

/// An index, with every value as it was written.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<Box<RawValue>>,
    pub(crate) manifests: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
}

impl Index {
    /// Creates an OCI index without entries.
    pub(crate) fn new() -> Self {
        Self {
            schema_version: Some(raw(&2.into())),
            media_type: Some(raw(&MediaType::OCI_INDEX.into())),
            artifact_type: None,
            manifests: Vec::new(),
            subject: None,
            annotations: None,
        }
    }

    /// Adds the version, which some tools leave out in `index.json`.
    pub(crate) fn with_version(mut self) -> Self {
        self.schema_version.get_or_insert_with(|| raw(&2.into()));
        self
    }

    /// Sets the annotations of the index, unless there are none.
    pub(crate) fn annotated(mut self, annotations: &Annotated) -> Self {
        let written = serde_json::value::to_raw_value(annotations).expect("strings are JSON");
        self.annotations = Some(written).filter(|_| !annotations.is_empty());
        self
    }
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a value is JSON")
}

/// Annotations of an entry.
pub(crate) type Annotated = BTreeMap<String, String>;

/// Returns what distinguishes an entry of a layout from others: its names, or its digest if it has none.
pub(crate) fn identity(entry: &RawValue) -> (Option<String>, Option<String>, Option<String>) {
    #[derive(Default, Deserialize)]
    struct Identity {
        digest: Option<String>,
        annotations: Option<Annotated>,
    }
    let found: Identity = serde_json::from_str(entry.get()).unwrap_or_default();
    let mut annotations = found.annotations.unwrap_or_default();
    match (annotations.remove(REF_NAME), annotations.remove(IMAGE_NAME)) {
        (None, None) => (None, None, found.digest),
        (reference, name) => (reference, name, None),
    }
}

/// Writes a descriptor, its keys in a fixed order.
pub(crate) fn entry(descriptor: &Descriptor, annotations: &Annotated) -> Box<RawValue> {
    let entry = Described {
        annotations: Some(annotations.clone()).filter(|annotations| !annotations.is_empty()),
        ..descriptor.into()
    };
    serde_json::value::to_raw_value(&entry).expect("strings and numbers are JSON")
}

/// Writes a descriptor with a platform, its keys in a fixed order.
pub(crate) fn platform_entry(descriptor: &Descriptor, platform: Option<&Platform>) -> Box<RawValue> {
    let entry = Described {
        platform: platform.map(Platform::fields),
        ..descriptor.into()
    };
    serde_json::value::to_raw_value(&entry).expect("strings and numbers are JSON")
}

/// Descriptor with its keys in a fixed order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Fields<'a>>,
}

impl<'a> From<&'a Descriptor> for Described<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.as_str(),
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
            annotations: descriptor
                .annotations
                .as_ref()
                .map(registry_core::Annotations::to_map),
            platform: None,
        }
    }
}

/// An OCI manifest with its keys in a fixed order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    config: Described<'a>,
    layers: Vec<Described<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Described<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a Annotated>,
}

impl<'a> ImageManifest<'a> {
    pub(crate) fn new(config: &'a Descriptor, layers: &'a [Descriptor]) -> Self {
        Self {
            schema_version: 2,
            media_type: MediaType::OCI_MANIFEST,
            artifact_type: None,
            config: config.into(),
            layers: layers.iter().map(Into::into).collect(),
            subject: None,
            annotations: None,
        }
    }

    pub(crate) fn of_type(mut self, artifact_type: &'a MediaType) -> Self {
        self.artifact_type = Some(artifact_type.as_str());
        self
    }

    pub(crate) fn with_subject(mut self, subject: Option<&'a Descriptor>) -> Self {
        // A subject has no annotations of its own.
        let bare = |subject: &'a Descriptor| Described {
            annotations: None,
            ..subject.into()
        };
        self.subject = subject.map(bare);
        self
    }

    pub(crate) fn annotated(mut self, annotations: &'a Annotated) -> Self {
        self.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
        self
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("strings and numbers are JSON")
            .into()
    }
}

/// Returns the digests of the uncompressed layers that a config of an image has.
pub(crate) fn diff_ids(config: &[u8]) -> serde_json::Result<Vec<String>> {
    #[derive(Default, Deserialize)]
    struct Config {
        rootfs: Option<RootFs>,
    }
    #[derive(Default, Deserialize)]
    struct RootFs {
        #[serde(default)]
        diff_ids: Vec<String>,
    }
    let config: Config = serde_json::from_slice(config)?;
    Ok(config.rootfs.unwrap_or_default().diff_ids)
}
