//! Logins of a test registry, with Basic credentials or Bearer tokens.
//!
//! There is one [`User`], who may do everything, and who can be told from anonymous clients. [`Tokens`] is both sides
//! of Bearer tokens: the [endpoint] that issues them, and the [check](bearer) of those that requests carry.

mod basic;
mod bearer;
pub(crate) mod endpoint;
mod form;
mod rules;
mod settings;
mod tokens;
mod user;

pub(crate) use self::{
    settings::{Login, Scheme, Users},
    tokens::Tokens,
    user::User,
};
