//! Names of the copies, before anything is copied.

use super::{naming::Naming, source::Batch};
use registry_core::{Reference, Tag};
use std::collections::BTreeMap;

/// Name that the target or `--as` gives to the copies, in place of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    pub(super) repository: Option<String>,
    pub(super) tag: Option<Tag>,
}

/// Gives the copies their repositories and tags. `needs_repository` is true for a target in which every image has one.
pub(super) fn named(
    mut batches: Vec<Batch>,
    naming: &Naming,
    fixed: &Fixed,
    needs_repository: bool,
) -> Result<Vec<Batch>, String> {
    let images: usize = batches.iter().map(|batch| batch.items.len()).sum();
    if let Some(tag) = &fixed.tag {
        if images != 1 {
            return Err(format!(
                "{images} images cannot all have the tag {tag}: select one, or leave out the tag"
            ));
        }
        for item in batches.iter_mut().flat_map(|batch| &mut batch.items) {
            item.tags = vec![tag.clone()];
        }
    }
    let mut taken = BTreeMap::new();
    for batch in &mut batches {
        let own = batch.repository.as_deref().map(|name| naming.repository(name));
        batch.repository = fixed.repository.clone().or(own);
        if batch.repository.is_none() && needs_repository {
            return Err(format!(
                "{} does not name the repository of its image; name it, as in --as team/app:v1",
                batch.source.describe()
            ));
        }
        let tags = batch
            .items
            .iter()
            .flat_map(|item| item.tags.iter().map(|tag| (tag, &item.from)));
        for (tag, from) in tags {
            let earlier = taken.insert((batch.repository.clone(), tag.clone()), from.clone());
            // Two archives may have the same image.
            let is_same = |earlier: Reference| matches!(earlier, Reference::Digest(_)) && earlier == *from;
            if earlier.is_some_and(|earlier| !is_same(earlier)) {
                let repository = batch.repository.as_deref().unwrap_or_default();
                return Err(format!(
                    "two images would be copied to {repository}:{tag}; select one of them, or keep their repositories"
                ));
            }
        }
    }
    Ok(batches)
}

/// Returns the name of a copy.
pub(super) fn shown(repository: Option<&str>, tag: Option<&Tag>, digest: impl std::fmt::Display) -> String {
    match (repository, tag) {
        (Some(repository), Some(tag)) => format!("{repository}:{tag}"),
        (Some(repository), None) => format!("{repository}@{digest}"),
        (None, Some(tag)) => tag.to_string(),
        (None, None) => digest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::{Registry, storage::MemoryStorage};
    use registry_image::CopyItem;
    use std::sync::Arc;

    fn batch(repository: Option<&str>, tags: &[&str]) -> Batch {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let tags = tags.iter().map(|tag| Tag::parse(tag).unwrap());
        Batch {
            source: Arc::new(registry.repository("source").unwrap()),
            repository: repository.map(str::to_owned),
            items: tags.map(CopyItem::tag).collect(),
        }
    }

    fn named_as(
        batches: Vec<Batch>,
        repository: Option<&str>,
        tag: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let fixed = Fixed {
            repository: repository.map(str::to_owned),
            tag: tag.map(|tag| Tag::parse(tag).unwrap()),
        };
        let batches = named(batches, &Naming::default(), &fixed, true)?;
        let names = batches.iter().flat_map(|batch| {
            let tags = batch.items.iter().flat_map(|item| &item.tags);
            tags.map(|tag| shown(batch.repository.as_deref(), Some(tag), ""))
        });
        Ok(names.collect())
    }

    #[test]
    fn copies_have_the_names_of_the_originals_or_the_given_one() {
        let one = || vec![batch(Some("registry.example.com/team/app"), &["v1"])];
        assert_eq!(named_as(one(), None, None).unwrap(), ["team/app:v1"]);
        assert_eq!(named_as(one(), Some("other"), None).unwrap(), ["other:v1"]);
        assert_eq!(named_as(one(), Some("other"), Some("v2")).unwrap(), ["other:v2"]);
    }

    #[test]
    fn no_two_images_get_the_same_name() {
        let two = || vec![batch(Some("a"), &["v1"]), batch(Some("b"), &["v1"])];
        assert_eq!(named_as(two(), None, None).unwrap(), ["a:v1", "b:v1"]);
        let refused = named_as(two(), Some("c"), None).unwrap_err();
        assert!(refused.contains("c:v1"), "{refused}");
        let refused = named_as(two(), None, Some("v2")).unwrap_err();
        assert!(refused.starts_with("2 images"), "{refused}");
    }

    #[test]
    fn an_image_without_a_repository_needs_a_name() {
        let refused = named_as(vec![batch(None, &["v1"])], None, None).unwrap_err();
        assert!(refused.contains("--as"), "{refused}");
        assert_eq!(
            named_as(vec![batch(None, &["v1"])], Some("a"), None).unwrap(),
            ["a:v1"]
        );
    }
}
