//! Authentication and authorization: [`Authenticator`], [`Authorizer`], [`Identity`], [`Action`],
//! [`Challenge`], [`Scope`].
//!
//! The authenticator identifies the sender, and the authorizer decides about permission. Neither answers a
//! request: the core renders every challenge, and asks one decision function before any storage call. Most
//! hosts provide their own implementation of at least one of them.

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
