//! [`Login`]: the settings of a login, and [`Users`], a login in use.

use super::{
    basic::Basic,
    rules::Rules,
    tokens::{LIFETIME, Tokens},
    user::User,
};
use registry_core::service;
use std::{sync::Arc, time::Duration};

/// Settings of the login.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: Option<(Scheme, User)>,
    pub(crate) anonymous_pull: bool,
    pub(crate) token_lifetime: Duration,
    /// Clients reach the registry by hosts that it does not know.
    pub(crate) any_host: bool,
}

/// Way in which a client logs in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheme {
    Basic,
    Bearer,
}

/// A login in use.
#[derive(Debug, Default)]
pub(crate) struct Users {
    pub(crate) user: Option<User>,
    pub(crate) tokens: Option<Arc<Tokens>>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            user: None,
            anonymous_pull: false,
            token_lifetime: LIFETIME,
            any_host: false,
        }
    }
}

impl Login {
    /// Adds the login to a registry that clients reach at `url`.
    pub(crate) fn apply(&self, registry: service::Builder, url: &str) -> (service::Builder, Users) {
        let rules = Rules {
            anonymous_pull: self.anonymous_pull,
        };
        match self.user.clone() {
            None => (registry.allow_anonymous_push(), Users::default()),
            Some((Scheme::Basic, user)) => {
                let registry = registry.authenticator(Basic(user.clone())).authorizer(rules);
                let registry = if self.anonymous_pull {
                    registry.without_base_login()
                } else {
                    registry
                };
                let users = Users {
                    user: Some(user),
                    tokens: None,
                };
                (registry, users)
            }
            Some((Scheme::Bearer, user)) => {
                let tokens = Tokens::new(
                    user.clone(),
                    url,
                    self.any_host,
                    self.anonymous_pull,
                    self.token_lifetime,
                );
                let tokens = Arc::new(tokens);
                // A client without a token is told to get one, also if it may pull.
                let rules = Rules {
                    anonymous_pull: false,
                };
                let registry = registry.authenticator(Arc::clone(&tokens)).authorizer(rules);
                let users = Users {
                    user: Some(user),
                    tokens: Some(tokens),
                };
                (registry, users)
            }
        }
    }
}
