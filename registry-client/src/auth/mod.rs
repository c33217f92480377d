//! Logins: challenges of registries, and the credentials and tokens that answer them.

mod challenge;
mod credential;
mod docker;
mod helped;
mod helper;
mod scope;
mod token;

pub(crate) use self::{
    challenge::{Bearer, Challenge},
    credential::{Kind, basic, secret},
    scope::{merged, repository, scopes},
    token::{Key, Token, Tokens},
};
pub use self::{
    credential::{Credential, Credentials},
    docker::AuthFile,
};

use http::HeaderValue;

/// Value of `Authorization`.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) header: HeaderValue,
    /// False for the token of an anonymous user.
    pub(crate) with_credential: bool,
}
