//! Manifests, against a reading of the same JSON by hand.

use futures_util::FutureExt as _;
use registry_core::{
    Algorithm, Digest, Error, Limits, MediaType, Registry,
    manifest::{Child, Manifest},
    service::ManifestPush,
    storage::MemoryStorage,
};
use serde_json::{Map, Value};

/// Maximum size of messages in bytes, for any input of a client.
const MESSAGE: usize = 4 << 10;

/// Checks that an accepted manifest refers to exactly the digests in its JSON, for every way of reading it.
pub fn manifest(data: &[u8]) {
    let types = [
        None,
        Some(MediaType::OCI_MANIFEST),
        Some(MediaType::OCI_INDEX),
        Some("application/vnd.example.thing+json"),
    ];
    for media_type in types {
        let media_type = media_type.and_then(|text| MediaType::parse(text).ok());
        match Manifest::parse(data, media_type.as_ref()) {
            Ok(manifest) => accepted(data, media_type.as_ref(), &manifest),
            Err(invalid) => {
                let body = Error::from(invalid).body();
                assert!(body.len() < MESSAGE, "an answer of {} bytes", body.len());
            }
        }
    }
    let sniffed = Manifest::sniff_media_type(data);
    if let Ok(manifest) = Manifest::parse(data, Some(&sniffed)) {
        assert_eq!(manifest.media_type(), &sniffed);
    }
}

fn accepted(data: &[u8], header: Option<&MediaType>, manifest: &Manifest) {
    // What was accepted once can be read again, as the same.
    let stored = Manifest::parse_stored(data, manifest.media_type()).expect("what was accepted is read");
    assert_eq!(stored.blobs(), manifest.blobs());
    assert_eq!(stored.manifests(), manifest.manifests());
    assert_eq!(stored.subject(), manifest.subject());

    let digest = Digest::of(Algorithm::Sha256, data);
    let referrer = manifest.referrer(digest, data.len() as u64);
    let known = manifest.subject().and_then(|subject| subject.known());
    assert_eq!(referrer.as_ref().map(|(subject, _)| subject), known);
    if let Some((_, shown)) = referrer {
        assert_eq!((shown.digest, shown.size), (digest, data.len() as u64));
        assert_eq!(&shown.media_type, manifest.media_type());
    }

    // Numbers that JSON can spell and `Value` cannot hold, in fields that nobody reads.
    let Ok(document) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let own = document["mediaType"].as_str().filter(|own| !own.is_empty());
    match own {
        Some(own) => assert_eq!(MediaType::parse(own).ok().as_ref(), Some(manifest.media_type())),
        None => assert_eq!(header, Some(manifest.media_type())),
    }
    clear(
        &document,
        &[
            "schemaVersion",
            "mediaType",
            "artifactType",
            "config",
            "layers",
            "manifests",
            "blobs",
            "subject",
        ],
    );
    let descriptors = [&document["config"], &document["subject"]].into_iter();
    for descriptor in descriptors.chain(
        ["layers", "manifests", "blobs"]
            .iter()
            .flat_map(|key| list(&document[*key])),
    ) {
        assert!(descriptor.is_object() || descriptor.is_null(), "{descriptor}");
        clear(
            descriptor,
            &[
                "mediaType",
                "digest",
                "size",
                "urls",
                "data",
                "artifactType",
                "platform",
            ],
        );
    }
    let blobs = [&document["config"]]
        .into_iter()
        .filter(|config| !config.is_null());
    let blobs = blobs
        .chain(list(&document["layers"]))
        .chain(list(&document["blobs"]));
    assert_eq!(spelled(manifest.blobs()), named(blobs));
    assert_eq!(spelled(manifest.manifests()), named(list(&document["manifests"])));
    let subject = manifest.subject().map(ToString::to_string);
    assert_eq!(subject.as_deref(), document["subject"]["digest"].as_str());
    pushed(data, &document, manifest);
}

/// Checks that a client that folds the case of keys finds no other field here, and that each client can read the
/// annotations.
fn clear(object: &Value, fields: &[&str]) {
    let annotations = &object["annotations"];
    let texts = |all: &Map<String, Value>| all.values().all(Value::is_string);
    assert!(
        annotations.is_null() || annotations.as_object().is_some_and(texts),
        "{annotations}"
    );
    let fold = |key: &str| {
        key.replace('\u{17f}', "s")
            .replace('\u{212a}', "k")
            .to_ascii_lowercase()
    };
    for key in object.as_object().into_iter().flat_map(Map::keys) {
        let fields = fields.iter().chain(&["annotations"]);
        let mut taken_for = fields.filter(|field| fold(field) == fold(key));
        assert!(taken_for.all(|field| field == key), "{key}");
    }
}

/// Checks that a push is refused for a bound exactly if the document exceeds one.
fn pushed(data: &[u8], document: &Value, manifest: &Manifest) {
    let mut limits = Limits::default();
    limits.manifest_references = 3;
    limits.manifest_depth = 6;
    limits.annotations = 2;
    limits.annotation_bytes = 64;
    let registry = Registry::builder(MemoryStorage::new()).limits(limits).build();
    let repository = registry.repository("a").expect("a name");
    let digest = Digest::of(Algorithm::Sha256, data);
    let mut push = ManifestPush::new(digest, data.to_vec());
    push.media_type = Some(manifest.media_type().clone());

    let pushed = repository
        .put_manifest(push)
        .now_or_never()
        .expect("nothing here waits");

    let annotations = document["annotations"].as_object();
    let addresses: usize = manifest.blobs().iter().map(|blob| blob.urls.len()).sum();
    let over = manifest.blobs().len() + manifest.manifests().len() > limits.manifest_references
        || addresses > limits.manifest_references
        || depth(document) > limits.manifest_depth
        || annotations.is_some_and(|all| all.len() > limits.annotations);
    match pushed {
        // Its annotations may be too large as they were written, which `Value` has forgotten.
        Err(Error::ManifestLimit { .. }) => assert!(over || annotations.is_some(), "{document}"),
        Ok(_) | Err(Error::MissingReferences(_) | Error::MissingEntries(_)) => assert!(!over, "{document}"),
        Err(other) => panic!("{other}"),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn spelled(children: &[Child]) -> Vec<(String, u64)> {
    children
        .iter()
        .map(|child| (child.digest.to_string(), child.size))
        .collect()
}

fn named<'a>(descriptors: impl Iterator<Item = &'a Value>) -> Vec<(String, u64)> {
    descriptors
        .map(|descriptor| {
            (
                descriptor["digest"].as_str().unwrap_or_default().to_owned(),
                descriptor["size"].as_u64().unwrap_or(u64::MAX),
            )
        })
        .collect()
}
