//! [`Batch`]: the images that a name selects, by repository.

use super::{
    failure::Failure,
    name::Image,
    naming::{Rename, split_registry},
    options::Selection,
};
use crate::control::ImageStorage;
use futures_util::TryStreamExt as _;
use registry_core::{Digest, Reference, Tag, manifest::Manifest};
use registry_image::{CopyItem, Entry, Layout, Source, walk};
use std::{collections::BTreeSet, sync::Arc};

/// Number of names in a message.
const NAMES: usize = 10;

/// Images of one repository, or of an archive that names no repository.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) source: Arc<dyn Source>,
    /// Name of the repository, with that of its registry if there is one.
    pub(super) repository: Option<String>,
    pub(super) items: Vec<CopyItem>,
}

/// Returns the selected images of a repository.
pub(super) async fn of_repository(
    source: Arc<dyn Source>,
    repository: String,
    reference: Option<&Reference>,
    selection: &Selection,
) -> Result<Batch, Failure> {
    let items = match reference {
        Some(reference) if selection.selects_tags() => {
            return Err(
                format!("{repository}:{reference}: leave out the tag, or --tags and --all-tags").into(),
            );
        }
        Some(Reference::Digest(digest)) => vec![CopyItem::digest(*digest)],
        Some(Reference::Tag(tag)) => vec![CopyItem::tag(tag.clone())],
        None if selection.selects_tags() => {
            let tags: Vec<Tag> = walk::tags(&*source)
                .try_filter(|tag| std::future::ready(selection.takes(tag)))
                .try_collect()
                .await?;
            tags.into_iter().map(CopyItem::tag).collect()
        }
        None => vec![CopyItem::tag(
            Tag::parse("latest").expect("a constant is well-formed"),
        )],
    };
    Ok(Batch {
        source,
        repository: Some(repository),
        items,
    })
}

/// Returns the selected images of a storage: of one repository, or of all.
pub(super) async fn of_storage(
    storage: &ImageStorage,
    images: &[Image],
    selection: &Selection,
) -> Result<Vec<Batch>, Failure> {
    let mut batches: Vec<Batch> = Vec::new();
    for image in images {
        let source = storage.source(&image.repository);
        let reference = image.reference.as_ref();
        let batch = of_repository(source, image.repository.to_string(), reference, selection).await?;
        if batch.items.is_empty() {
            return Err(nothing_selected(image.repository.as_str()));
        }
        batches.push(batch);
    }
    if !images.is_empty() {
        return Ok(joined(batches));
    }
    let all = Selection {
        all_tags: selection.tags.is_none(),
        ..selection.clone()
    };
    for name in storage.repositories().await? {
        let source = storage.source(&name);
        let batch = of_repository(source, name.to_string(), None, &all).await?;
        batches.extend(Some(batch).filter(|batch| !batch.items.is_empty()));
    }
    Ok(batches)
}

/// Joins the batches of the same repository, so that an archive with two of its tags is one of one repository.
fn joined(batches: Vec<Batch>) -> Vec<Batch> {
    let mut joined: Vec<Batch> = Vec::new();
    for batch in batches {
        match joined
            .iter_mut()
            .find(|known| known.repository == batch.repository)
        {
            Some(known) => known.items.extend(batch.items),
            None => joined.push(batch),
        }
    }
    joined
}

pub(super) fn nothing_selected(place: &str) -> Failure {
    format!("{place} has no tag that is selected; `registry ls` lists the tags of a storage").into()
}

impl Selection {
    pub(super) const fn selects_tags(&self) -> bool {
        self.all_tags || self.tags.is_some()
    }

    fn takes(&self, tag: &Tag) -> bool {
        self.tags.as_ref().is_none_or(|glob| glob.matches(tag.as_str()))
    }
}

/// A name of an entry of a layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EntryName {
    repository: Option<String>,
    tag: Tag,
}

