//! [`Platform`]: operating system and architecture of an image.

use serde::Serialize;
use std::{fmt, str::FromStr};

/// Platform of an image: `os/architecture` or `os/architecture/variant`.
///
/// ```
/// use registry_image::Platform;
///
/// let platform = Platform::parse("linux/arm64/v8")?;
/// assert_eq!(platform.to_string(), "linux/arm64/v8");
/// assert!(Platform::parse("arm64").is_err());
/// # Ok::<(), registry_image::InvalidPlatform>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Error for a text that is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a platform; write `os/architecture` or `os/architecture/variant`, such as `linux/arm64/v8`"
)]
pub struct InvalidPlatform(String);

impl Platform {
    /// Parses `os/architecture` or `os/architecture/variant`.
    ///
    /// # Errors
    ///
    /// [`InvalidPlatform`] if it has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidPlatform> {
        let names: Vec<_> = text.split('/').collect();
        let (os, architecture, variant) = match *names {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(InvalidPlatform(text.to_owned())),
        };
        let plain = |name: &&str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if !names.iter().all(plain) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(ToOwned::to_owned),
        })
    }

    /// Returns true if an image of this platform is as wanted. A wanted platform without a variant admits each
    /// variant. The variant `v8` is the default of `arm64`, which many images leave out.
    pub(crate) fn admits(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        let default = (self.architecture == "arm64").then_some("v8");
        let named = variant.filter(|variant| !variant.is_empty());
        self.os == os
            && self.architecture == architecture
            && (self.variant.is_none() || self.variant.as_deref() == named.or(default))
    }

    /// Returns the members of a JSON object for it.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            architecture: &self.architecture,
            os: &self.os,
            variant: self.variant.as_deref(),
        }
    }
}

/// A platform in a document.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Fields<'a> {
    architecture: &'a str,
    os: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        Self::parse(text)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
