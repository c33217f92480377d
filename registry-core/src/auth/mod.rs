//! Authentication and authorization: [`Authenticator`], [`Authorizer`], [`Identity`], [`Action`],
//! [`Challenge`], [`Scope`].
//!
//! The authenticator identifies the sender, and the authorizer decides about permission. Neither answers a
//! request: the core renders every challenge, and asks one decision function before any storage call. Most
//! hosts provide their own implementation of at least one of them.
//!
//! ```
//! use async_trait::async_trait;
//! use registry_core::{
//!     Action, Authenticator, Authorizer, Identity, Registry,
//!     auth::{Access, AuthError, AuthRequest, Authorize, Challenge, Decision},
//!     storage::MemoryStorage,
//! };
//!
//! /// Identifies one user by name and password.
//! #[derive(Debug)]
//! struct OneUser;
//!
//! #[async_trait]
//! impl Authenticator for OneUser {
//!     async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
//!         match request.basic()? {
//!             Some(login) if login.user() == "ann" && login.password() == b"secret" => {
//!                 Ok(Some(Identity::new("ann")))
//!             }
//!             Some(_) => Err(AuthError::Rejected),
//!             None => Ok(None),
//!         }
//!     }
//!
//!     fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
//!         vec![Challenge::basic("my service")]
//!     }
//! }
//!
//! /// Lets everybody pull, and users change repositories below their name.
//! #[derive(Debug)]
//! struct OwnRepositories;
//!
//! #[async_trait]
//! impl Authorizer for OwnRepositories {
//!     async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
//!         let is_own = ask.who.zip(ask.access.repository.as_ref()).is_some_and(|(user, repository)| {
//!             repository.as_str().split('/').next() == Some(&*user.subject)
//!         });
//!         let allowed = is_own || ask.access.action == Action::Pull;
//!         Ok(if allowed { Decision::Allow } else { Decision::Deny })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new())
//!     .authenticator(OneUser)
//!     .authorizer(OwnRepositories)
//!     .build();
//!
//! let login = "Basic YW5uOnNlY3JldA=="; // ann:secret
//! for (path, login, status) in [
//!     ("/v2/ann/app/blobs/uploads/", Some(login), 202),
//!     ("/v2/bob/app/blobs/uploads/", Some(login), 403),
//!     ("/v2/ann/app/blobs/uploads/", None, 401),
//! ] {
//!     let mut request = http::Request::post(path);
//!     if let Some(login) = login {
//!         request = request.header("authorization", login);
//!     }
//!     let response = registry.handle(request.body(String::new())?).await;
//!     assert_eq!(response.status(), status);
//! }
//! # Ok(())
//! # }
//! ```

mod access;
mod authenticator;
mod authorizer;
mod basic;
mod chain;
mod challenge;
mod error;
mod host;
mod identity;
mod request;
mod scope;

pub(crate) use self::authorizer::DefaultRules;
pub use self::{
    access::{Access, Action},
    authenticator::Authenticator,
    authorizer::{Authorize, Authorizer, Decision},
    basic::{BasicLogin, MalformedLogin},
    chain::Chain,
    challenge::{Challenge, TokenError},
    error::AuthError,
    host::{FromExtensions, FromHost},
    identity::Identity,
    request::{AuthRequest, ClientAddress, PresumedProxy},
    scope::{InvalidScope, Scope},
};
