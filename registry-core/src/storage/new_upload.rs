//! [`NewUpload`]: an upload session to open, its uploader and the bounds on open sessions.

use super::error::{Result, StorageError};
use crate::{
    digest::{Algorithm, Digest},
    hash::Checkpoint,
};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Properties of an upload when it is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUpload {
    /// Hash state of zero bytes, in the announced algorithm.
    pub checkpoint: Checkpoint,
    /// Expected digest, if the client announced it when it opened the upload.
    pub expected: Option<Digest>,
    /// Size in bytes, if the client announced it when it opened the upload.
    pub size: Option<u64>,
    /// Maximum numbers of open sessions, including this one.
    pub bounds: UploadBounds,
    /// Uploader that the session counts for. `None` for the host itself and for unknown clients.
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
            bounds: UploadBounds::NONE,
            uploader: None,
        }
    }

    /// Sets the uploader that the session counts for.
    #[must_use]
    pub fn by(self, uploader: Option<Uploader>) -> Self {
        Self { uploader, ..self }
    }

    /// Sets the maximum numbers of open sessions.
    #[must_use]
    pub fn within(self, bounds: UploadBounds) -> Self {
        Self { bounds, ..self }
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Uploader {
    /// An authenticated user, from any address.
    User(Arc<str>),
    /// All anonymous clients of one network: an IPv4 address, or the first 64 bits of an IPv6 address.
    Network(IpAddr),
}

impl Uploader {
    /// Returns the network of an anonymous client at this address.
    #[must_use]
    pub fn stranger(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

/// Maximum numbers of upload sessions that may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadBounds {
    /// Maximum number in one repository.
    pub in_repository: usize,
    /// Maximum number in all repositories together.
    pub in_all: usize,
    /// Maximum number for one uploader, in all repositories together.
    pub of_uploader: usize,
}

impl UploadBounds {
    /// No bounds.
    pub const NONE: Self = Self {
        in_repository: usize::MAX,
        in_all: usize::MAX,
        of_uploader: usize::MAX,
    };

    /// Checks that one more session may be opened, given the numbers of open ones. `of_uploader` is 0 if the
    /// uploader is unknown.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooManyUploads`] with the bound that is reached.
    pub const fn admit(&self, in_repository: usize, in_all: usize, of_uploader: usize) -> Result<()> {
        if of_uploader >= self.of_uploader {
            return Err(StorageError::TooManyUploads {
                limit: self.of_uploader,
                scope: "of this client",
            });
        }
        if in_repository >= self.in_repository {
            return Err(StorageError::TooManyUploads {
                limit: self.in_repository,
                scope: "in this repository",
            });
        }
        if in_all >= self.in_all {
            return Err(StorageError::TooManyUploads {
                limit: self.in_all,
                scope: "in all repositories",
            });
        }
        Ok(())
    }
}
