//! [`Image`]: an image for one platform.

use super::{
    document::{self, Object, canonical, descriptor, has_only_integers, quoted},
    error::SeedError,
    gzip::gzip,
    layer::Layer,
    parts::{Part, Parts},
};
use registry_core::{Digest, MediaType};
use serde_json::Value;
use std::collections::BTreeMap;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An OCI image for one platform, created by [`image`].
///
/// Its layers are uncompressed archives, or in [gzip](Self::gzip). Without files it has one empty layer, since many clients
/// expect a layer.
#[derive(Clone, Debug)]
#[must_use]
pub struct Image {
    layers: Vec<Layer>,
    gzip: bool,
    platform: String,
    config: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// Describes an image. It is for `linux/amd64`, whatever the machine is, so that its digest is the same everywhere.
///
/// ```
/// use registry_test::image;
///
/// let app = image()
///     .files([("etc/motd", "hello\n"), ("bin/app", "#!/bin/sh\n")])
///     .layer([("etc/motd", "hello again\n")])
///     .platform("linux/arm64")
///     .config(r#"{"Cmd": ["/bin/app"], "Labels": {"stage": "test"}}"#)
///     .annotation("org.opencontainers.image.version", "1.0");
/// ```
pub fn image() -> Image {
    Image {
        layers: Vec::new(),
        gzip: false,
        platform: "linux/amd64".into(),
        config: None,
        annotations: BTreeMap::new(),
    }
}

impl Image {
    /// Adds files to the top layer. An image without layers gets one.
    ///
    /// Paths are relative to the root of the image. Every file has mode 0644, user and group 0 and time 0.
    pub fn files<P, C>(mut self, files: impl IntoIterator<Item = (P, C)>) -> Self
    where
        P: Into<String>,
        C: AsRef<[u8]>,
    {
        match self.layers.last_mut() {
            Some(top) => top.add(files),
            None => self = self.layer(files),
        }
        self
    }

    /// Adds a layer with these files on top.
    pub fn layer<P, C>(mut self, files: impl IntoIterator<Item = (P, C)>) -> Self
    where
        P: Into<String>,
        C: AsRef<[u8]>,
    {
        let mut layer = Layer::default();
        layer.add(files);
        self.layers.push(layer);
        self
    }

    /// Writes the layers as gzip (`tar+gzip`), as most images have them. The digests of the archives are the `diff_ids`.
    ///
    /// They are not smaller: a compressor could write other bytes in its next version, and the digest would change.
    ///
    /// ```
    /// use registry_test::{TestRegistry, image};
    ///
    /// let registry = TestRegistry::start();
    /// registry.seed("app:v1", image().files([("etc/motd", "hello\n")]).gzip());
    ///
    /// let manifest = registry.manifest("app:v1").unwrap();
    /// assert!(String::from_utf8_lossy(&manifest).contains("application/vnd.oci.image.layer.v1.tar+gzip"));
    /// ```
    pub fn gzip(self) -> Self {
        Self { gzip: true, ..self }
    }

    /// Sets the platform: `os/architecture`, or `os/architecture/variant`.
    pub fn platform(self, platform: impl Into<String>) -> Self {
        Self {
            platform: platform.into(),
            ..self
        }
    }

    /// Sets the execution parameters (`config` of the image's configuration): a JSON object, with members such as
    /// `Cmd`, `Env` and `Labels`. Its numbers are integers.
    pub fn config(self, json: impl Into<String>) -> Self {
        Self {
            config: Some(json.into()),
            ..self
        }
    }

    /// Adds an annotation of the manifest.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Adds its content to `parts`; returns its manifest, and the platform in JSON.
    pub(super) fn render(&self, parts: &mut Parts<'_>) -> Result<(Part, String), SeedError> {
        let empty = [Layer::default()];
        let layers = match &*self.layers {
            [] => &empty[..],
            layers => layers,
        };
        let layers = layers.iter().map(Layer::archive);
        let mut layers: Vec<_> = layers
            .map(|archive| Ok(Part::new(LAYER, archive?)))
            .collect::<Result<_, SeedError>>()?;
        let platform = Platform::parse(&self.platform)?;
        let config = self.configuration(&platform, layers.iter().map(|layer| layer.digest))?;
        if self.gzip {
            for layer in &mut layers {
                *layer = Part::new(GZIP_LAYER, gzip(&layer.bytes));
            }
        }
        let manifest = document::manifest(MediaType::OCI_MANIFEST)
            .json("config", &descriptor(&config).finish())
            .list("layers", layers.iter().map(|layer| descriptor(layer).finish()))
            .annotations(&self.annotations);
        parts.blobs.push(config);
        parts.blobs.extend(layers);
        let manifest = Part::new(MediaType::OCI_MANIFEST, manifest.finish());
        Ok((manifest, platform.write(Object::new()).finish()))
    }

    fn configuration(
        &self,
        platform: &Platform<'_>,
        diff_ids: impl Iterator<Item = Digest>,
    ) -> Result<Part, SeedError> {
        let rootfs = Object::new()
            .text("type", "layers")
            .list("diff_ids", diff_ids.map(|id| quoted(&id.to_string())));
        let mut config = platform
            .write(Object::new())
            // Not the time of the test: the digest would change.
            .text("created", "1970-01-01T00:00:00Z");
        if let Some(given) = &self.config {
            let object = serde_json::from_str(given).ok().filter(Value::is_object);
            let object = object.ok_or_else(|| SeedError::Config(given.clone()))?;
            if !has_only_integers(&object) {
                return Err(SeedError::Number(given.clone()));
            }
            config = config.json("config", &canonical(&object));
        }
        Ok(Part::new(
            CONFIG,
            config.json("rootfs", &rootfs.finish()).finish(),
        ))
    }
}

/// Platform of an image.
struct Platform<'a> {
    os: &'a str,
    architecture: &'a str,
    variant: Option<&'a str>,
}

impl<'a> Platform<'a> {
    fn parse(text: &'a str) -> Result<Self, SeedError> {
        let names: Vec<_> = text.split('/').collect();
        let (os, architecture, variant) = match *names {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(SeedError::Platform(text.to_owned())),
        };
        if names.contains(&"") {
            return Err(SeedError::Platform(text.to_owned()));
        }
        Ok(Self {
            os,
            architecture,
            variant,
        })
    }

    fn write(&self, object: Object) -> Object {
        object
            .text("architecture", self.architecture)
            .text("os", self.os)
            .maybe("variant", self.variant)
    }
}
