//! [`Kind`]: the part of the protocol that a request belongs to.

use crate::tap::Exchange;
use registry_core::protocol::Endpoint;
use std::fmt;

/// Path of the token endpoint of a [`TestRegistry`](crate::TestRegistry) with Bearer tokens.
pub(crate) const TOKEN_PATH: &str = "/token";

/// Part of the protocol that a request belongs to, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `/v2/`
    Ping,
    /// `/v2/<name>/blobs/<digest>`
    Blob,
    /// `/v2/<name>/blobs/uploads/…`, including mounts
    Upload,
    /// `/v2/<name>/manifests/<reference>`
    Manifest,
    /// `/v2/<name>/tags/list`
    Tags,
    /// `/v2/<name>/referrers/<digest>`
    Referrers,
    /// `/v2/_catalog`
    Catalog,
    /// `/token`, the token endpoint of the test registry
    Token,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Ping,
        Self::Blob,
        Self::Upload,
        Self::Manifest,
        Self::Tags,
        Self::Referrers,
        Self::Catalog,
        Self::Token,
    ];

    /// Returns the kind of an exchange's request, if it is well-formed.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let Some(operation) = &exchange.operation else {
            let path = exchange.target.split('?').next().unwrap_or_default();
            return (path == TOKEN_PATH).then_some(Self::Token);
        };
        match operation.endpoint() {
            Endpoint::Base => Some(Self::Ping),
            Endpoint::Catalog => Some(Self::Catalog),
            Endpoint::Tags(..) => Some(Self::Tags),
            Endpoint::Manifest(..) => Some(Self::Manifest),
            Endpoint::Blob(..) => Some(Self::Blob),
            Endpoint::Uploads(..) | Endpoint::Upload(..) => Some(Self::Upload),
            Endpoint::Referrers(..) => Some(Self::Referrers),
            _ => None,
        }
    }

    /// Returns the name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Blob => "blob",
            Self::Upload => "upload",
            Self::Manifest => "manifest",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
            Self::Catalog => "catalog",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
