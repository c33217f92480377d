//! The check of the tokens that requests carry.

use super::tokens::Tokens;
use async_trait::async_trait;
use registry_core::{
    Authenticator, Identity,
    auth::{Access, AuthError, AuthRequest, Challenge, TokenError},
};

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        match request.bearer()? {
            Some(token) => self.identity(token).map(Some).ok_or(AuthError::Rejected),
            // Name and password are for the endpoint only.
            None if request.basic()?.is_some() => Err(AuthError::Rejected),
            None => Ok(None),
        }
    }

    fn challenges(&self, request: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        let challenge = Challenge::bearer(self.realm(request.as_ref()), &*self.service);
        let token = request.and_then(|request| request.bearer().ok().flatten());
        vec![match token.map(|token| self.identity(token)) {
            Some(Some(_lacking)) => challenge.because(TokenError::InsufficientScope),
            Some(None) => challenge.because(TokenError::InvalidToken),
            None => challenge,
        }]
    }
}
