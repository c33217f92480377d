//! [`SeedName`]: the repository of a seed, and its tag or digest.

use super::error::SeedError;
use crate::registry::image_name::ImageName;
use registry_core::{Reference, RepositoryName};

/// End of a name without a tag: the content has only its digest, which the test need not know.
const DIGEST_ONLY: &str = "@sha256";

/// Name under which content is put into a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeedName {
    /// The name as it was given, for messages.
    pub(super) text: String,
    pub(super) repository: RepositoryName,
    /// Tag or digest. Without one, the content has only its digest.
    pub(super) reference: Option<Reference>,
}

impl SeedName {
    /// Parses the name of an image, or `REPOSITORY@sha256` for content without a tag.
    pub(super) fn parse(text: &str) -> Result<Self, SeedError> {
        let untagged = text.strip_suffix(DIGEST_ONLY);
        let name = match untagged {
            Some(repository) => ImageName::parse(repository),
            None => ImageName::parse(text),
        };
        let name = name.map_err(SeedError::Name)?;
        Ok(Self {
            text: text.to_owned(),
            repository: name.repository,
            reference: untagged.is_none().then_some(name.reference),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_tag_or_a_digest_or_neither() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, repository, reference) in [
            ("app:v1", "app", Some("v1")),
            ("app", "app", Some("latest")),
            ("team/app@sha256", "team/app", None),
            (&*format!("app@{digest}"), "app", Some(&*digest)),
        ] {
            let name = SeedName::parse(text).unwrap();
            assert_eq!(name.repository.as_str(), repository);
            assert_eq!(name.reference.map(|one| one.to_string()).as_deref(), reference);
        }
        assert!(matches!(SeedName::parse("App@sha256"), Err(SeedError::Name(_))));
    }
}
