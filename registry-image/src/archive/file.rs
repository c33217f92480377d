//! [`ArchiveFile`]: the files of an archive, as those of a layout.

use super::members::{Member, Members};
use crate::{
    error::Error,
    layout::{Files, OpenFile},
};
use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
};

/// A file whose content can be read at any place.
pub(super) trait Seekable: Read + Seek + Send {}

impl<T: Read + Seek + Send> Seekable for T {}

type Shared = Arc<Mutex<Box<dyn Seekable>>>;

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
            reader: Box::new(Part {
                file: Arc::clone(&self.file),
                member,
            }),
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

/// Rest of a member.
struct Part {
    file: Shared,
    member: Member,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.member.size).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.member.offset))?;
        let read = file.read(buffer)?;
        self.member.offset += read as u64;
        self.member.size -= read as u64;
        Ok(read)
    }
}
