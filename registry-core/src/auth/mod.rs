//! Authentication and authorization: [`Authenticator`], [`Authorizer`], [`Identity`], [`Action`],
//! [`Challenge`], [`Scope`].
//!
//! The authenticator identifies the sender, and the authorizer decides about permission. Neither answers a
//! request: the core renders every challenge, and asks one decision function before any storage call. Most
//! hosts provide their own implementation of at least one of them.

mod access;
mod authenticator;
mod authorizer;
mod chain;
mod challenge;
mod error;
mod host;
mod identity;
mod scope;

pub(crate) use self::authorizer::DefaultRules;
pub use self::{
    access::{Access, Action},
    authenticator::{AuthRequest, Authenticator, ClientAddress, PresumedProxy},
    authorizer::{Authorizer, Decision},
    chain::Chain,
    challenge::Challenge,
    error::AuthError,
    host::{FromExtensions, FromHost},
    identity::Identity,
    scope::{InvalidScope, Scope},
};
