//! [`ImageBuilder`]: an image for one platform.

use super::{built::Built, layer::Layer};
use crate::{
    document::{self, Annotated, ImageManifest},
    platform::{Fields, Platform},
};
use registry_core::{Algorithm, Descriptor, Digest, MediaType};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Builds an image for one platform.
///
/// ```
/// use registry_core::{Registry, Tag, storage::MemoryStorage};
/// use registry_image::{ImageCopy, CopyItem, Platform, build::{ImageBuilder, LayerBuilder}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = LayerBuilder::new().executable("bin/app", "#!/bin/sh\n").build()?;
/// let image = ImageBuilder::new(Platform::parse("linux/amd64")?)
///     .layer(layer.gzip())
///     .entrypoint(["/bin/app"])
///     .env("LANG", "C.UTF-8")
///     .label("org.opencontainers.image.source", "https://example.com/app")
///     .build();
///
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
/// let item = CopyItem::digest(image.digest()).with_tags([Tag::parse("v1")?]);
/// ImageCopy::new(&image, &repository).run(&[item]).await?;
/// assert_eq!(repository.manifest("v1").await?.ok_or("no such tag")?.digest, image.digest());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ImageBuilder {
    platform: Platform,
    layers: Vec<Layer>,
    execution: Execution,
    created: Option<String>,
    annotations: Annotated,
}

/// `config` of an image's configuration. Specification: image-spec, "Image Configuration".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

/// An empty object, as a member of a set in Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Configuration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(flatten)]
    platform: Fields<'a>,
    config: &'a Execution,
    rootfs: RootFs,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: Vec<String>,
}

impl ImageBuilder {
    /// Begins an image without layers.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            layers: Vec::new(),
            execution: Execution::default(),
            created: None,
            annotations: Annotated::new(),
        }
    }

    /// Adds a layer on top.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Sets the program that a container runs, with its arguments.
    pub fn entrypoint(mut self, program: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.execution.entrypoint = program.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the default arguments, or the program if there is no entry point.
    pub fn command(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.execution.cmd = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.execution.env.push(format!("{name}={value}"));
        self
    }

    /// Adds a label.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.execution.labels.insert(name.into(), value.into());
        self
    }

    /// Sets the user, such as `65532` or `app:app`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.execution.user = Some(user.into());
        self
    }

    /// Sets the working directory.
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.execution.working_dir = Some(path.into());
        self
    }

    /// Declares a port, such as `8080/tcp`.
    pub fn exposed_port(mut self, port: impl Into<String>) -> Self {
        self.execution.exposed_ports.insert(port.into(), Empty {});
        self
    }

    /// Sets the time of creation, in the form of RFC 3339. By default there is none, so that two builds are equal.
    pub fn created(mut self, time: impl Into<String>) -> Self {
        self.created = Some(time.into());
        self
    }

    /// Adds an annotation of the manifest.
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Builds the image.
    #[must_use]
    pub fn build(&self) -> Built {
        let configuration = Configuration {
            created: self.created.as_deref(),
            platform: self.platform.fields(),
            config: &self.execution,
            rootfs: RootFs {
                r#type: "layers",
                diff_ids: self
                    .layers
                    .iter()
                    .map(|layer| layer.diff_id().to_string())
                    .collect(),
            },
        };
        let config = serde_json::to_vec(&configuration).expect("strings are JSON");
        let digest = Digest::of(Algorithm::Sha256, &config);
        let media_type = MediaType::parse(document::CONFIG).expect("a constant is well-formed");
        let descriptor = Descriptor::new(media_type, digest, config.len() as u64);
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| layer.descriptor().clone())
            .collect();
        let manifest = ImageManifest::new(&descriptor, &layers).annotated(&self.annotations);
        let mut built = Built::new(MediaType::OCI_MANIFEST, manifest.to_bytes().into());
        built.platform = Some(self.platform.clone());
        let mut added = BTreeSet::new();
        for layer in self
            .layers
            .iter()
            .filter(|layer| added.insert(layer.descriptor().digest))
        {
            built = built.with_blob(layer.descriptor().digest, layer.bytes().clone());
        }
        built.with_blob(digest, config.into())
    }
}
