//! Combination of several authenticators: [`Chain`].

use super::{Access, AuthError, AuthRequest, Authenticator, Challenge, Identity};
use async_trait::async_trait;

/// Authenticators that are asked in order, until one identifies the sender.
///
/// If an authenticator finds no credentials of its kind, the next one is asked. If it finds wrong
/// credentials, the request is rejected: such a sender gets no other identity and is not treated as
/// anonymous. Challenges are offered in the same order.
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
    /// Creates a chain without authenticators: every client is anonymous.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an authenticator.
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

    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        self.authenticators
            .iter()
            .flat_map(|authenticator| authenticator.challenges(request, needed))
            .collect()
    }
}
