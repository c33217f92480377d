//! [`Front`]: the service of a test registry: the registry itself, and its token endpoint.

use crate::{
    kind::TOKEN_PATH,
    login::{Tokens, endpoint},
    quirk::Quirks,
};
use hyper::{Request, Response, body::Incoming};
use registry_core::{Registry, ResponseBody, service::RegistryService};
use std::{convert::Infallible, sync::Arc};
use tower_service::Service as _;

/// Answers every request. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Front {
    registry: RegistryService<Incoming>,
    tokens: Option<Arc<Tokens>>,
    quirks: Arc<Quirks>,
}

impl Front {
    /// Serves a registry, and tokens for it if it needs them.
    pub(super) fn new(registry: Registry, tokens: Option<Arc<Tokens>>, quirks: Quirks) -> Self {
        // Operations of a client that has gone are finished, unless the test ends before.
        let registry = registry.into_service(|task| _ = tokio::spawn(task));
        Self {
            registry,
            tokens,
            quirks: Arc::new(quirks),
        }
    }

    pub(super) async fn answer(
        mut self,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        match &self.tokens {
            Some(tokens) if request.uri().path() == TOKEN_PATH => Ok(endpoint::answer(tokens, request).await),
            _ => {
                let registry = async |request| match self.registry.call(request).await {
                    Ok(response) => response,
                };
                Ok(self.quirks.answer(request, registry).await)
            }
        }
    }
}
