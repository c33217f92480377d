//! Several ways to log in: [`Chain`].

use super::{AuthError, AuthRequest, Authenticator, Challenge, Identity};
use async_trait::async_trait;

/// Authenticators that are asked in order, until one knows who it is.
///
/// One that finds no credentials of its kind hands on to the next. One that finds wrong ones ends it: wrong
/// credentials never become another identity, nor a stranger. Challenges are offered in the same order.
///
/// ```
/// use registry_core::auth::{Chain, FromExtensions};
/// # use registry_core::Authenticator;
///
/// # fn chain(htpasswd: impl Authenticator) -> Chain {
/// Chain::new().then(FromExtensions).then(htpasswd)
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Chain {
    authenticators: Vec<Box<dyn Authenticator>>,
}

impl Chain {
    /// Without authenticators: everybody is a stranger.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and then this one.
    pub fn then(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Box::new(authenticator));
        self
    }
}

#[async_trait]
impl Authenticator for Chain {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        for authenticator in &self.authenticators {
            if let Some(identity) = authenticator.authenticate(request).await? {
                return Ok(Some(identity));
            }
        }
        Ok(None)
    }

    fn challenges(&self) -> Vec<Challenge> {
        self.authenticators
            .iter()
            .flat_map(|authenticator| authenticator.challenges())
            .collect()
    }
}
