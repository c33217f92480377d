//! Who asks, and whether they may: [`Authenticator`], [`Authorizer`], [`Identity`], [`Action`], [`Challenge`].
//!
//! The authenticator says who, the authorizer says whether. Neither answers a request: the core renders every
//! challenge, and asks one decision function before any storage call. Hosts nearly always bring one of the two.

mod access;
mod authenticator;
mod authorizer;
mod chain;
mod challenge;
mod error;
mod host;
mod identity;

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
};
