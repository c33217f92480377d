//! [`Entry`]: an image that a layout lists.

use super::files::{Files, blob_path, read_document};
use crate::{
    blob_list::BlobList,
    document::{BASE, IMAGE_NAME, LEFT_OUT, REF_NAME},
    error::Error,
    printable,
    source::LeftOut,
};
use registry_core::{AnyDigest, Descriptor, Digest, MediaType, Tag, manifest::Manifest};
use serde::Deserialize;
use std::collections::BTreeSet;

pub(crate) const INDEX: &str = "index.json";
pub(crate) const MARKER: &str = "oci-layout";

/// An entry of `index.json`: an image, an index or an artifact, with its names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    pub(crate) names: Vec<String>,
    reference: Option<String>,
}

impl Entry {
    pub(crate) const fn new(descriptor: Descriptor, names: Vec<String>, reference: Option<String>) -> Self {
        Self {
            descriptor,
            names,
            reference,
        }
    }

    /// Returns its annotation `org.opencontainers.image.ref.name`: a tag, or a full name.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// Returns its full names, such as `registry.example.com/team/app:v1`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns its tags, without the repositories.
    #[must_use]
    pub fn tags(&self) -> BTreeSet<Tag> {
        let of_names = self.names.iter().filter_map(|name| split(name)?.1);
        let own = self.reference.iter().filter_map(|own| Tag::parse(own).ok());
        of_names.chain(own).collect()
    }

    pub(super) fn has_name(&self) -> bool {
        !self.names.is_empty() || self.reference.is_some()
    }

    pub(super) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|name| Some(split(name)?.0))
    }
}

/// Returns the repository and the tag of a full name. A text without a slash or colon is a tag alone.
pub(crate) fn split(name: &str) -> Option<(&str, Option<Tag>)> {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((repository, tag)) if !tag.contains('/') => Some((repository, Tag::parse(tag).ok())),
        _ if name.contains('/') => Some((name, None)),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Content of `index.json`.
pub(super) struct Listed {
    pub(super) entries: Vec<Entry>,
    pub(super) left_out: Option<LeftOut>,
}

/// Reads the entries of a layout.
pub(super) fn read(files: &dyn Files) -> Result<Listed, Error> {
    let place = files.place();
    let marker = read_document(files, MARKER)?;
    let marker =
        marker.ok_or_else(|| Error::layout(place, MARKER, "missing, so this is not an OCI layout"))?;
    let marker: Marker =
        serde_json::from_slice(&marker).map_err(|error| Error::layout(place, MARKER, error.to_string()))?;
    if !marker.image_layout_version.starts_with("1.") {
        let reason = format!("unknown version {:?} of the layout", marker.image_layout_version);
        return Err(Error::layout(place, MARKER, reason));
    }
    let index = read_document(files, INDEX)?;
    let index = index.ok_or_else(|| Error::layout(place, INDEX, "missing, so the layout is incomplete"))?;
    let refused = |reason| Error::layout(place, INDEX, reason);
    let media_type = MediaType::parse(MediaType::OCI_INDEX).expect("a constant is well-formed");
    let index = Manifest::parse_stored(&index, &media_type).map_err(|error| refused(error.to_string()))?;
    Ok(Listed {
        entries: entries(&index).map_err(refused)?,
        left_out: left_out(files, &index)?,
    })
}

/// Reads the list of the blobs that an incremental archive leaves out.
fn left_out(files: &dyn Files, index: &Manifest) -> Result<Option<LeftOut>, Error> {
    let annotations = index.annotations().map(registry_core::Annotations::to_map);
    let annotations = annotations.unwrap_or_default();
    let (base, list) = match (annotations.get(BASE), annotations.get(LEFT_OUT)) {
        (None, None) => return Ok(None),
        (base, list) => (base.map_or("", String::as_str), list.map_or("", String::as_str)),
    };
    let refused = |reason: String| Error::layout(files.place(), INDEX, reason);
    let parsed = |key: &str, digest: &str| {
        let parsed = Digest::parse(digest);
        parsed.map_err(|error| refused(format!("the annotation {key:?} is malformed: {error}")))
    };
    let (base, list) = (parsed(BASE, base)?, parsed(LEFT_OUT, list)?);
    let path = blob_path(&list);
    let bytes = read_document(files, &path)?;
    let refused = |reason: String| Error::layout(files.place(), &path, reason);
    let bytes = bytes.ok_or_else(|| {
        refused(
            "missing, but the annotations of the index say that it lists the blobs which are left out".into(),
        )
    })?;
    let actual = Digest::of(list.algorithm(), &bytes);
    if actual != list {
        return Err(Error::Digest {
            place: files.place().to_owned(),
            digest: list,
            actual,
        });
    }
    let blobs = BlobList::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    Ok(Some(LeftOut::new(base, blobs)))
}

fn entries(index: &Manifest) -> Result<Vec<Entry>, String> {
    let entries = index.manifests().iter().map(|child| {
        let AnyDigest::Known(digest) = &child.digest else {
            return Err(format!("the algorithm of {} is not supported", child.digest));
        };
        let media_type = child.media_type.clone();
        let media_type = media_type.ok_or_else(|| format!("the entry {digest} has no media type"))?;
        let mut annotations = child.annotations.as_ref().map(registry_core::Annotations::to_map);
        let mut named = |name| annotations.as_mut().and_then(|found| found.remove(name));
        let (reference, full) = (named(REF_NAME), named(IMAGE_NAME));
        for name in reference.iter().chain(&full) {
            check_name(name)?;
        }
        let mut names: Vec<_> = full.into_iter().collect();
        // The annotation of the specification has a full name if the archive is of several repositories.
        names.extend(
            reference
                .clone()
                .filter(|text| text.contains('/') && !names.contains(text)),
        );
        Ok(Entry::new(
            Descriptor::new(media_type, *digest, child.size),
            names,
            reference,
        ))
    });
    entries.collect()
}

/// Refuses a name that a terminal would not show as it is.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match name.contains(printable::is_control) {
        true => Err(format!("the name {name:?} has control characters")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_repository_and_a_tag() {
        for (name, repository, tag) in [
            (
                "registry.example.com:5000/team/app:v1",
                "registry.example.com:5000/team/app",
                Some("v1"),
            ),
            ("localhost:5000/app", "localhost:5000/app", None),
            (
                "docker.io/library/busybox:latest",
                "docker.io/library/busybox",
                Some("latest"),
            ),
            ("busybox:1.36", "busybox", Some("1.36")),
            ("h/app:v1@sha256:0000", "h/app", Some("v1")),
        ] {
            let (found, found_tag) = split(name).unwrap();
            assert_eq!(
                (found, found_tag.as_ref().map(Tag::as_str)),
                (repository, tag),
                "{name}"
            );
        }
        assert!(split("v1").is_none());
    }
}
