//! Identification of a request's sender: [`Authenticator`].

use super::{Access, AuthError, AuthRequest, Challenge, Identity};
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc};

/// Identifies the sender of a request.
///
/// ```
/// use async_trait::async_trait;
/// use registry_core::{
///     Authenticator, Identity,
///     auth::{Access, AuthError, AuthRequest, Challenge, TokenError},
/// };
/// # #[derive(Debug)]
/// # struct Tokens;
/// # impl Tokens {
/// #     async fn user(&self, token: &str) -> std::io::Result<Option<String>> {
/// #         Ok(Some(token.to_owned()))
/// #     }
/// # }
///
/// #[async_trait]
/// impl Authenticator for Tokens {
///     async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
///         let Some(token) = request.bearer()? else {
///             return Ok(None);
///         };
///         // A failure of the database is neither a success nor a rejection.
///         let user = self.user(token).await.map_err(|error| AuthError::Failed(error.into()))?;
///         user.map(|user| Some(Identity::new(user))).ok_or(AuthError::Rejected)
///     }
///
///     fn challenges(&self, request: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
///         let challenge = Challenge::bearer("https://example.com/token", "registry.example.com");
///         match request.map(|request| request.bearer()) {
///             Some(Ok(Some(_refused))) => vec![challenge.because(TokenError::InvalidToken)],
///             _ => vec![challenge],
///         }
///     }
/// }
/// ```
///
/// # Cancel safety
///
/// A future is dropped with its request, as when the client disconnects. An implementation leaves nothing half
/// done: later calls behave as if the dropped one had ended, or had not been made.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// Returns the sender, or `None` if the request carries no credentials.
    ///
    /// # Errors
    ///
    /// [`AuthError::Rejected`] for wrong credentials. A sender with wrong credentials is never treated as
    /// anonymous.
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError>;

    /// Returns the login methods with which a client can get `needed`. If there are none, refused clients get 403
    /// instead of a challenge.
    ///
    /// `request` is the request that is refused; it is `None` for calls in process. An authenticator can tell
    /// from it where its token service is for this client, or which token did not suffice. The core adds the
    /// scopes of `needed` to each [`Challenge::Bearer`].
    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge>;
}

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        (**self).authenticate(request).await
    }

    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        (**self).challenges(request, needed)
    }
}

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Box<A> {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        (**self).authenticate(request).await
    }

    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        (**self).challenges(request, needed)
    }
}
