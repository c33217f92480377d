//! Password hashes as they stand in htpasswd files: one type for all kinds, and a file for each kind.
//!
//! Passwords in plain text are never accepted: such a line has no known kind.

mod bcrypt;
#[cfg(feature = "legacy")]
mod des_crypt;
mod digits;
mod error;
mod kind;
mod make;
mod md5_crypt;
mod password_hash;
mod sha1;
mod sha_crypt;

pub use self::{
    error::HashError,
    kind::{Kind, UnknownKind},
    make::{MakeError, Scheme, hash},
    password_hash::PasswordHash,
};
