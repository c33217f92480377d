//! Tags and referrers as streams, whatever the size of their lists.

use crate::{
    error::Error,
    source::{Page, Source},
};
use futures_core::Stream;
use futures_util::{TryStreamExt as _, stream};
use registry_core::{Descriptor, Digest, Tag};

/// Returns all tags of a source, in byte order.
///
/// ```
/// use futures_util::TryStreamExt as _;
/// use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
/// # let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// # for tag in ["v1", "v2"] {
/// #     repository.put_manifest(ManifestPush::new(Tag::parse(tag)?, index)).await?;
/// # }
/// let tags: Vec<Tag> = registry_image::walk::tags(&repository).try_collect().await?;
/// assert_eq!(tags, [Tag::parse("v1")?, Tag::parse("v2")?]);
/// # Ok(())
/// # }
/// ```
pub fn tags(source: &dyn Source) -> impl Stream<Item = Result<Tag, Error>> + Send {
    let pages = stream::try_unfold(Some(None), move |next: Option<Option<Tag>>| async move {
        let Some(after) = next else { return Ok(None) };
        let page = source.tags(after.as_ref()).await?;
        Ok(Some(step(page)))
    });
    pages.try_flatten()
}

/// Returns all manifests whose subject is `subject`, in the order of their digests.
pub fn referrers(
    source: &dyn Source,
    subject: Digest,
) -> impl Stream<Item = Result<Descriptor, Error>> + Send {
    let pages = stream::try_unfold(Some(None), move |next: Option<Option<Digest>>| async move {
        let Some(after) = next else { return Ok(None) };
        let page = source.referrers(&subject, after.as_ref()).await?;
        Ok(Some(step(page)))
    });
    pages.try_flatten()
}

/// Returns the items of a page as a stream, and the start of the next page, if there is one.
fn step<T: Send, K>(page: Page<T, K>) -> (impl Stream<Item = Result<T, Error>> + Send, Option<Option<K>>) {
    let items = page.items.into_iter().map(Ok);
    (stream::iter(items), page.next.map(Some))
}
