//! Users from an htpasswd file, as an authenticator for [`registry_core`].
//!
//! ```
//! use base64::{Engine as _, prelude::BASE64_STANDARD};
//! use registry_auth_htpasswd::{Htpasswd, Scheme, hash};
//! use registry_core::{Registry, storage::MemoryStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("users.htpasswd");
//! std::fs::write(&path, format!("alice:{}\n", hash(b"correct horse", Scheme::default())?))?;
//!
//! let users = Htpasswd::open(&path)?;
//! let registry = Registry::builder(MemoryStorage::new()).authenticator(users).build();
//!
//! let login = |password: &str| {
//!     let credentials = BASE64_STANDARD.encode(format!("alice:{password}"));
//!     let request = http::Request::get("/v2/").header("authorization", format!("Basic {credentials}"));
//!     registry.handle(request.body(String::new()).expect("a request"))
//! };
//! assert_eq!(login("correct horse").await.status(), 200);
//! assert_eq!(login("wrong").await.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! - [`Htpasswd`] is the authenticator, and [`Builder`] has its options.
//! - [`FailureLimit`] limits wrong passwords, per user and per network.
//! - [`PasswordHash`] verifies a password, [`hash()`] makes hashes for programs that write password files, and [`Kind`] is
//!   the list of formats.
//! - [`Snapshot`] has the users of one reading of the file, and [`Statistics`] the counters for metrics.
//! - [`LoadError`] explains why a file cannot be used.
//!
//! # Files
//!
//! The file has a line for each user, `NAME:HASH`, as `htpasswd`, `openssl passwd` and LDAP tools write it. The formats of
//! hashes are those of [`Kind`]; [`Builder::formats`] restricts them. One warning per file names the users with weak
//! formats. Users with a password in plain text, or with a hash that takes more than a few seconds, cannot log in. `$1$` and
//! DES crypt need the feature `legacy`. A malformed line makes the file invalid, and the error names the line.
//!
//! # Reloading
//!
//! The file is read when it is opened, and again when it has changed: rewritten in place, replaced, or exchanged by a
//! symbolic link that points elsewhere. Requests check for a change once a second ([`Builder::check_every`]), and hosts
//! can call [`Htpasswd::check_now`]. If a new file is invalid or missing, one error is logged, and the users of the last
//! valid file stay in use.
//!
//! # Cost
//!
//! A password is hashed at its first use, and cached while it is in use ([`Builder::cache_for`]), so that all requests of a
//! push cost one hash. Hashing runs on a few threads of its own ([`Builder::threads`]), never on the async runtime. Its
//! queue is bounded ([`Builder::queue`]). The networks of the clients take turns, so that none delays the others. IPv6
//! networks of 48 bits take turns first, then those of 56 and 64 bits in each.
//!
//! At most one thread checks the file. If the file system hangs, the last valid users stay in use, and one login that was
//! not verified waits. This crate starts no work that runs by itself.
//!
//! # Wrong passwords
//!
//! - Unknown users cost as much as known ones: their password is hashed against another line, and never right.
//! - Failures are counted for each pair of user and client address ([`Builder::failure_limit`]), in a table of fixed
//!   size. Beyond the limit the answer is 429 with `Retry-After`, before anything is hashed. Verified passwords in the
//!   cache are never refused.
//! - Malformed credentials, and logins while the file has no user, are refused without hashing and counted for the address
//!   alone. The address is the [`ClientAddress`](registry_core::auth::ClientAddress) in the extensions of the request;
//!   without one, failures are counted for the user alone.
//! - Failures are also counted for each network, with all user names ([`Builder::network_failure_limit`]).
//! - In IPv6 both are counted for 64, 56 and 48 bits of an address: 56 bits are allowed 3 times as many failures, 48 bits
//!   10 times as many, which are forgiven as many times faster.
//! - If the client's address was forwarded by a peer that is only presumed to be a proxy
//!   ([`PresumedProxy`](registry_core::auth::PresumedProxy)), failures are also counted for each pair of user and peer
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
