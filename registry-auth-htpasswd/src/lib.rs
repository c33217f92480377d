//! Users from an htpasswd file, for [`registry_core`].
//!
//! ```
//! use registry_auth_htpasswd::{Htpasswd, Scheme, hash};
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("users.htpasswd");
//! std::fs::write(&path, format!("alice:{}\n", hash(b"correct horse", Scheme::default())?))?;
//!
//! let users = Htpasswd::open(&path)?;
//! let registry = Registry::builder(MemoryStorage::new()).authenticator(users).build();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read
//!
//! Files as `htpasswd`, `openssl passwd` and LDAP tools write them, with one user to a line: `NAME:HASH`. The kinds of
//! hashes are those of [`Kind`]; each weak kind in use gives one warning when the file is read. Users with a password
//! in plain text, or with a hash that takes more than a few seconds, cannot log in. `$1$` and DES crypt need the
//! feature `legacy`. A malformed line makes the file invalid, and the error names the line.
//!
//! # When it is read
//!
//! The file is read when it is opened, and again when it has changed: rewritten in place, replaced, or exchanged by a
//! symbolic link that points elsewhere. Requests check for a change once a second ([`Builder::check_every`]), and hosts
//! can call [`Htpasswd::check_now`]. If a new file is broken or missing, one error is logged, and the users that were
//! read before stay.
//!
//! # What it costs
//!
//! A password is hashed when it is first used, and remembered while it is in use ([`Builder::cache_for`]), so that
//! all requests of a push cost one hash. Hashing runs on a few threads of its own ([`Builder::threads`]), never on the
//! async runtime. The queue for it is bounded ([`Builder::queue`]). The clients' networks take turns, so that none
//! keeps the others waiting. IPv6 networks of 48 bits take turns first, then those of 56 and 64 bits in each. At most
//! one thread checks the file. If the file system hangs, the users that were read stay valid, and one login that was
//! not verified waits. This crate starts no work that runs by itself.
//!
//! # Who tries passwords
//!
//! - Unknown users cost as much as known ones: their password is hashed against another line, and never right.
//! - Failures are counted for each pair of user and client address ([`Builder::failure_limit`]), in a table of fixed
//!   size. Beyond the limit the answer is 429 with `Retry-After`, before anything is hashed. Remembered passwords are
//!   never refused. Malformed credentials, and logins while the file has no user, are refused without hashing and
//!   counted for the address alone. The address is the [`ClientAddress`](registry_core::auth::ClientAddress) in the
//!   request's extensions; without one, failures are counted for the user alone.
//! - They are counted for each network as well, whatever names it shows ([`Builder::network_failure_limit`]).
//! - In IPv6 both are counted for 64, 56 and 48 bits of an address: 56 bits are allowed 3 times as many failures, 48 bits
//!   10 times as many, which are forgiven as many times faster.
//! - Where the client's address was forwarded by a peer that is only presumed to be a proxy
//!   ([`PresumedProxy`](registry_core::auth::PresumedProxy)), they are counted for each pair of user and peer as well
//!   ([`Builder::presumed_failure_limit`]), and such a peer has one network's share of hashing.
//! - Each failed login is one event, of the level `WARN` and the target `registry_auth_htpasswd::login`, with the
//!   fields `client` (an address, or `-`), `user` and `reason`, in this order, and `via` with a presumed proxy. The
//!   name is quoted and escaped, so that a client cannot forge a line. With the usual formatter, fail2ban finds the
//!   address by `login failed client=<HOST> user=`.

mod authenticator;
mod builder;
mod clock;
mod digest;
mod failure_limit;
mod file;
mod formats;
mod hash;
mod hashing;
mod limits;
mod load;
mod login;
mod origin;
mod queue;
mod random;
mod reload;
mod shared;
mod snapshot;
mod table;
mod thread;
mod verified_password;

pub use authenticator::{Htpasswd, Statistics};
pub use builder::Builder;
pub use failure_limit::FailureLimit;
pub use file::Problem;
pub use hash::{HashError, Kind, MakeError, PasswordHash, Scheme, UnknownKind, hash};
pub use load::LoadError;
pub use random::RandomError;
pub use snapshot::Snapshot;
