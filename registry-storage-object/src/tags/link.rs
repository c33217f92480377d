//! [`Link`]: the content of a link, which is the text of a digest.

use registry_core::{Algorithm, Digest};

/// Content of the link of a tag, manifest or blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// There is no object.
    None,
    /// Anything but a digest.
    Garbled,
    To(Digest),
}

impl Link {
    /// Reads the link of a tag.
    ///
    /// The digest may be followed by a space and a mark: see [`Store::mark`](crate::store::Store::mark).
    pub(crate) fn of_tag(content: Option<&[u8]>) -> Self {
        let Some(content) = content else {
            return Self::None;
        };
        let text = str::from_utf8(content).unwrap_or_default();
        let text = text.split_once(' ').map_or(text, |(digest, _)| digest);
        Digest::parse(text).map_or(Self::Garbled, Self::To)
    }

    /// Reads the link of a manifest or blob, whose key names its digest. It may have a [mark](crate::marks) as well.
    ///
    /// registry:2 links a sha512 to the sha256 of the same bytes. A link to anything else is garbled: its content would be
    /// served under a digest that it does not have.
    pub(crate) fn of(digest: &Digest, content: Option<&[u8]>) -> Self {
        let Some(content) = content else {
            return Self::None;
        };
        match Self::of_tag(Some(content)) {
            Self::To(target) if target == *digest => Self::To(target),
            Self::To(target)
                if (digest.algorithm(), target.algorithm()) == (Algorithm::Sha512, Algorithm::Sha256) =>
            {
                Self::To(target)
            }
            Self::None | Self::Garbled | Self::To(_) => Self::Garbled,
        }
    }

    /// Returns the digest. A garbled link has none, and counts as absent for readers.
    pub(crate) const fn target(self) -> Option<Digest> {
        match self {
            Self::To(target) => Some(target),
            Self::None | Self::Garbled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_of_a_digest_is_a_link() {
        let [small, large] = Algorithm::ALL.map(|algorithm| Digest::of(algorithm, b"x"));
        let other = Digest::of(Algorithm::Sha256, b"y");
        let read = |digest: &Digest, text: &str| Link::of(digest, Some(text.as_bytes()));

        assert_eq!(read(&small, &small.to_string()), Link::To(small));
        assert_eq!(read(&large, &small.to_string()), Link::To(small));
        assert_eq!(read(&small, &format!("{small} 1")), Link::To(small));
        assert_eq!(Link::of(&small, None), Link::None);
        for garbage in [
            String::new(),
            "x".to_owned(),
            format!("{small}\n"),
            "- 1".to_owned(),
            other.to_string(),
            format!("{other} 1"),
        ] {
            assert_eq!(read(&small, &garbage), Link::Garbled, "{garbage:?}");
        }
        assert_eq!(read(&small, &large.to_string()), Link::Garbled);
    }

    #[test]
    fn the_link_of_a_tag_may_have_a_mark() {
        let digest = Digest::of(Algorithm::Sha512, b"x");
        let read = |text: &str| Link::of_tag(Some(text.as_bytes()));

        assert_eq!(read(&digest.to_string()), Link::To(digest));
        assert_eq!(read(&format!("{digest} 0123456789abcdef")), Link::To(digest));
        assert_eq!(Link::of_tag(None), Link::None);
        for garbage in ["", " ", "sha256:", &format!("{digest}\n")] {
            assert_eq!(read(garbage), Link::Garbled, "{garbage:?}");
        }
    }
}
