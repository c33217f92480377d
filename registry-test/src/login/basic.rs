//! [`Basic`]: a user who sends name and password with each request.

use super::user::User;
use async_trait::async_trait;
use registry_core::{
    Authenticator, Identity,
    auth::{Access, AuthError, AuthRequest, Challenge},
};

/// Authenticator for one user, by `Authorization: Basic`.
#[derive(Debug)]
pub(crate) struct Basic(pub(crate) User);

#[async_trait]
impl Authenticator for Basic {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        match request.basic()? {
            Some(login) if self.0.is(login.user(), login.password()) => {
                Ok(Some(Identity::new(&*self.0.name)))
            }
            // Another scheme, such as a token of an earlier registry on this port, is a wrong login.
            None if !request.headers.contains_key(http::header::AUTHORIZATION) => Ok(None),
            _ => Err(AuthError::Rejected),
        }
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![Challenge::basic("test registry")]
    }
}
