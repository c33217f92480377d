//! [`Image`]: the content that a command is about.

use registry_core::{Reference, RepositoryName};

/// A repository, or a tag or manifest in it, as an operator writes it: `REPOSITORY`, `REPOSITORY:TAG` or
/// `REPOSITORY@DIGEST`.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) repository: String,
    /// Tag or digest.
    pub(super) reference: Option<String>,
}

impl Image {
    /// Parses the argument of a command. The error quotes it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (repository, reference) = match (text.split_once('@'), text.rsplit_once(':')) {
            (Some((repository, digest)), _) => (repository, Some(digest)),
            (None, Some((repository, tag))) if !tag.contains('/') => (repository, Some(tag)),
            _ => (text, None),
        };
        if let Err(error) = RepositoryName::parse(repository) {
            return Err(match without_address(text) {
                Some(rest) => format!("{text}: leave out the address of the registry, as in {rest}"),
                None => format!("{text}: {error}"),
            });
        }
        let parsed = reference.map(Reference::parse).transpose();
        parsed.map_err(|error| format!("{text}: {error}"))?;
        Ok(Self {
            repository: repository.to_owned(),
            reference: reference.map(str::to_owned),
        })
    }
}

/// Returns the name without the address of a registry, which clients write in front of it.
fn without_address(text: &str) -> Option<&str> {
    let (address, rest) = text.split_once('/')?;
    (address.contains([':', '.']) || address == "localhost").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_can_have_a_tag_or_a_digest() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, repository, reference) in [
            ("team/app", "team/app", None),
            ("team/app:v1", "team/app", Some("v1")),
            (&*format!("team/app@{digest}"), "team/app", Some(digest)),
        ] {
            let image = Image::parse(text).unwrap();
            assert_eq!(
                (&*image.repository, image.reference.as_deref()),
                (repository, reference)
            );
        }
    }

    #[test]
    fn a_refusal_quotes_the_argument_and_helps() {
        for (text, helps) in [
            (
                "localhost:5000/team/app:v1",
                "leave out the address of the registry, as in team/app:v1",
            ),
            (
                "registry.example:5000/app",
                "leave out the address of the registry, as in app",
            ),
            ("Team/app:v1", "Team/app:v1: "),
            ("team/app:", "team/app:: "),
            ("team/app@sha256:x", "team/app@sha256:x: "),
        ] {
            let refused = Image::parse(text).unwrap_err();
            assert!(refused.contains(helps), "{refused}");
        }
    }
}
