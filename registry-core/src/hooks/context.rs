//! [`Context`]: repository, originator and request of an operation.

use crate::{auth::Identity, name::RepositoryName};
use std::{net::SocketAddr, sync::Arc};

/// Operation that hooks decide about, and receive events of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// Number of the operation. All calls and events of one operation have the same number. It is unique in this
    /// registry and process.
    pub operation: u64,
    /// The repository.
    pub repository: RepositoryName,
    /// Originator of the operation.
    pub actor: Actor,
    /// Address of the client, if the listener reports it. `None` in process.
    pub client: Option<SocketAddr>,
    /// Id of the request: [`RequestId`], or else its `X-Request-Id`, which a client may choose. `None` in process.
    pub request_id: Option<Arc<str>>,
    /// `User-Agent` of the request, which a client may choose. `None` in process.
    pub user_agent: Option<Arc<str>>,
}

impl Context {
    /// Describes an operation of the host on a repository. Meant for tests of hooks.
    ///
    /// ```
    /// use async_trait::async_trait;
    /// use registry_core::{RepositoryName, hooks::{Context, HookError, Hooks}};
    ///
    /// #[derive(Debug)]
    /// struct Small;
    ///
    /// #[async_trait]
    /// impl Hooks for Small {
    ///     async fn before_open_upload(&self, _: &Context, announced: Option<u64>) -> Result<(), HookError> {
    ///         match announced {
    ///             Some(1_000_000..) => Err(HookError::veto("push small layers only")),
    ///             _ => Ok(()),
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let context = Context::new(1, RepositoryName::parse("team/app")?);
    /// assert!(Small.before_open_upload(&context, Some(5)).await.is_ok());
    /// assert!(Small.before_open_upload(&context, Some(2_000_000)).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn new(operation: u64, repository: RepositoryName) -> Self {
        Self {
            operation,
            repository,
            actor: Actor::Host,
            client: None,
            request_id: None,
            user_agent: None,
        }
    }
}

/// Originator of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Actor {
    /// The host itself, in process.
    Host,
    /// An anonymous client.
    Anonymous,
    /// An authenticated user or service.
    Known(Identity),
}

impl Actor {
    /// Returns the identity, if the originator is authenticated.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Known(identity) => Some(identity),
            Self::Host | Self::Anonymous => None,
        }
    }
}

/// Id of a request, in its extensions. A host sets it to find the same request in its own log.
///
/// ```
/// use registry_core::hooks::RequestId;
///
/// let request = http::Request::get("/v2/").extension(RequestId("7f3a".into())).body(())?;
/// # assert_eq!(request.extensions().get(), Some(&RequestId("7f3a".into())));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);
