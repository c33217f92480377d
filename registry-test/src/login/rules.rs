//! [`Rules`]: users may do everything; anonymous clients may pull, or nothing.

use async_trait::async_trait;
use registry_core::{
    Action, Authorizer,
    auth::{AuthError, Authorize, Decision},
};

/// Authorizer of a test registry with a login. The grants of a token limit its user further.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) anonymous_pull: bool,
}

#[async_trait]
impl Authorizer for Rules {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let allowed = match ask.who {
            Some(_) => true,
            None => self.anonymous_pull && ask.access.action == Action::Pull,
        };
        Ok(if allowed { Decision::Allow } else { Decision::Deny })
    }
}
