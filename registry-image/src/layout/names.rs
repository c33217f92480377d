//! [`Names`]: the names of images in a layout or an archive.

use crate::document::{IMAGE_NAME, REF_NAME};
use registry_core::Tag;
use std::collections::BTreeMap;

/// Names of the images of one repository in a layout or an archive.
///
/// ```
/// use registry_image::Names;
///
/// let names = Names::of_repository("registry.example.com/team/app");
/// assert_eq!(names.repository(), Some("registry.example.com/team/app"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    repository: Option<String>,
    full: bool,
}

impl Names {
    /// Names images by their tags alone. docker, podman and containerd need more.
    #[must_use]
    pub const fn tags() -> Self {
        Self {
            repository: None,
            full: false,
        }
    }

    /// Names images by a repository and their tags. `repository` includes the host of the registry.
    #[must_use]
    pub fn of_repository(repository: impl Into<String>) -> Self {
        Self {
            repository: Some(repository.into()),
            full: false,
        }
    }

    /// Uses full names also where a tag is enough for one repository: in `org.opencontainers.image.ref.name`. Tags of
    /// several repositories can then be in one archive.
    #[must_use]
    pub fn full(self) -> Self {
        Self { full: true, ..self }
    }

    /// Returns the repository, with the host of its registry.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// Returns the full name of a tag, if there is one.
    pub(crate) fn full_name(&self, tag: &Tag) -> Option<String> {
        let repository = self.repository.as_ref()?;
        Some(format!("{repository}:{tag}"))
    }

    /// Returns the reference of a tag: itself, or the full name.
    pub(crate) fn reference(&self, tag: &Tag) -> String {
        let full = self.full_name(tag).filter(|_| self.full);
        full.unwrap_or_else(|| tag.to_string())
    }

    /// Returns the annotations of an entry.
    pub(crate) fn annotations(&self, tag: &Tag) -> BTreeMap<String, String> {
        let reference = (REF_NAME.to_owned(), self.reference(tag));
        let name = self.full_name(tag).map(|full| (IMAGE_NAME.to_owned(), full));
        [reference].into_iter().chain(name).collect()
    }
}
