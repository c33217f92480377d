//! Listings of tags and of repositories.

use super::{Authority, Limits, Permission, Registry, Repository};
use crate::{
    auth::{Access, Action, Authorize},
    error::Error,
    name::RepositoryName,
    protocol::PageQuery,
    reference::Tag,
    storage::{Listing, Page},
};

impl Limits {
    /// Returns the number of items on a page: the requested one, up to `page_max`.
    pub(super) fn page(&self, n: Option<usize>, default: usize) -> usize {
        n.unwrap_or(default).min(self.page_max)
    }

    /// Returns the number of repositories on a page of the catalog. `catalog_n`, if set, is the default.
    fn catalog_page(&self, n: Option<usize>) -> usize {
        let default = self.catalog_n.unwrap_or(self.page_default);
        let largest = self.catalog_n.unwrap_or_default().max(self.page_max);
        n.unwrap_or(default).min(largest)
    }
}

impl Repository {
    /// Returns the tags in byte order, or `None` if the repository does not exist.
    ///
    /// ```
    /// use registry_core::{Registry, Tag, protocol::PageQuery, service::ManifestPush, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// assert!(repository.tags(&PageQuery::default()).await?.is_none());
    ///
    /// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    /// for tag in ["v1", "v2", "v3"] {
    ///     repository.put_manifest(ManifestPush::new(Tag::parse(tag)?, index)).await?;
    /// }
    /// let first = repository.tags(&PageQuery::first(2)).await?.ok_or("no such repository")?;
    /// assert_eq!(first.items, [Tag::parse("v1")?, Tag::parse("v2")?]);
    /// assert!(first.more);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`] if they may not be pulled, or the storage fails.
    pub async fn tags(&self, page: &PageQuery<Tag>) -> Result<Option<Listing<Tag>>, Error> {
        if self.permit(Action::Pull).await? == Permission::Hidden {
            return Ok(None);
        }
        let limits = &self.registry.inner.limits;
        let limit = limits.page(page.n, limits.page_max);
        Ok(self
            .storage()
            .tags(&self.name, Page::first(limit).after(page.last.as_ref()))
            .await?)
    }
}

impl Registry {
    /// Returns every repository in byte order, with the authority of the host.
    ///
    /// ```
    /// use registry_core::{Registry, protocol::PageQuery, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    ///
    /// let mut page = PageQuery::first(100);
    /// loop {
    ///     let listing = registry.repositories(&page).await?;
    ///     for repository in &listing.items {
    ///         println!("{repository}");
    ///     }
    ///     match listing.items.last() {
    ///         Some(last) if listing.more => page = page.after(last.clone()),
    ///         _ => break,
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`] if the storage fails.
    pub async fn repositories(
        &self,
        page: &PageQuery<RepositoryName>,
    ) -> Result<Listing<RepositoryName>, Error> {
        self.repositories_for(&Authority::host(), page).await
    }

    /// Returns the repositories that the caller may see. One page may need several pages of the storage: the
    /// link to the next page must name a repository that the caller may see.
    pub(super) async fn repositories_for(
        &self,
        authority: &Authority,
        page: &PageQuery<RepositoryName>,
    ) -> Result<Listing<RepositoryName>, Error> {
        if self.permit(authority, &Access::catalog()).await? == Permission::Hidden {
            return Ok(Listing::default());
        }
        let limit = self.inner.limits.catalog_page(page.n);
        let mut visible: Vec<RepositoryName> = Vec::new();
        let mut after = page.last.clone();
        // One more than requested, to know if the caller may see another repository.
        let mut ask = limit.saturating_add(1);
        while limit > 0 && visible.len() <= limit {
            let wanted = Page::first(ask).after(after.as_ref());
            // Each page of the storage costs a search for its start. Growing pages bound the number of searches
            // for a caller that sees few repositories.
            ask = ask
                .saturating_mul(2)
                .min(self.inner.limits.page_max.saturating_add(1));
            let listed = self.inner.storage.repositories(wanted).await?;
            after = listed.items.last().cloned();
            visible.extend(self.visible(authority, listed.items).await?);
            if !listed.more {
                break;
            }
        }
        Ok(Listing::first(limit, visible))
    }

    async fn visible(
        &self,
        authority: &Authority,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, Error> {
        match authority {
            Authority::Host { .. } => Ok(repositories),
            Authority::Caller { who, .. } => {
                let catalog = Access::catalog();
                let ask = Authorize::new(who.as_ref(), &catalog).in_request(authority.request());
                let visible = self.inner.authorizer.visible(ask, repositories).await;
                visible.map_err(|error| self.auth_error(error, authority.request()))
            }
        }
    }
}
