//! [`ArchiveFile`]: the files of an archive, as those of a layout.

use super::members::{Member, Members};
use crate::{
    error::Error,
    layout::{Files, OpenFile},
    part::{Part, Seekable, Shared},
};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

pub(super) struct ArchiveFile {
    place: String,
    members: Members,
    file: Shared,
}

impl ArchiveFile {
    /// Indexes an archive.
    pub(super) fn index(place: String, mut file: Box<dyn Seekable>) -> Result<Self, Error> {
        let members = Members::read(&mut file);
        let members = members.map_err(|refused| Error::layout(&place, refused.entry, refused.reason))?;
        Ok(Self {
            place,
            members,
            file: Arc::new(Mutex::new(file)),
        })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.member(path).is_some()
    }

    /// Returns the place of a file. Names that link to one file have the same place.
    pub(super) fn member(&self, path: &str) -> Option<Member> {
        self.members.get(path)
    }
}

impl Files for ArchiveFile {
    fn place(&self) -> &str {
        &self.place
    }

    fn open(&self, path: &str) -> Result<Option<OpenFile>, Error> {
        let Some(member) = self.members.get(path) else {
            return Ok(None);
        };
        Ok(Some(OpenFile {
            size: member.size,
            reader: Box::new(Part::new(&self.file, member.offset, member.size)),
        }))
    }
}

impl fmt::Debug for ArchiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveFile")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
