//! The images that the victims push: each process computes the same ones.

use bytes::Bytes;
use registry_core::{Algorithm, Digest, MediaType};

/// Repository in which the steps of a script work.
pub(super) const STEPS: &str = "steps/all";
/// Repository that only a mount creates.
pub(super) const MOUNTED: &str = "steps/mounted";

/// Type of a document that states none, and that is not the one it is taken for.
const STATED_ELSEWHERE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A manifest with all that it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) blobs: Vec<Bytes>,
    pub(super) children: Vec<Name>,
    pub(super) document: Bytes,
    pub(super) digest: Digest,
    /// Media type, if the document does not state it.
    pub(super) media_type: Option<MediaType>,
}

/// The images of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    First,
    Second,
    Child,
    /// An index of `Child`.
    Index,
    /// A referrer of `First`.
    Signature,
    /// A document that does not state its type.
    Typed,
}

impl Name {
    pub(super) const ALL: [Self; 6] = [
        Self::First,
        Self::Second,
        Self::Child,
        Self::Index,
        Self::Signature,
        Self::Typed,
    ];

    pub(super) fn image(self) -> Image {
        let (image, index) = (MediaType::OCI_MANIFEST, MediaType::OCI_INDEX);
        match self {
            Self::First => image_of(&["first"], &state(image)),
            Self::Second => image_of(&["second"], &state(image)),
            Self::Child => image_of(&["child"], &state(image)),
            Self::Typed => Image {
                media_type: Some(MediaType::parse(STATED_ELSEWHERE).unwrap()),
                ..image_of(&["typed"], "")
            },
            Self::Index => {
                let manifests = describe(MediaType::OCI_MANIFEST, &Self::Child.image().document);
                Image {
                    children: vec![Self::Child],
                    ..document(format!(
                        r#"{{{}"schemaVersion":2,"manifests":[{manifests}]}}"#,
                        state(index)
                    ))
                }
            }
            Self::Signature => {
                let subject = describe(MediaType::OCI_MANIFEST, &Self::First.image().document);
                document(format!(
                    r#"{{{}"schemaVersion":2,"manifests":[],"subject":{subject}}}"#,
                    state(index)
                ))
            }
        }
    }

    /// Returns the image of a digest.
    pub(super) fn of(digest: &Digest) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.image().digest == *digest)
    }
}

/// Returns the image of a round of a worker of the load.
pub(super) fn of_load(worker: usize, round: usize) -> Image {
    let own = format!("load {worker} {round}");
    image_of(&[&own], &state(MediaType::OCI_MANIFEST))
}

/// A blob of every image.
pub(super) fn shared() -> Bytes {
    Bytes::from_static(b"shared")
}

/// A blob of no image.
pub(super) fn stray() -> Bytes {
    Bytes::from_static(b"stray")
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn state(media_type: &str) -> String {
    format!(r#""mediaType":"{media_type}","#)
}

fn describe(media_type: &str, bytes: &[u8]) -> String {
    let (digest, size) = (digest_of(bytes), bytes.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn image_of(layers: &[&str], stated: &str) -> Image {
    let own = layers.iter().map(|layer| Bytes::from((*layer).to_owned()));
    let blobs: Vec<Bytes> = own.chain([shared()]).collect();
    let layers: Vec<String> = blobs
        .iter()
        .map(|blob| describe("application/octet-stream", blob))
        .collect();
    let (config, layers) = (&layers[0], layers.join(","));
    Image {
        blobs,
        ..document(format!(
            r#"{{{stated}"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#
        ))
    }
}

fn document(text: String) -> Image {
    let document = Bytes::from(text);
    Image {
        blobs: Vec::new(),
        children: Vec::new(),
        digest: digest_of(&document),
        document,
        media_type: None,
    }
}
