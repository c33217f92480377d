//! [`UploadToken`]: an upload as text, which another process continues.

use crate::host::Host;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Uri;
use registry_core::{
    Algorithm, RepositoryName,
    hash::{Checkpoint, Hasher},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Version of the form that this crate writes.
const VERSION: u32 = 1;

/// An [`Upload`](super::Upload) as text, for example in a file. Another process continues the upload with it.
///
/// It has the registry, the repository, the URL of the session, and the hash of the bytes up to
/// [`offset`](Self::offset). Keep it as secret as a password: the URL of a session may need no login.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadToken {
    pub(super) host: Host,
    pub(super) repository: RepositoryName,
    pub(super) location: Uri,
    pub(super) checkpoint: Checkpoint,
}

/// Error for a text that is not an [`UploadToken`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is no token of an upload: {0}")]
pub struct InvalidUploadToken(String);

#[derive(Deserialize, Serialize)]
struct Text {
    version: u32,
    host: String,
    repository: String,
    location: String,
    algorithm: String,
    /// State of the hash, in base64.
    hash: String,
}

impl UploadToken {
    /// Returns the registry of the upload.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the repository of the upload.
    #[must_use]
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// Returns the algorithm of the digest.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.checkpoint.algorithm()
    }

    /// Returns the number of bytes that the token knows the hash of.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.checkpoint.offset()
    }

    pub(super) fn hasher(&self) -> Hasher {
        Hasher::resume(&self.checkpoint)
    }
}

/// Writes JSON on one line.
impl fmt::Display for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Text {
            version: VERSION,
            host: self.host.to_string(),
            repository: self.repository.to_string(),
            location: self.location.to_string(),
            algorithm: self.algorithm().to_string(),
            hash: BASE64_STANDARD.encode(self.checkpoint.as_bytes()),
        };
        f.write_str(&serde_json::to_string(&text).map_err(|_write| fmt::Error)?)
    }
}

impl FromStr for UploadToken {
    type Err = InvalidUploadToken;

    fn from_str(text: &str) -> Result<Self, InvalidUploadToken> {
        let invalid = |problem: &dyn fmt::Display| InvalidUploadToken(problem.to_string());
        let text: Text = serde_json::from_str(text).map_err(|error| invalid(&error))?;
        if text.version != VERSION {
            let problem = format!("its version is {}, and this client knows {VERSION}", text.version);
            return Err(InvalidUploadToken(problem));
        }
        let location: Uri = text.location.parse().map_err(|error| invalid(&error))?;
        if location.scheme().is_none() || location.authority().is_none() {
            return Err(invalid(&"its location is no URL"));
        }
        let algorithm: Algorithm = text.algorithm.parse().map_err(|error| invalid(&error))?;
        let hash = BASE64_STANDARD
            .decode(&text.hash)
            .map_err(|error| invalid(&error))?;
        let checkpoint = Checkpoint::parse(algorithm, hash.into());
        Ok(Self {
            host: text.host.parse().map_err(|error| invalid(&error))?,
            repository: RepositoryName::parse(&text.repository).map_err(|error| invalid(&error))?,
            location,
            checkpoint: checkpoint.ok_or_else(|| invalid(&format!("its hash is no state of {algorithm}")))?,
        })
    }
}

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadToken")
            .field("host", &self.host)
            .field("repository", &self.repository)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> UploadToken {
        UploadToken {
            host: Host::parse("a.example:5000").unwrap(),
            repository: RepositoryName::parse("team/app").unwrap(),
            location: "https://store.example/s?state=secret".parse().unwrap(),
            checkpoint: Checkpoint::start(Algorithm::Sha512),
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let text = token().to_string();
        assert!(!text.contains('\n'));
        assert_eq!(text.parse(), Ok(token()));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let text = token().to_string();
        for (from, to, problem) in [
            ("\"version\":1", "\"version\":2", "version is 2"),
            ("a.example:5000", "https://a.example", "no registry"),
            ("team/app", "Team", "repository"),
            ("https://store.example", "", "no URL"),
            ("sha512", "sha256", "no state of sha256"),
            ("sha512", "md5", "md5"),
            ("\"hash\"", "\"hush\"", "hash"),
            ("{", "", ""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let error = changed.parse::<UploadToken>().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn the_debug_form_has_no_url() {
        assert!(!format!("{:?}", token()).contains("secret"));
    }
}