/// Returns the selected images of a layout or an archive.
pub(super) async fn of_layout(
    layout: Layout,
    selected: Option<&str>,
    selection: &Selection,
) -> Result<Vec<Batch>, Failure> {
    let place = layout.describe();
    let source = Arc::new(layout.clone());
    let mut batches: Vec<Batch> = Vec::new();
    let mut nameless = Vec::new();
    for entry in layout.entries() {
        let names: BTreeSet<EntryName> = names(entry);
        let digest = entry.descriptor.digest;
        if names.is_empty() {
            let is_wanted = selected.is_none_or(|selected| is_digest(selected, &digest));
            if is_wanted && selection.tags.is_none() && !is_referrer(&layout, &digest).await? {
                nameless.push(digest);
            }
            continue;
        }
        let wanted = names.into_iter().filter(|name| {
            selected.is_none_or(|selected| name.is(selected) || is_digest(selected, &digest))
                && selection.takes(&name.tag)
        });
        for EntryName { repository, tag } in wanted {
            add(&mut batches, &source, repository, digest, Some(tag));
        }
    }
    // Entries without a repository belong to the only one that there is.
    let mut repositories: BTreeSet<_> = batches.iter().map(|batch| batch.repository.clone()).collect();
    repositories.remove(&None);
    let only = (repositories.len() == 1)
        .then(|| repositories.pop_first().flatten())
        .flatten();
    for batch in &mut batches {
        batch.repository = batch.repository.take().or_else(|| only.clone());
    }
    for digest in nameless {
        add(&mut batches, &source, only.clone(), digest, None);
    }
    if batches.is_empty() {
        return Err(match selected {
            Some(selected) => format!("{place} has no image {selected}; it has {}", listed(&layout)).into(),
            None if selection.tags.is_some() => {
                format!("{place} has no tag that matches; it has {}", listed(&layout)).into()
            }
            None => format!("{place} has no images").into(),
        });
    }
    Ok(joined(batches))
}

fn add(
    batches: &mut Vec<Batch>,
    source: &Arc<Layout>,
    repository: Option<String>,
    digest: Digest,
    tag: Option<Tag>,
) {
    let at = batches.iter().position(|batch| batch.repository == repository);
    let items = match at.and_then(|at| batches.get_mut(at)) {
        Some(batch) => &mut batch.items,
        None => {
            batches.push(Batch {
                source: Arc::<Layout>::clone(source),
                repository,
                items: Vec::new(),
            });
            &mut batches.last_mut().expect("a batch was added").items
        }
    };
    let from = Reference::from(digest);
    match items.iter_mut().find(|item| item.from == from) {
        Some(item) => item.tags.extend(tag),
        None => items.push(CopyItem::digest(digest).with_tags(tag)),
    }
}

fn names(entry: &Entry) -> BTreeSet<EntryName> {
    let full = entry.names().iter().filter_map(|name| {
        let name = Rename::parse(name).ok()?;
        Some(EntryName {
            tag: name.tag?,
            repository: Some(name.repository),
        })
    });
    let names: BTreeSet<_> = full.collect();
    if !names.is_empty() {
        return names;
    }
    let tags = entry.tags().into_iter();
    tags.map(|tag| EntryName {
        repository: None,
        tag,
    })
    .collect()
}

impl EntryName {
    /// Returns true if a user means this name. As for docker, `alpine` is `docker.io/library/alpine:latest`.
    fn is(&self, text: &str) -> bool {
        if text == self.tag.as_str() {
            return true;
        }
        let latest = format!("{text}:latest");
        let text = if split_registry(text).1.contains(':') {
            text
        } else {
            &latest
        };
        let full = self.to_string();
        let short = split_registry(&full).1;
        let familiar = full
            .strip_prefix("docker.io/library/")
            .or_else(|| full.strip_prefix("docker.io/"));
        [Some(&*full), Some(short), familiar].contains(&Some(text))
    }
}

impl std::fmt::Display for EntryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.repository {
            Some(repository) => write!(f, "{repository}:{}", self.tag),
            None => self.tag.fmt(f),
        }
    }
}

fn is_digest(text: &str, digest: &Digest) -> bool {
    text.trim_start_matches('@') == digest.to_string()
}

/// Returns true for a manifest whose subject is in the layout: it is copied with that.
async fn is_referrer(layout: &Layout, digest: &Digest) -> Result<bool, Failure> {
    let Some(manifest) = layout.manifest(digest).await? else {
        return Ok(false);
    };
    let parsed = Manifest::parse_stored(&manifest.bytes, &manifest.media_type).ok();
    let subject = parsed.and_then(|parsed| parsed.subject()?.known().copied());
    match subject {
        Some(subject) => Ok(layout.manifest(&subject).await?.is_some()),
        None => Ok(false),
    }
}

/// Lists some of the names in a layout, for a message.
fn listed(layout: &Layout) -> String {
    let mut listed: Vec<_> = layout
        .entries()
        .iter()
        .flat_map(|entry| match names(entry) {
            names if names.is_empty() => vec![entry.descriptor.digest.to_string()],
            names => names.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let others = listed.len().saturating_sub(NAMES);
    listed.truncate(NAMES);
    match others {
        0 => listed.join(", "),
        others => format!("{} and {others} others", listed.join(", ")),
    }
}
