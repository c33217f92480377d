//! [`Naming`]: names of the copies, from the names of the originals.

use super::name::Image;
use registry_core::Tag;

/// Name that replaces that of an image: `REPOSITORY[:TAG]`, where the repository may include a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rename {
    pub(super) repository: String,
    pub(super) tag: Option<Tag>,
}

/// Replacement of the beginning of names, on whole components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    from: String,
    to: String,
}

/// Rules for the repositories of copies.
#[derive(Clone, Debug, Default)]
pub(super) struct Naming {
    pub(super) rules: Vec<Rule>,
    pub(super) prefix: Option<String>,
    /// True if the name of a registry stays where no rule applies, as in an archive.
    pub(super) keeps_registry: bool,
}

impl Rename {
    /// Parses `REPOSITORY[:TAG]`, such as `registry.example.com:5000/team/app:v1`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (registry, rest) = split_registry(text);
        let image = Image::parse(rest)?;
        if image.reference.is_some() && image.tag().is_none() {
            return Err("a copy is named by a tag: write REPOSITORY or REPOSITORY:TAG".into());
        }
        let repository = match registry {
            Some(registry) => format!("{registry}/{}", image.repository),
            None => image.repository.to_string(),
        };
        Ok(Self {
            repository,
            tag: image.tag().cloned(),
        })
    }
}

impl Rule {
    /// Parses `FROM=TO`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
        match text.split_once('=') {
            Some((from, to)) if !trimmed(from).is_empty() && !trimmed(to).is_empty() => Ok(Self {
                from: trimmed(from),
                to: trimmed(to),
            }),
            _ => Err("write FROM=TO, such as docker.io/library=mirror/library".into()),
        }
    }

    fn applied(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(&self.from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", self.to))
    }
}

impl Naming {
    /// Returns the repository of the copy for a repository, which may begin with the name of a registry.
    pub(super) fn repository(&self, name: &str) -> String {
        let (registry, path) = split_registry(name);
        let mapped = self
            .rules
            .iter()
            .find_map(|rule| rule.applied(name).or_else(|| rule.applied(path)));
        match (mapped, &self.prefix, registry) {
            (mapped, Some(prefix), _) => {
                format!(
                    "{}/{}",
                    prefix.trim_end_matches('/'),
                    mapped.as_deref().unwrap_or(path)
                )
            }
            (Some(mapped), None, _) => mapped,
            (None, None, Some(_)) if self.keeps_registry => name.to_owned(),
            (None, None, _) => path.to_owned(),
        }
    }
}

/// Separates the name of a registry from that of a repository. As in every client, a registry has a dot or a colon, or is
/// `localhost`.
pub(super) fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => {
            (Some(registry), path)
        }
        _ => (None, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(rules: &[&str], prefix: Option<&str>, keeps_registry: bool) -> Naming {
        Naming {
            rules: rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect(),
            prefix: prefix.map(str::to_owned),
            keeps_registry,
        }
    }

    #[test]
    fn a_storage_has_no_registry_in_names_and_an_archive_has() {
        let (storage, archive) = (naming(&[], None, false), naming(&[], None, true));
        for (name, in_storage) in [
            ("registry.example.com:5000/team/app", "team/app"),
            ("localhost/app", "app"),
            ("team/app", "team/app"),
            ("busybox", "busybox"),
        ] {
            assert_eq!(storage.repository(name), in_storage);
            assert_eq!(archive.repository(name), name);
        }
    }

    #[test]
    fn the_first_rule_that_fits_whole_components_counts() {
        let naming = naming(&["docker.io/library=hub", "team=staging/team"], None, false);
        for (name, expected) in [
            ("docker.io/library/alpine", "hub/alpine"),
            ("docker.io/library", "hub"),
            ("registry.example.com/team/app", "staging/team/app"),
            ("teams/app", "teams/app"),
        ] {
            assert_eq!(naming.repository(name), expected);
        }
    }

    #[test]
    fn a_prefix_takes_the_place_of_the_registry() {
        let naming = naming(&["team=staging"], Some("registry.example.com/mirror/"), true);
        for (name, expected) in [
            (
                "docker.io/library/alpine",
                "registry.example.com/mirror/library/alpine",
            ),
            ("team/app", "registry.example.com/mirror/staging/app"),
        ] {
            assert_eq!(naming.repository(name), expected);
        }
    }

    #[test]
    fn a_rename_can_have_a_registry_and_a_tag() {
        for (text, repository, tag) in [
            ("team/app:v1", "team/app", Some("v1")),
            ("localhost:5000/app", "localhost:5000/app", None),
            (
                "registry.example.com/app:v2",
                "registry.example.com/app",
                Some("v2"),
            ),
        ] {
            let rename = Rename::parse(text).unwrap();
            assert_eq!(
                (&*rename.repository, rename.tag.as_ref().map(Tag::as_str)),
                (repository, tag)
            );
        }
        for wrong in ["", "Team", "app@sha256:x", ":v1"] {
            assert!(Rename::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Rule::parse("a=").is_err() && Rule::parse("a").is_err());
    }
}
