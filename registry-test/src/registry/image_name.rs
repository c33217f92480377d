//! [`ImageName`]: an image as tests name it, such as `team/app:v1`.

use registry_core::{Reference, RepositoryName, Tag};

/// Repository and reference of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageName {
    pub(crate) repository: RepositoryName,
    pub(crate) reference: Reference,
}

impl ImageName {
    /// Parses `REPOSITORY:TAG`, `REPOSITORY@DIGEST`, or `REPOSITORY` for the tag `latest`.
    ///
    /// # Errors
    ///
    /// A message with advice.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let malformed = |error: &dyn std::fmt::Display| {
            format!(
                "cannot parse the image {name:?}: {error}; write REPOSITORY:TAG or REPOSITORY@DIGEST without a host"
            )
        };
        let (repository, reference) = match name.split_once('@') {
            Some((repository, digest)) => {
                // The tag of `REPOSITORY:TAG@DIGEST` counts for nothing, as with docker.
                let repository = repository
                    .split_once(':')
                    .map_or(repository, |(repository, _)| repository);
                let digest = digest.parse().map_err(|error| malformed(&error))?;
                (repository, Reference::Digest(digest))
            }
            None => {
                let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
                let tag = Tag::parse(tag).map_err(|error| malformed(&error))?;
                (repository, Reference::Tag(tag))
            }
        };
        Ok(Self {
            repository: RepositoryName::parse(repository).map_err(|error| malformed(&error))?,
            reference,
        })
    }

    /// Parses a name that a test has written.
    ///
    /// # Panics
    ///
    /// If it is malformed, with advice.
    #[track_caller]
    pub(crate) fn of(name: &str) -> Self {
        match Self::parse(name) {
            Ok(parsed) => parsed,
            Err(message) => panic!("{message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_name_is_a_repository_and_a_tag_or_digest() {
        for (name, repository, reference) in [
            ("team/app:v1", "team/app", "v1"),
            ("app", "app", "latest"),
            (&format!("a/b@{DIGEST}"), "a/b", DIGEST),
            (&format!("a/b:v1@{DIGEST}"), "a/b", DIGEST),
        ] {
            let parsed = ImageName::of(name);
            assert_eq!(parsed.repository.as_str(), repository, "{name}");
            assert_eq!(parsed.reference.to_string(), reference, "{name}");
        }
    }

    #[test]
    fn a_malformed_name_is_refused_with_advice() {
        for name in [
            "",
            "App:v1",
            "app:",
            "app:a b",
            "app@sha256:1",
            "127.0.0.1:5000/app:v1",
        ] {
            let message = ImageName::parse(name).unwrap_err();
            assert!(message.contains("REPOSITORY:TAG"), "{message}");
        }
    }
}
