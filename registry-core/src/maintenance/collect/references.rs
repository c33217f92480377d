//! Content that a document refers to.

use crate::{
    digest::{Algorithm, Digest},
    manifest::Manifest,
    media_type::MediaType,
};

/// Content that a document refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    /// Blobs and manifests that it consists of.
    pub(super) named: Vec<Digest>,
    pub(super) subject: Option<Digest>,
    /// True if the document could be parsed, so that nothing is missing and nothing is added.
    pub(super) is_certain: bool,
}

impl References {
    /// Reads a document whose bytes are whole.
    ///
    /// In a document of an unknown type, every text that is a digest counts: fields that this software does not know
    /// may refer to content as well.
    pub(super) fn of(bytes: &[u8], media_type: &MediaType) -> Self {
        let Ok(manifest) = Manifest::parse_stored(bytes, media_type) else {
            return Self::guessed(bytes);
        };
        let subject = manifest.subject().and_then(|subject| subject.known().copied());
        let mut named: Vec<Digest> = manifest.named().collect();
        if !media_type.is_manifest() || media_type.is_schema_1() {
            named.extend(digests_in(bytes).filter(|digest| Some(digest) != subject.as_ref()));
        }
        named.sort_unstable();
        named.dedup();
        Self {
            named,
            subject,
            is_certain: true,
        }
    }

    /// Returns every text of a damaged document that is a digest.
    pub(super) fn guessed(bytes: &[u8]) -> Self {
        let mut named: Vec<Digest> = digests_in(bytes).collect();
        named.sort_unstable();
        named.dedup();
        Self {
            named,
            subject: None,
            is_certain: false,
        }
    }
}

/// Finds every text that is a digest.
fn digests_in(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    let colons = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':');
    colons.flat_map(move |(colon, _)| {
        Algorithm::ALL.into_iter().filter_map(move |algorithm| {
            let start = colon.checked_sub(algorithm.as_str().len())?;
            let text = bytes.get(start..=colon + 2 * algorithm.len())?;
            Digest::parse(std::str::from_utf8(text).ok()?).ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn named(mut digests: Vec<Digest>) -> Vec<Digest> {
        digests.sort_unstable();
        digests
    }

    #[test]
    fn an_image_names_its_descriptors_and_nothing_else() {
        let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
        let [config, layer, subject, base] = ["config", "layer", "subject", "base"].map(digest);
        let descriptor = |digest: Digest| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
        let document = format!(
            r#"{{"config":{},"layers":[{}],"subject":{},"annotations":{{"base":"{base}"}}}}"#,
            descriptor(config),
            descriptor(layer),
            descriptor(subject),
        );

        let references = References::of(document.as_bytes(), &media_type);

        assert_eq!(references.named, named(vec![config, layer]));
        assert_eq!(references.subject, Some(subject));
        assert!(references.is_certain);
    }

    #[test]
    fn in_a_document_of_an_unknown_type_every_digest_counts() {
        let media_type = MediaType::parse("application/vnd.example+json").unwrap();
        let [known, unknown] = ["known", "unknown"].map(digest);
        let document = format!(
            r#"{{"layers":[{{"mediaType":"a/b","digest":"{known}","size":1}}],"parts":["{unknown}"]}}"#
        );

        let references = References::of(document.as_bytes(), &media_type);

        assert_eq!(references.named, named(vec![known, unknown]));
    }

    #[test]
    fn in_a_damaged_document_every_digest_counts() {
        let [one, two] = [
            Digest::of(Algorithm::Sha512, b"one"),
            Digest::of(Algorithm::Sha256, b"two"),
        ];
        let document = format!("\0\u{fffd}:sha256:{one}\"::{two}x sha256:abc :{}", "a".repeat(64));

        let references = References::guessed(document.as_bytes());

        assert_eq!(references.named, named(vec![one, two]));
        assert!(!references.is_certain);
        assert_eq!(References::guessed(b"").named, []);
    }
}
