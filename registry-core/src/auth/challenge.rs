//! Login methods offered to a client: [`Challenge`].

use super::{Access, Scope};
use http::HeaderValue;

/// Login method for `WWW-Authenticate`.
///
/// ```
/// use registry_core::{
///     Registry,
///     auth::{Challenge, FromExtensions},
///     storage::MemoryStorage,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(MemoryStorage::new())
///     .authenticator(FromExtensions.challenging(Challenge::basic("my service")))
///     .build();
///
/// let response = registry.handle(http::Request::get("/v2/").body(String::new())?).await;
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers()["www-authenticate"], r#"Basic realm="my service""#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Challenge {
    /// A user name and a password. See RFC 7617.
    #[non_exhaustive]
    Basic {
        /// Text that clients show to users.
        realm: String,
    },
    /// A token from a token service; the core adds the scopes that the request needs.
    #[non_exhaustive]
    Bearer {
        /// The URL of the token service.
        realm: String,
        /// Name of this registry at the token service.
        service: String,
        /// Error of the token that the request carried, if any.
        error: Option<TokenError>,
    },
}

/// Reason for which a token was refused, for [`Challenge::Bearer`]. See RFC 6750, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is expired, revoked, malformed, or of another service.
    InvalidToken,
    /// The token is valid, and grants less than the request needs.
    InsufficientScope,
}

impl TokenError {
    /// Returns the error code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

impl Challenge {
    /// Asks for a user name and a password.
    #[must_use]
    pub fn basic(realm: impl Into<String>) -> Self {
        Self::Basic { realm: realm.into() }
    }

    /// Asks for a token from the token service at the URL `realm`, which knows this registry as `service`.
    #[must_use]
    pub fn bearer(realm: impl Into<String>, service: impl Into<String>) -> Self {
        Self::Bearer {
            realm: realm.into(),
            service: service.into(),
            error: None,
        }
    }

    /// Adds the reason for which a token was refused. Without effect on a Basic challenge.
    #[must_use]
    pub fn because(self, refused: TokenError) -> Self {
        match self {
            Self::Bearer { realm, service, .. } => Self::Bearer {
                realm,
                service,
                error: Some(refused),
            },
            basic @ Self::Basic { .. } => basic,
        }
    }

    /// Returns the value of `WWW-Authenticate` for a request that needs `needed`.
    pub(crate) fn render(&self, needed: &[Access]) -> Option<HeaderValue> {
        let text = match self {
            Self::Basic { realm } => format!("Basic realm={}", quoted(realm)),
            Self::Bearer {
                realm,
                service,
                error,
            } => {
                let mut text = format!("Bearer realm={},service={}", quoted(realm), quoted(service));
                let scopes: Vec<String> = Scope::of(needed).iter().map(ToString::to_string).collect();
                if !scopes.is_empty() {
                    text.push_str(",scope=");
                    text.push_str(&quoted(&scopes.join(" ")));
                }
                if let Some(error) = error {
                    text.push_str(",error=");
                    text.push_str(&quoted(error.as_str()));
                }
                text
            }
        };
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }
}

/// Returns `text` as a quoted string. Control characters, which no header can carry, become blanks: without a
/// realm the challenge would be omitted, and no client could log in.
fn quoted(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Action, name::RepositoryName};

    #[test]
    fn a_challenge_is_quoted_and_carries_the_scope() {
        let needed = [Access::to(&RepositoryName::parse("a/b").unwrap(), Action::Push)];
        let bearer = Challenge::bearer("https://auth.example/token", "r\"x");
        assert_eq!(
            bearer.render(&needed).unwrap(),
            r#"Bearer realm="https://auth.example/token",service="r\"x",scope="repository:a/b:pull,push""#
        );
        let lacking = bearer.clone().because(TokenError::InsufficientScope);
        assert_eq!(
            lacking.render(&needed).unwrap(),
            r#"Bearer realm="https://auth.example/token",service="r\"x",scope="repository:a/b:pull,push",error="insufficient_scope""#
        );
        let basic = Challenge::basic("Registry");
        assert_eq!(basic.clone().because(TokenError::InvalidToken), basic);
        assert_eq!(basic.render(&needed).unwrap(), r#"Basic realm="Registry""#);
        let odd = Challenge::basic("Équipe\nA");
        assert_eq!(
            odd.render(&needed).unwrap().as_bytes(),
            "Basic realm=\"Équipe A\"".as_bytes()
        );
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
