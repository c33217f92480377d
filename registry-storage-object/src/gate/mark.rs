//! [`Mark`]: a short name of an item that a collection may remove.

use registry_core::{Algorithm, Digest, RepositoryName, storage::Victim};

/// Short name of an item. Two items of one mark are condemned, protected and removed alike, so that a collision keeps or
/// protects the wrong one and removes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark(u64);

/// Number of bytes of a mark.
pub(crate) const LENGTH: usize = 8;

/// Kind of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Link,
    Data,
    Repository,
}

impl Mark {
    pub(crate) fn of(victim: &Victim) -> Self {
        match victim {
            Victim::Manifest(repository, digest) => Self::manifest(repository, digest),
            Victim::Link(repository, digest) => Self::link(repository, digest),
            Victim::Data(digest) => Self::data(digest),
            Victim::Repository(repository) => Self::repository(repository),
        }
    }

    pub(crate) fn manifest(repository: &RepositoryName, digest: &Digest) -> Self {
        Self::hash(Kind::Manifest, &format!("{repository}@{digest}"))
    }

    pub(crate) fn link(repository: &RepositoryName, digest: &Digest) -> Self {
        Self::hash(Kind::Link, &format!("{repository}@{digest}"))
    }

    pub(crate) fn data(digest: &Digest) -> Self {
        Self::hash(Kind::Data, &digest.to_string())
    }

    pub(crate) fn repository(repository: &RepositoryName) -> Self {
        Self::hash(Kind::Repository, repository.as_str())
    }

    /// The first 2 bits are the kind.
    fn hash(kind: Kind, text: &str) -> Self {
        let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
        let first = digest.as_bytes().first_chunk::<LENGTH>();
        let hash = u64::from_be_bytes(*first.expect("a sha256 digest has 32 bytes"));
        Self(hash >> 2 | (kind as u64) << 62)
    }

    pub(crate) const fn kind(self) -> Kind {
        match self.0 >> 62 {
            0 => Kind::Manifest,
            1 => Kind::Link,
            2 => Kind::Data,
            _ => Kind::Repository,
        }
    }

    /// Returns the text form, as the end of a key.
    pub(crate) fn text(self) -> String {
        format!("{:016x}", self.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == 2 * LENGTH).then_some(())?;
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

/// Writes marks as bytes.
pub(crate) fn to_bytes(marks: &[Mark]) -> Vec<u8> {
    marks.iter().flat_map(|mark| mark.0.to_be_bytes()).collect()
}

/// Reads marks from bytes. Returns `None` if they end within a mark.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Vec<Mark>> {
    let (marks, rest) = bytes.as_chunks::<LENGTH>();
    rest.is_empty().then(|| {
        marks
            .iter()
            .map(|bytes| Mark(u64::from_be_bytes(*bytes)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_an_item_is_the_same_in_every_version() {
        let name = RepositoryName::parse("team/app").unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"");
        let marks = [
            Victim::Manifest(name.clone(), digest),
            Victim::Link(name.clone(), digest),
            Victim::Data(digest),
            Victim::Repository(name),
        ]
        .map(|victim| Mark::of(&victim));

        let texts = marks.map(Mark::text);
        assert_eq!(
            texts,
            [
                "1005aeddd7dba9c5",
                "5005aeddd7dba9c5",
                "80d939e2fa2573be",
                "f91bdf5d1e0e013e"
            ]
        );
        assert_eq!(texts.map(|text| Mark::parse(&text)), marks.map(Some));
        assert_eq!(from_bytes(&to_bytes(&marks)).as_deref(), Some(&marks[..]));
        assert_eq!(from_bytes(b"123456789"), None);
    }
}
