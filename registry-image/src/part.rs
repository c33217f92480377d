//! [`Part`]: bytes of a file that several readers share.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
};

/// A file whose content can be read at any place.
pub(crate) trait Seekable: Read + Seek + Send {}

impl<T: Read + Seek + Send> Seekable for T {}

pub(crate) type Shared = Arc<Mutex<Box<dyn Seekable>>>;

/// Bytes of a file from an offset. Each read seeks, so several parts can be read in turns.
pub(crate) struct Part {
    file: Shared,
    offset: u64,
    size: u64,
}

impl Part {
    pub(crate) fn new(file: &Shared, offset: u64, size: u64) -> Self {
        Self {
            file: Arc::clone(file),
            offset,
            size,
        }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.read(buffer)?;
        self.offset += read as u64;
        self.size -= read as u64;
        Ok(read)
    }
}
