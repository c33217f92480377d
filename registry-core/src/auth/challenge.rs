//! Login methods offered to a client: [`Challenge`].

use super::{Access, Scope};
use http::HeaderValue;

/// Login method for `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Challenge {
    /// A user name and a password. See RFC 7617.
    Basic {
        /// Text that clients show to users.
        realm: String,
    },
    /// A token from a token service; the core adds the scope that the request needs.
    Bearer {
        /// The URL of the token service.
        realm: String,
        /// Name of this registry at the token service.
        service: String,
    },
}

impl Challenge {
    /// Returns the value of `WWW-Authenticate` for a request that needs `needed`.
    pub(crate) fn render(&self, needed: &[Access]) -> Option<HeaderValue> {
        let text = match self {
            Self::Basic { realm } => format!("Basic realm={}", quoted(realm)),
            Self::Bearer { realm, service } => {
                let mut text = format!("Bearer realm={},service={}", quoted(realm), quoted(service));
                let scopes: Vec<String> = Scope::of(needed).iter().map(ToString::to_string).collect();
                if !scopes.is_empty() {
                    text.push_str(",scope=");
                    text.push_str(&quoted(&scopes.join(" ")));
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
        let odd = Challenge::Basic {
            realm: "Équipe\nA".into(),
        };
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
