//! Indexes narrowed to some platforms.

use crate::{document::Index, platform::Platform};
use serde::Deserialize;

#[derive(Deserialize)]
struct EntryPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// Fields of an entry of an index that narrowing needs.
#[derive(Deserialize)]
struct Entry {
    digest: String,
    platform: Option<EntryPlatform>,
    annotations: Option<EntryAnnotations>,
}

#[derive(Deserialize)]
pub(crate) struct EntryAnnotations {
    /// Digest of the image that an attestation of BuildKit describes.
    #[serde(rename = "vnd.docker.reference.digest")]
    pub(crate) describes: Option<String>,
}

/// Part of an index.
pub(crate) enum Narrowed {
    /// Digest of the only image of the wanted platforms.
    Image(String),
    /// An index of the images of the wanted platforms, with the descriptors as they were written.
    Index(Vec<u8>),
    /// The index is for wanted platforms only.
    Whole,
    /// The index has no image of this platform.
    Lacks(Platform),
}

/// Narrows an index to platforms.
pub(crate) fn narrow(index: &[u8], wanted: &[Platform]) -> serde_json::Result<Narrowed> {
    let mut index: Index = serde_json::from_slice(index)?;
    let entries = index.manifests.iter();
    let entries: Vec<Entry> = entries
        .map(|entry| serde_json::from_str(entry.get()))
        .collect::<Result<_, _>>()?;
    let admitted = |platform: &Platform, entry: &Entry| {
        let found = entry.platform.as_ref();
        found.is_some_and(|found| platform.admits(&found.os, &found.architecture, found.variant.as_deref()))
    };
    let mut images = Vec::new();
    for platform in wanted {
        // As for other tools, the first image of a platform counts.
        match entries.iter().find(|entry| admitted(platform, entry)) {
            Some(image) if images.contains(&&*image.digest) => {}
            Some(image) => images.push(&*image.digest),
            None => return Ok(Narrowed::Lacks(platform.clone())),
        }
    }
    if let [image] = *images {
        return Ok(Narrowed::Image(image.to_owned()));
    }
    let stays = |entry: &Entry| {
        let describes = entry
            .annotations
            .as_ref()
            .and_then(|known| known.describes.as_deref());
        images.contains(&describes.unwrap_or(&*entry.digest))
    };
    let mut keep = entries.iter().map(stays);
    if keep.clone().all(|stays| stays) {
        return Ok(Narrowed::Whole);
    }
    index.manifests.retain(|_| keep.next().unwrap_or_default());
    Ok(Narrowed::Index(serde_json::to_vec(&index)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r#"{"manifests":[
        {"digest":"sha256:a","platform":{"os":"linux","architecture":"amd64"}, "size":1},
        {"digest":"sha256:b","platform":{"os":"linux","architecture":"arm64"}},
        {"digest":"sha256:c","platform":{"os":"linux","architecture":"arm","variant":"v7"}},
        {"digest":"sha256:d","platform":{"os":"unknown","architecture":"unknown"},
            "annotations":{"vnd.docker.reference.digest":"sha256:a"}}],
        "annotations":{"x":"y"},"mediaType":"m","schemaVersion":2}"#;

    fn narrowed(platforms: &[&str]) -> Narrowed {
        let wanted: Vec<_> = platforms.iter().map(|text| text.parse().unwrap()).collect();
        narrow(INDEX.as_bytes(), &wanted).unwrap()
    }

    #[test]
    fn one_platform_selects_its_image() {
        for (platform, digest) in [
            ("linux/amd64", "sha256:a"),
            ("linux/arm64", "sha256:b"),
            ("linux/arm64/v8", "sha256:b"),
            ("linux/arm", "sha256:c"),
            ("linux/arm/v7", "sha256:c"),
        ] {
            assert!(
                matches!(narrowed(&[platform]), Narrowed::Image(found) if found == digest),
                "{platform}"
            );
        }
        assert!(matches!(narrowed(&["linux/arm/v6"]), Narrowed::Lacks(_)));
        assert!(matches!(
            narrowed(&["linux/amd64", "windows/amd64"]),
            Narrowed::Lacks(_)
        ));
    }

    #[test]
    fn several_platforms_keep_their_entries_as_written_with_their_attestations() {
        let Narrowed::Index(bytes) = narrowed(&["linux/arm64", "linux/amd64"]) else {
            panic!("an index of two images and an attestation");
        };
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            concat!(
                r#"{"schemaVersion":2,"mediaType":"m","manifests":["#,
                r#"{"digest":"sha256:a","platform":{"os":"linux","architecture":"amd64"}, "size":1},"#,
                r#"{"digest":"sha256:b","platform":{"os":"linux","architecture":"arm64"}},"#,
                "{\"digest\":\"sha256:d\",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"},\n",
                r#"            "annotations":{"vnd.docker.reference.digest":"sha256:a"}}],"#,
                r#""annotations":{"x":"y"}}"#
            )
        );
        let all = narrowed(&["linux/arm64", "linux/amd64", "linux/arm"]);
        assert!(matches!(all, Narrowed::Whole));
    }
}
