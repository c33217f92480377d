//! [`Quirk`]: behaviour in which registries differ.

use std::{fmt, str::FromStr};

/// Behaviour in which registries differ. It holds for all requests of a test registry.
///
/// Programs in other languages write a quirk as text:
///
/// ```
/// use registry_test::Quirk;
///
/// assert_eq!("without-mount".parse(), Ok(Quirk::WithoutMount));
/// assert_eq!("page-size=10".parse(), Ok(Quirk::PageSize(10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// Referrers are not listed: 404, and no `OCI-Subject`. Clients have to maintain an index under a tag
    /// (`without-referrers`).
    WithoutReferrers,
    /// A mount is never possible: 202, with an upload session (`without-mount`).
    WithoutMount,
    /// `Range` of a blob is ignored: 200, with the whole blob (`without-ranges`).
    WithoutRanges,
    /// Repositories are not listed: 404 (`without-catalog`).
    WithoutCatalog,
    /// Manifests and blobs cannot be deleted: 405 (`without-delete`).
    WithoutDelete,
    /// The tags of each page are in descending order. The `Link` to the next page is right, but a client must not
    /// continue after the last tag that it has read (`unsorted-tags`).
    UnsortedTags,
    /// A page of tags, repositories or referrers has at most this number of entries, whatever `n` is; 0 counts as 1
    /// (`page-size=N`).
    PageSize(u32),
    /// Each chunk of an upload but the last has at least this number of bytes, which `OCI-Chunk-Min-Length` announces.
    /// A chunk after a smaller one is refused: 400 (`smallest-chunk=N`).
    SmallestChunk(u64),
}

/// Error for a text that names no quirk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no quirk; known are without-referrers, without-mount, without-ranges, without-catalog, without-delete, \
     unsorted-tags, page-size=N and smallest-chunk=N"
)]
pub struct UnknownQuirk(String);

impl FromStr for Quirk {
    type Err = UnknownQuirk;

    fn from_str(text: &str) -> Result<Self, UnknownQuirk> {
        let unknown = || UnknownQuirk(text.to_owned());
        Ok(match text {
            "without-referrers" => Self::WithoutReferrers,
            "without-mount" => Self::WithoutMount,
            "without-ranges" => Self::WithoutRanges,
            "without-catalog" => Self::WithoutCatalog,
            "without-delete" => Self::WithoutDelete,
            "unsorted-tags" => Self::UnsortedTags,
            _ => match text.split_once('=') {
                Some(("page-size", n)) => Self::PageSize(n.parse().ok().ok_or_else(unknown)?),
                Some(("smallest-chunk", n)) => Self::SmallestChunk(n.parse().ok().ok_or_else(unknown)?),
                _ => return Err(unknown()),
            },
        })
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithoutReferrers => f.write_str("without-referrers"),
            Self::WithoutMount => f.write_str("without-mount"),
            Self::WithoutRanges => f.write_str("without-ranges"),
            Self::WithoutCatalog => f.write_str("without-catalog"),
            Self::WithoutDelete => f.write_str("without-delete"),
            Self::UnsortedTags => f.write_str("unsorted-tags"),
            Self::PageSize(n) => write!(f, "page-size={n}"),
            Self::SmallestChunk(n) => write!(f, "smallest-chunk={n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quirk_is_read_as_it_is_written() {
        for quirk in [
            Quirk::WithoutReferrers,
            Quirk::WithoutMount,
            Quirk::WithoutRanges,
            Quirk::WithoutCatalog,
            Quirk::WithoutDelete,
            Quirk::UnsortedTags,
            Quirk::PageSize(3),
            Quirk::SmallestChunk(5 << 20),
        ] {
            assert_eq!(quirk.to_string().parse(), Ok(quirk));
            assert!(
                UnknownQuirk(String::new())
                    .to_string()
                    .contains(quirk.to_string().split('=').next().unwrap())
            );
        }
        for text in [
            "",
            "page-size",
            "page-size=",
            "page-size=-1",
            "without-mount=1",
            "WithoutMount",
        ] {
            let refused = text.parse::<Quirk>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{text:?} is no quirk")), "{refused}");
        }
    }
}
