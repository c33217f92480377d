//! Who asks, and whether they may: [`Authenticator`], [`Authorizer`], [`Identity`], [`Action`], [`Challenge`].
//!
//! The authenticator says who, the authorizer says whether. Neither answers a request: the core renders every
//! challenge, and asks one decision function before any storage call. Hosts nearly always bring one of the two.

use crate::{name::RepositoryName, storage::BoxError};
use async_trait::async_trait;
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri};
use std::{fmt, fmt::Debug, net::SocketAddr, sync::Arc, time::Duration};

/// What someone wants to do in a repository, or, for [`Catalog`](Self::Catalog), with the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read blobs, manifests, tags and referrers.
    Pull,
    /// Add content: uploads, mounts, manifests, new tags.
    Push,
    /// Move a tag that exists to another manifest.
    Overwrite,
    /// Delete tags, manifests, or a repository's hold on a blob.
    Delete,
    /// List the repositories; each is shown only to those who may pull from it.
    Catalog,
}

impl Action {
    /// The name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Overwrite => "overwrite",
            Self::Delete => "delete",
            Self::Catalog => "catalog",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Someone known: a subject, and the groups they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The user or service.
    pub subject: Arc<str>,
    /// The groups, as the authenticator knows them.
    pub groups: Vec<Arc<str>>,
}

impl Identity {
    /// Someone in no group.
    #[must_use]
    pub fn new(subject: impl Into<Arc<str>>) -> Self {
        Self {
            subject: subject.into(),
            groups: Vec::new(),
        }
    }

    /// The same, in these groups.
    #[must_use]
    pub fn in_groups<G: Into<Arc<str>>>(self, groups: impl IntoIterator<Item = G>) -> Self {
        Self {
            groups: groups.into_iter().map(Into::into).collect(),
            ..self
        }
    }
}

/// The parts of a request that can say who sent it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AuthRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, as it was received.
    pub uri: &'a Uri,
    /// The headers. An empty Basic login (`Og==`) has been taken out: it is nobody.
    pub headers: &'a HeaderMap,
    /// What the host's own middleware and listener put there.
    pub extensions: &'a Extensions,
}

/// The address of the client, in a request's extensions: put there by the listener, or by a host that knows which
/// of its proxies to believe. Failed logins are logged and limited by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub SocketAddr);

impl<'a> AuthRequest<'a> {
    /// The address of the client, if the listener or the host says it.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.extensions.get::<ClientAddress>().map(|address| address.0)
    }

    pub(crate) const fn new(parts: &'a http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

/// Why nobody could be identified although credentials were shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The credentials are wrong. The client is challenged again.
    #[error("the credentials were rejected")]
    Rejected,
    /// Too many attempts.
    #[error("too many attempts, the next one in {} seconds", retry_after.as_secs())]
    Throttled {
        /// When to try again.
        retry_after: Duration,
    },
    /// It cannot be decided now; the client learns no more than that.
    #[error("authentication or authorization failed to decide")]
    Failed(#[source] BoxError),
}

/// Says who sent a request.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// The sender; `None` if the request carries no credentials.
    ///
    /// # Errors
    ///
    /// [`AuthError::Rejected`] for wrong credentials: they never make someone anonymous.
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError>;

    /// How a client can say who it is. With none, nobody is ever asked to log in.
    fn challenges(&self) -> Vec<Challenge>;
}

/// One way to log in, for `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Challenge {
    /// A user and a password. RFC 7617.
    Basic {
        /// Shown to people.
        realm: String,
    },
    /// A token from a token service; the core adds the scope that the request needs.
    Bearer {
        /// The URL of the token service.
        realm: String,
        /// The name of this registry there.
        service: String,
    },
}

impl Challenge {
    /// The value of `WWW-Authenticate`, for a request that needs `needed`.
    pub(crate) fn render(&self, needed: &[Access]) -> Option<HeaderValue> {
        let text = match self {
            Self::Basic { realm } => format!("Basic realm={}", quoted(realm)),
            Self::Bearer { realm, service } => {
                let mut text = format!("Bearer realm={},service={}", quoted(realm), quoted(service));
                let scopes: Vec<String> = needed.iter().map(Access::scope).collect();
                if !scopes.is_empty() {
                    text.push_str(",scope=");
                    text.push_str(&quoted(&scopes.join(" ")));
                }
                text
            }
        };
        HeaderValue::from_str(&text).ok()
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Where; `None` for [`Action::Catalog`].
    pub repository: Option<RepositoryName>,
    /// What.
    pub action: Action,
}

impl Access {
    /// An action in a repository.
    #[must_use]
    pub fn to(repository: &RepositoryName, action: Action) -> Self {
        Self {
            repository: Some(repository.clone()),
            action,
        }
    }

    /// The listing of repositories.
    #[must_use]
    pub const fn catalog() -> Self {
        Self {
            repository: None,
            action: Action::Catalog,
        }
    }

    /// Docker's spelling, for token services.
    fn scope(&self) -> String {
        let Some(repository) = &self.repository else {
            return "registry:catalog:*".into();
        };
        let actions = match self.action {
            Action::Pull | Action::Catalog => "pull",
            Action::Push | Action::Overwrite => "pull,push",
            Action::Delete => "delete",
        };
        format!("repository:{repository}:{actions}")
    }
}

/// What an [`Authorizer`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Yes.
    Allow,
    /// No: 401 for someone unknown who could log in, 403 for everybody else.
    Deny,
    /// No, and the answer is exactly that of a repository that does not exist.
    DenyHidden,
}

/// Says whether someone may do something.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Decides; `None` is someone unknown.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if it cannot be decided.
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError>;

    /// Those of `repositories` that someone may see in a listing: by default where they may pull.
    ///
    /// # Errors
    ///
    /// [`AuthError::Failed`] if it cannot be decided.
    async fn visible(
        &self,
        who: Option<&Identity>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        let mut visible = Vec::with_capacity(repositories.len());
        for repository in repositories {
            if self
                .authorize(who, &Access::to(&repository, Action::Pull))
                .await?
                == Decision::Allow
            {
                visible.push(repository);
            }
        }
        Ok(visible)
    }
}

/// What holds without an authorizer: whoever logged in may do everything; strangers may pull if nobody can log
/// in, and push only where the host spelled it out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultRules {
    pub(crate) strangers_pull: bool,
    pub(crate) strangers_push: bool,
}

#[async_trait]
impl Authorizer for DefaultRules {
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError> {
        let allowed = who.is_some()
            || match access.action {
                Action::Pull | Action::Catalog => self.strangers_pull || self.strangers_push,
                Action::Push | Action::Overwrite | Action::Delete => self.strangers_push,
            };
        Ok(if allowed { Decision::Allow } else { Decision::Deny })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_quoted_and_carries_the_scope() {
        let needed = [Access::to(&RepositoryName::parse("a/b").unwrap(), Action::Push)];
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: "r\"x".into(),
        };
        assert_eq!(
            bearer.render(&needed).unwrap(),
            r#"Bearer realm="https://auth.example/token",service="r\"x",scope="repository:a/b:pull,push""#
        );
        let basic = Challenge::Basic {
            realm: "Registry".into(),
        };
        assert_eq!(basic.render(&needed).unwrap(), r#"Basic realm="Registry""#);
        assert_eq!(
            bearer
                .render(&[Access::catalog()])
                .unwrap()
                .to_str()
                .unwrap()
                .split(',')
                .nth(2),
            Some(r#"scope="registry:catalog:*""#)
        );
    }
}
