//! [`Manifest`]: parsed manifest or index, and the content that it refers to.
//!
//! Only the fields that a registry needs are read. Unknown fields, media types and annotations are ignored.
//! The bytes themselves are never rewritten.
//!
//! Specification: image-spec, "Image Manifest", "Image Index", "Content Descriptors". Docker's image manifest
//! version 2, schema 2, and its manifest list are supported equally.

mod child;
mod depth;
mod document;
mod invalid;
mod keys;
mod sniff;
mod values;

pub(crate) use self::depth::depth;
pub use self::{child::Child, invalid::InvalidManifest};
pub use crate::json::InvalidJson;

use self::{
    document::{Document, Shape},
    keys::Reading,
};
use crate::{
    annotations::{Annotations, InvalidAnnotations},
    descriptor::Descriptor,
    digest::{AnyDigest, Digest},
    media_type::MediaType,
};
use std::sync::Arc;

/// Parsed manifest or index, with the fields that a registry needs.
///
/// ```
/// use registry_core::{MediaType, manifest::Manifest};
///
/// let document = r#"{
///     "schemaVersion": 2,
///     "mediaType": "application/vnd.oci.image.manifest.v1+json",
///     "config": {
///         "mediaType": "application/vnd.oci.empty.v1+json",
///         "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
///         "size": 2
///     },
///     "layers": []
/// }"#;
/// let manifest = Manifest::parse(document.as_bytes(), None)?;
///
/// assert_eq!(manifest.media_type().as_str(), MediaType::OCI_MANIFEST);
/// let sizes: Vec<u64> = manifest.blobs().iter().map(|blob| blob.size).collect();
/// assert_eq!(sizes, [2]);
///
/// let refused = Manifest::parse(document.replace("config", "Config").as_bytes(), None).unwrap_err();
/// assert!(refused.to_string().contains("at line 4 column"));
/// # Ok::<(), registry_core::manifest::InvalidManifest>(())
/// ```
#[derive(Clone, Debug)]
pub struct Manifest {
    media_type: MediaType,
    blobs: Vec<Child>,
    manifests: Vec<Child>,
    subject: Option<AnyDigest>,
    artifact_type: Option<Arc<str>>,
    annotations: Option<Annotations>,
    /// Reason for which a stored manifest is listed without its annotations.
    problem: Option<InvalidAnnotations>,
}

