//! Layers that clients fetch from other servers, and the allowed URLs.

use crate::{
    error::Error,
    manifest::{Child, Manifest},
    text::cut,
};
use std::{fmt, sync::Arc};

/// Function of the host that decides about the URLs of layers.
#[derive(Clone, Default)]
pub(super) struct LayerUrls(Option<Arc<Allows>>);

type Allows = dyn Fn(&str) -> bool + Send + Sync;

impl LayerUrls {
    pub(super) fn allowed_by(allows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(allows)))
    }

    /// Refuses a manifest with a URL that is not allowed. Clients fetch layers from these URLs, so a pusher
    /// could direct them to any server.
    pub(super) fn admit(&self, manifest: &Manifest) -> Result<(), Error> {
        let Some(allows) = &self.0 else {
            return Ok(());
        };
        let mut urls = manifest.blobs().iter().flat_map(|child| &child.urls);
        match urls.find(|url| !allows(url)) {
            None => Ok(()),
            Some(url) => Err(Error::LayerUrl {
                url: cut(url.clone(), 256),
            }),
        }
    }

    /// Returns true if content of an admitted manifest need not be in the repository.
    pub(super) fn may_be_absent(&self, child: &Child) -> bool {
        child.is_nondistributable() || (self.0.is_some() && !child.urls.is_empty())
    }
}

impl fmt::Debug for LayerUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.0.is_some() { "by the host" } else { "none" };
        f.debug_tuple("LayerUrls").field(&name).finish()
    }
}
