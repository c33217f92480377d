//! [`NewUpload`]: an upload session to open, and its [`Uploader`].

use crate::{
    digest::{Algorithm, Digest},
    hash::Checkpoint,
};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Properties of an upload when it is opened.
///
/// ```
/// use registry_core::{
///     Algorithm, Digest, RepositoryName,
///     storage::{MemoryStorage, NewUpload, Storage, Uploader},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let write = storage.write().ok_or("the storage is read-only")?;
///
/// let digest = Digest::of(Algorithm::Sha256, b"layer");
/// let new = NewUpload::of(digest, Some(5)).by(Some(Uploader::user("ann")));
/// let state = write.open_upload(&RepositoryName::parse("team/app")?, new).await?;
/// assert_eq!(state.offset, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUpload {
    /// Hash state of zero bytes, in the announced algorithm.
    pub checkpoint: Checkpoint,
    /// Expected digest, if the client announced it when it opened the upload.
    pub expected: Option<Digest>,
    /// Size in bytes, if the client announced it when it opened the upload.
    pub size: Option<u64>,
    /// Uploader that opens the session. `None` for the host itself and for unknown clients.
    pub uploader: Option<Uploader>,
}

impl NewUpload {
    /// Describes an upload that is hashed with `algorithm`.
    #[must_use]
    pub fn hashed_by(algorithm: Algorithm) -> Self {
        Self {
            checkpoint: Checkpoint::start(algorithm),
            expected: None,
            size: None,
            uploader: None,
        }
    }

    /// Sets the uploader that opens the session.
    #[must_use]
    pub fn by(self, uploader: Option<Uploader>) -> Self {
        Self { uploader, ..self }
    }

    /// Describes an upload with the expected `digest`, and with `size` bytes if known.
    #[must_use]
    pub fn of(digest: Digest, size: Option<u64>) -> Self {
        Self {
            expected: Some(digest),
            size,
            ..Self::hashed_by(digest.algorithm())
        }
    }
}

/// User or network that an upload session counts for.
///
/// ```
/// use registry_core::storage::Uploader;
///
/// // All addresses of an IPv6 network count together.
/// let client = Uploader::anonymous("2001:db8::1".parse()?);
/// assert_eq!(client, Uploader::anonymous("2001:db8::2".parse()?));
/// assert_eq!(client.to_string(), "network:2001:db8::");
/// assert_eq!(Uploader::parse("user:ann"), Some(Uploader::user("ann")));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uploader(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// An authenticated user, from any address.
    User(Arc<str>),
    /// All anonymous clients of one network: an IPv4 address, or the first 64 bits of an IPv6 address.
    Network(IpAddr),
}

impl Uploader {
    /// Returns an authenticated user, from any address.
    #[must_use]
    pub fn user(name: impl Into<Arc<str>>) -> Self {
        Self(Kind::User(name.into()))
    }

    /// Returns the network of an anonymous client: an IPv4 address, or the first 64 bits of an IPv6 address.
    ///
    /// One client of IPv6 usually has all addresses with the same first 64 bits.
    #[must_use]
    pub fn anonymous(address: IpAddr) -> Self {
        Self(Kind::Network(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        }))
    }

    /// Parses the text form, in which backends store the uploader of a session. Returns `None` for other texts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("user", name) => Some(Self::user(name)),
            ("network", address) => Some(Self::anonymous(address.parse().ok()?)),
            _ => None,
        }
    }
}

/// Writes the text form that [`parse`](Uploader::parse) reads: `user:ann`, `network:192.0.2.1`.
impl fmt::Display for Uploader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::User(name) => write!(f, "user:{name}"),
            Kind::Network(address) => write!(f, "network:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uploader_comes_back_from_its_text() {
        for (uploader, text) in [
            (Uploader::user("ann"), "user:ann"),
            (Uploader::user("user:a b\n"), "user:user:a b\n"),
            (Uploader::anonymous([192, 0, 2, 1].into()), "network:192.0.2.1"),
            (
                Uploader::anonymous(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6).into()),
                "network:2001:db8:1:2::",
            ),
        ] {
            assert_eq!(uploader.to_string(), text);
            assert_eq!(Uploader::parse(text), Some(uploader));
        }
        for other in ["", "ann", "network:", "network:ann", "token:ann"] {
            assert_eq!(Uploader::parse(other), None, "{other}");
        }
    }
}