impl Manifest {
    /// Parses a manifest that was pushed with `content_type`.
    ///
    /// Its media type is its own `mediaType`, or else `content_type`. An unknown type is accepted if it ends
    /// in `+json`, and its known fields are read.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`] with the violated rule of the image specification and its place.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, InvalidManifest> {
        let document = Document::parse(bytes, Reading::Pushed)?;
        let media_type = document.media_type(content_type)?;
        let shape = Shape::of(&media_type);
        if !matches!(document.schema_version, Some(2)) && shape != Shape::Unknown {
            return Err(InvalidManifest::SchemaVersion);
        }
        let missing = |field| InvalidManifest::Missing {
            media_type: media_type.clone(),
            field,
        };
        match shape {
            Shape::Image if document.config.is_empty() => return Err(missing("config")),
            Shape::Image if document.layers.is_none() => return Err(missing("layers")),
            Shape::Index if !document.has_manifests() => return Err(missing("manifests")),
            Shape::Image | Shape::Index | Shape::Unknown => {}
        }
        if document.has_manifests() && document.has_image() {
            return Err(InvalidManifest::Ambiguous);
        }
        Self::of(document, media_type, shape)
    }

    /// Parses a stored manifest, which was accepted earlier under unknown rules with `media_type`.
    ///
    /// Keys are read regardless of case, as clients in Go do. If a key appears several times, all of its
    /// references count, and the last value of any other field.
    ///
    /// ```
    /// use registry_core::{MediaType, manifest::Manifest};
    ///
    /// // Another registry has accepted this document, which has neither config nor layers.
    /// let document = br#"{"schemaVersion":2}"#;
    /// let media_type = MediaType::parse(MediaType::OCI_MANIFEST)?;
    ///
    /// assert!(Manifest::parse(document, Some(&media_type)).is_err());
    /// assert!(Manifest::parse_stored(document, &media_type)?.blobs().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`] only if it cannot be read at all.
    pub fn parse_stored(bytes: &[u8], media_type: &MediaType) -> Result<Self, InvalidManifest> {
        let document = Document::parse(bytes, Reading::Stored)?;
        Self::of(document, media_type.clone(), Shape::of(media_type))
    }

    /// Converts a document of this type.
    fn of(document: Document<'_>, media_type: MediaType, shape: Shape) -> Result<Self, InvalidManifest> {
        let reading = document.reading;
        let own = document.artifact_type.as_deref().filter(|own| !own.is_empty());
        if let Some(own) = own.filter(|_| reading == Reading::Pushed) {
            MediaType::parse(own).map_err(|source| InvalidManifest::ArtifactType {
                text: document::quoted(own),
                source,
            })?;
        }
        let config = document.config.last().filter(|_| shape == Shape::Image);
        let of_config = config.map(|config| &*config.media_type);
        let artifact_type = own
            .or_else(|| of_config.filter(|of_config| !of_config.is_empty()))
            .map(Arc::from);
        let (annotations, problem) = document::annotations("the manifest", document.annotations, reading)?;
        let children = |field, descriptors| document::children(field, descriptors, reading);
        let mut blobs = children("config", document.config)?;
        blobs.append(&mut children(
            "layers",
            document.layers.flatten().unwrap_or_default(),
        )?);
        blobs.append(&mut children("blobs", document.blobs)?);
        let subject = children("subject", document.subject.into_iter().collect())?
            .pop()
            .map(|subject| subject.digest);
        Ok(Self {
            media_type,
            blobs,
            manifests: children("manifests", document.manifests.flatten().unwrap_or_default())?,
            subject,
            artifact_type,
            annotations,
            problem,
        })
    }

    /// Returns the media type of a document that was stored without one, as registry:2 determines it.
    ///
    /// It is its own `mediaType`. Without one, it is an OCI index if it has `manifests`, and an OCI manifest
    /// otherwise.
    ///
    /// ```
    /// use registry_core::{MediaType, manifest::Manifest};
    ///
    /// let media_type = Manifest::sniff_media_type(br#"{"schemaVersion":2,"manifests":[]}"#);
    /// assert_eq!(media_type.as_str(), MediaType::OCI_INDEX);
    /// ```
    #[must_use]
    pub fn sniff_media_type(bytes: &[u8]) -> MediaType {
        sniff::media_type(bytes)
    }

    /// Returns its own `mediaType`, or else the one it was pushed with.
    #[must_use]
    pub const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the blobs it refers to: config first, then the layers.
    #[must_use]
    pub fn blobs(&self) -> &[Child] {
        &self.blobs
    }

    /// Returns the entries of an index: manifests and other content, because some clients list blobs in an
    /// index.
    #[must_use]
    pub fn manifests(&self) -> &[Child] {
        &self.manifests
    }

    /// Returns the digests of its blobs and entries.
    pub(crate) fn named(&self) -> impl Iterator<Item = Digest> {
        let children = self.blobs.iter().chain(&self.manifests);
        children.filter_map(|child| child.digest.known().copied())
    }

    /// Returns its subject, the manifest that it refers to. It need not exist.
    #[must_use]
    pub const fn subject(&self) -> Option<&AnyDigest> {
        self.subject.as_ref()
    }

    /// Returns its annotations. A stored manifest whose annotations are malformed has none.
    #[must_use]
    pub const fn annotations(&self) -> Option<&Annotations> {
        self.annotations.as_ref()
    }

    /// Returns its subject, and the descriptor of this manifest for the list of the subject's referrers. This
    /// manifest has `digest` and `size` bytes. Returns `None` without a subject, or if the subject's digest
    /// algorithm is not supported here.
    ///
    /// ```
    /// use registry_core::{Algorithm, Digest, MediaType, manifest::Manifest};
    ///
    /// let subject = Digest::of(Algorithm::Sha256, b"the signed manifest");
    /// let signature = format!(
    ///     r#"{{
    ///         "mediaType": "application/vnd.example.signature+json",
    ///         "artifactType": "application/vnd.example.signature",
    ///         "subject": {{"mediaType": "{}", "digest": "{subject}", "size": 19}}
    ///     }}"#,
    ///     MediaType::OCI_MANIFEST,
    /// );
    /// let digest = Digest::of(Algorithm::Sha256, signature.as_bytes());
    ///
    /// let manifest = Manifest::parse(signature.as_bytes(), None)?;
    /// let (found, descriptor) = manifest.referrer(digest, signature.len() as u64).unwrap();
    /// assert_eq!(found, subject);
    /// assert_eq!(descriptor.artifact_type.as_deref(), Some("application/vnd.example.signature"));
    /// # Ok::<(), registry_core::manifest::InvalidManifest>(())
    /// ```
    #[must_use]
    pub fn referrer(&self, digest: Digest, size: u64) -> Option<(Digest, Descriptor)> {
        Some((*self.subject.as_ref()?.known()?, self.descriptor(digest, size)))
    }

    /// Returns the descriptor of this manifest for a list. This manifest has `digest` and `size` bytes.
    pub(crate) fn descriptor(&self, digest: Digest, size: u64) -> Descriptor {
        let mut descriptor = Descriptor::new(self.media_type.clone(), digest, size);
        descriptor.artifact_type.clone_from(&self.artifact_type);
        descriptor.annotations.clone_from(&self.annotations);
        if let Some(problem) = &self.problem {
            tracing::warn!(%digest, %problem, "a manifest is listed without its annotations");
        }
        descriptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn digest(of: &str) -> Digest {
        Digest::of(Algorithm::Sha256, of.as_bytes())
    }

    fn descriptor(of: &str) -> Value {
        json!({"mediaType": "application/octet-stream", "digest": digest(of).to_string(), "size": of.len()})
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": descriptor("config"), "layers": [descriptor("layer")],
        })
    }

    fn parse(document: &Value) -> Result<Manifest, InvalidManifest> {
        Manifest::parse(document.to_string().as_bytes(), None)
    }

    #[test]
    fn an_image_refers_to_its_config_and_layers() {
        let manifest = parse(&image()).unwrap();

        let digests: Vec<_> = manifest
            .blobs()
            .iter()
            .filter_map(|blob| blob.digest.known())
            .collect();
        assert_eq!(digests, [&digest("config"), &digest("layer")]);
        assert!(manifest.manifests().is_empty());
    }

    #[test]
    fn what_is_stored_is_read_by_no_rules_but_those_of_json() {
        let accepted_once = json!({"mediaType": MediaType::OCI_MANIFEST, "subject": descriptor("subject")});
        let bytes = accepted_once.to_string();
        assert!(Manifest::parse(bytes.as_bytes(), None).is_err());

        let media_type = MediaType::parse("application/x.other").unwrap();
        let manifest = Manifest::parse_stored(bytes.as_bytes(), &media_type).unwrap();

        assert_eq!(manifest.media_type(), &media_type);
        assert_eq!(manifest.subject(), Some(&digest("subject").into()));
        assert!(Manifest::parse_stored(b"{", &media_type).is_err());
    }

    #[test]
    fn an_index_refers_to_manifests_and_may_be_empty() {
        for media_type in [MediaType::OCI_INDEX, MediaType::DOCKER_LIST] {
            let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [descriptor("m")]});
            assert_eq!(parse(&index).unwrap().manifests().len(), 1);
        }
        let empty = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []});
        assert!(parse(&empty).unwrap().manifests().is_empty());
    }

    #[test]
    fn an_index_says_which_of_its_entries_are_manifests() {
        let mut index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []});
        let types = [
            MediaType::DOCKER_MANIFEST,
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "no media type",
        ];
        index["manifests"] = types
            .iter()
            .map(|media_type| {
                let mut entry = descriptor(media_type);
                entry["mediaType"] = json!(media_type);
                entry
            })
            .collect();

        let index = parse(&index).unwrap();

        let are: Vec<_> = index.manifests().iter().map(Child::is_manifest).collect();
        assert_eq!(are, [true, false, false]);
    }

    #[test]
    fn the_media_type_is_its_own_else_the_one_it_came_with() {
        let header = MediaType::known(MediaType::DOCKER_MANIFEST);
        let mut document = image();
        document.as_object_mut().unwrap().remove("mediaType");
        let bytes = document.to_string();

        let manifest = Manifest::parse(bytes.as_bytes(), Some(&header)).unwrap();
        assert_eq!(*manifest.media_type(), header);

        assert!(matches!(
            Manifest::parse(bytes.as_bytes(), None),
            Err(InvalidManifest::NoMediaType)
        ));
        let own = image().to_string();
        assert!(matches!(
            Manifest::parse(own.as_bytes(), Some(&header)),
            Err(InvalidManifest::MediaTypeMismatch { .. })
        ));
    }

    #[test]
    fn layers_say_where_they_live_elsewhere() {
        let mut document = image();
        let mut foreign = descriptor("foreign");
        foreign["urls"] = json!(["https://example.com/layer"]);
        let mut nondistributable = descriptor("nondistributable");
        nondistributable["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
        document["layers"] = json!([descriptor("layer"), foreign, nondistributable]);

        document["config"]["urls"] = json!(["https://example.com/config"]);
        let manifest = parse(&document).unwrap();

        let [config, layer, foreign, nondistributable] = manifest.blobs() else {
            unreachable!("a config and three layers");
        };
        assert!(nondistributable.is_nondistributable() && nondistributable.urls.is_empty());
        assert!(
            [config, layer, foreign]
                .iter()
                .all(|child| !child.is_nondistributable())
        );
        assert!(config.urls.is_empty() && layer.urls.is_empty());
        assert_eq!(foreign.urls, ["https://example.com/layer"]);
    }

    #[test]
    fn a_referrer_is_shown_with_its_artifact_type_or_that_of_its_config() {
        let mut document = image();
        document["subject"] = descriptor("subject");
        document["annotations"] = json!({"a": "b"});
        let own = digest("own");

        let (subject, shown) = parse(&document).unwrap().referrer(own, 7).unwrap();
        assert_eq!(subject, digest("subject"));
        assert_eq!((shown.digest, shown.size), (own, 7));
        assert_eq!(shown.artifact_type.as_deref(), Some("application/octet-stream"));
        assert_eq!(shown.annotations.unwrap().as_json(), r#"{"a":"b"}"#);

        document["artifactType"] = json!("application/vnd.example+type");
        let (_, shown) = parse(&document).unwrap().referrer(own, 7).unwrap();
        assert_eq!(
            shown.artifact_type.as_deref(),
            Some("application/vnd.example+type")
        );
    }

    #[test]
    fn an_artifact_type_is_a_media_type_when_it_is_pushed_and_a_text_where_it_is_stored() {
        let media_type = MediaType::known(MediaType::OCI_MANIFEST);
        for (artifact_type, of_config, accepted, shown) in [
            ("signature", "a/b", false, Some("signature")),
            ("a b/c", "a/b", false, Some("a b/c")),
            ("a/b; c=d", "a/b", true, Some("a/b; c=d")),
            ("", "config", true, Some("config")),
            ("", "", true, None),
        ] {
            let mut document = image();
            document["subject"] = descriptor("subject");
            document["artifactType"] = json!(artifact_type);
            document["config"]["mediaType"] = json!(of_config);

            let pushed = parse(&document);
            let stored = Manifest::parse_stored(document.to_string().as_bytes(), &media_type).unwrap();

            match pushed {
                Ok(_) => assert!(accepted, "{document}"),
                Err(error) => assert!(!accepted && error.to_string().contains("RFC 6838"), "{error}"),
            }
            let (_, listed) = stored.referrer(digest("own"), 1).unwrap();
            assert_eq!(listed.artifact_type.as_deref(), shown);
        }
    }

    #[test]
    fn a_key_that_clients_take_for_a_field_is_refused_unless_it_is_that_field_once() {
        let text = image().to_string();
        let index = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [descriptor("m")],
        });
        let index = index.to_string();
        let platform = index.replace(r#""size":1"#, r#""size":1,"platform":{"os":"linux"}"#);
        for (document, from, to, refused) in [
            (&text, "{", r#"{"Manifests":[],"#, "`manifests`"),
            (&text, "{", r#"{"MediaType":"a/b+json","#, "`mediaType`"),
            (&text, "{", r#"{"CONFIG":null,"#, "`config`"),
            (&text, "{", r#"{"\u017fubject":null,"#, "`subject`"),
            (&text, "{", "{\"\u{17f}ubject\":null,", "`subject`"),
            (&text, "{", r#"{"\u0063onfig":null,"#, "`config` appears twice"),
            (
                &text,
                "{",
                r#"{"annotations":{},"annotations":{},"#,
                "`annotations` appears twice",
            ),
            (&text, r#""layers""#, r#""Layers""#, "`layers`"),
            (&text, r#""size":6"#, r#""size":6,"Size":7"#, "`size`"),
            (
                &text,
                r#""size":6"#,
                r#""size":6,"size":6"#,
                "`size` appears twice",
            ),
            (&text, r#""size":5"#, r#""size":5,"URLS":[]"#, "`urls`"),
            (
                &text,
                r#""size":5"#,
                r#""size":5,"ArtifactType":"a/b""#,
                "`artifactType`",
            ),
            (
                &text,
                r#""size":5"#,
                r#""size":5,"data":"","data":"""#,
                "`data` appears twice",
            ),
            (&index, r#""size":1"#, r#""size":1,"Platform":null"#, "`platform`"),
            (&platform, r#""os":"#, r#""OS":"#, "`os`"),
            (
                &platform,
                r#""os":"#,
                r#""os.version":"1","os.Version":"2","os":"#,
                "`os.version`",
            ),
            (
                &platform,
                r#""os":"#,
                r#""os":"linux","os":"#,
                "`os` appears twice",
            ),
        ] {
            let changed = document.replacen(from, to, 1);
            assert_ne!(changed, *document);

            let error = Manifest::parse(changed.as_bytes(), None).unwrap_err();

            assert!(matches!(error, InvalidManifest::Json(_)), "{changed}: {error}");
            let message = error.to_string();
            assert!(
                message.contains(refused) && message.contains(" at line 1 column "),
                "{message}"
            );
        }
    }

    #[test]
    fn keys_that_are_no_fields_are_free() {
        let text = image().to_string();
        for (from, to) in [
            ("{", r#"{"Comment":1,"comment":2,"comment":3,"#),
            ("{", r#"{"annotations":{"Config":"a","config":"b"},"#),
            ("{", r#"{"own":{"config":1,"Config":2,"config":3},"#),
            ("{", r#"{"digest":"of a descriptor, not of a document","#),
            (r#""size":6"#, r#""size":6,"Config":1,"layers":2"#),
            (
                r#""size":6"#,
                r#""size":6,"annotations":{"Size":"a"},"data":"U2l6ZQ==""#,
            ),
            (r#""config":"#, r#""\u0063onfig":"#),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(Manifest::parse(changed.as_bytes(), None).is_ok(), "{changed}");
        }
    }

    #[test]
    fn what_is_stored_is_read_as_go_reads_it() {
        let stored = r#"{
            "mediaType": "a/b+json", "MEDIATYPE": 5, "layers": [LAYER], "LAYERS": [OTHER, {"digest": "DIGEST"}],
            "Config": "of somebody", "Subject": SUBJECT, "manifests": null,
            "artifactType": "a/first", "ArtifactType": "a/last"
        }"#;
        let stored = stored
            .replace("LAYER]", &format!("{}]", descriptor("layer")))
            .replace("OTHER", &descriptor("other").to_string())
            .replace("DIGEST", &digest("bare").to_string())
            .replace("SUBJECT", &descriptor("subject").to_string());
        let media_type = MediaType::known(MediaType::OCI_MANIFEST);
        assert!(Manifest::parse(stored.as_bytes(), Some(&media_type)).is_err());

        let manifest = Manifest::parse_stored(stored.as_bytes(), &media_type).unwrap();

        let blobs = manifest
            .blobs()
            .iter()
            .map(|blob| (blob.digest.clone(), blob.size));
        let expected = [("layer", 5), ("other", 5), ("bare", 0)];
        assert!(blobs.eq(expected.map(|(of, size)| (digest(of).into(), size))));
        assert_eq!(manifest.subject(), Some(&digest("subject").into()));
        let (_, shown) = manifest.referrer(digest("own"), 1).unwrap();
        assert_eq!(shown.artifact_type.as_deref(), Some("a/last"));
    }

    #[test]
    fn annotations_are_strings_on_manifests_and_on_descriptors() {
        for bad in [json!({"c": 5}), json!({"c": null}), json!([]), json!("c")] {
            let mut document = image();
            document["subject"] = descriptor("subject");
            document["annotations"] = bad.clone();
            assert!(matches!(
                parse(&document),
                Err(InvalidManifest::Annotations {
                    of: "the manifest",
                    ..
                })
            ));

            let media_type = MediaType::known(MediaType::OCI_MANIFEST);
            let stored = Manifest::parse_stored(document.to_string().as_bytes(), &media_type).unwrap();
            let (_, shown) = stored.referrer(digest("own"), 1).unwrap();
            assert_eq!(shown.annotations, None, "{document}");

            for field in ["config", "subject", "layers"] {
                let mut document = image();
                let mut annotated = descriptor(field);
                annotated["annotations"] = bad.clone();
                document[field] = if field == "layers" {
                    json!([annotated])
                } else {
                    annotated
                };
                let refused = parse(&document);
                assert!(
                    matches!(&refused, Err(InvalidManifest::Annotations { of, .. }) if *of == field),
                    "{document}"
                );
                assert!(Manifest::parse_stored(document.to_string().as_bytes(), &media_type).is_ok());
            }
        }
        let mut document = image();
        document["annotations"] = json!(null);
        document["config"]["annotations"] = json!(null);
        assert_eq!(parse(&document).unwrap().annotations(), None);
        document["annotations"] = json!({"a": "b"});
        assert_eq!(parse(&document).unwrap().annotations().unwrap().len(), 1);
        let twice = document.to_string().replace(r#""a":"b""#, r#""a":"b","a":"b""#);
        assert!(matches!(
            Manifest::parse(twice.as_bytes(), None),
            Err(InvalidManifest::Annotations { .. })
        ));
    }

    #[test]
    fn a_descriptor_is_an_object() {
        for list in [
            json!(["a/b", digest("x").to_string(), 1, null]),
            json!("text"),
            json!(null),
        ] {
            let mut document = image();
            document["layers"] = json!([list]);
            assert!(parse(&document).is_err(), "{document}");
        }
        let mut document = image();
        document["subject"] = json!(["a/b", digest("x").to_string(), 1, null]);
        assert!(parse(&document).is_err(), "{document}");
        assert!(Manifest::parse(br#"[2,"a/b+json"]"#, None).is_err());
    }

    #[test]
    fn unknown_fields_and_types_are_accepted() {
        let mut document = image();
        document["surprise"] = json!({"deep": [1, 2, {"er": null}]});
        document["layers"][0]["mediaType"] = json!("application/vnd.example.unheard-of");
        document["layers"][0]["digest"] = json!("blake3:00ff");
        assert_eq!(parse(&document).unwrap().blobs()[1].digest.known(), None);

        let unknown = json!({"mediaType": "application/vnd.example.thing+json", "blobs": [descriptor("b")]});
        assert_eq!(parse(&unknown).unwrap().blobs().len(), 1);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let with = |field: &str, value: Value| {
            let mut document = image();
            document[field] = value;
            document
        };
        let without = |field: &str| {
            let mut document = image();
            document.as_object_mut().unwrap().remove(field);
            document
        };
        for document in [
            json!([]),
            json!("text"),
            with("schemaVersion", json!(1)),
            without("schemaVersion"),
            without("config"),
            without("layers"),
            with("manifests", json!([])),
            with(
                "mediaType",
                json!("application/vnd.docker.distribution.manifest.v1+json"),
            ),
            with("mediaType", json!("application/json")),
            with("mediaType", json!("nonsense")),
            with(
                "layers",
                json!([{"mediaType": "a/b", "digest": "sha256:short", "size": 1}]),
            ),
            with(
                "layers",
                json!([{"mediaType": "a/b", "digest": digest("x").to_string(), "size": -1}]),
            ),
            with("layers", json!([{"digest": digest("x").to_string(), "size": 1}])),
            with("layers", json!({})),
        ] {
            assert!(parse(&document).is_err(), "{document}");
        }
        let twice = image().to_string().replacen('{', r#"{"config":null,"#, 1);
        assert!(Manifest::parse(twice.as_bytes(), None).is_err(), "a field twice");
        assert!(Manifest::parse(b"\xff{}", None).is_err(), "not UTF-8");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Manifest::parse(&bytes, Some(&MediaType::known(MediaType::OCI_MANIFEST)));
            let _ = Manifest::sniff_media_type(&bytes);
        }

        #[test]
        fn no_cut_or_changed_manifest_panics(at in 0usize..400, byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = image().to_string().into_bytes();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let _ = Manifest::parse(&bytes, None);
        }
    }
}
