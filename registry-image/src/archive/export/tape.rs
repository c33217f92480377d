//! [`Tape`]: writes entries of a tar file whose headers depend on names and sizes alone.

use std::io::{self, Write};
use tar::{EntryType, Header};

const BLOCK: usize = 512;

pub(super) struct Tape<'a> {
    out: &'a mut (dyn Write + Send),
}

impl<'a> Tape<'a> {
    pub(super) const fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out }
    }

    /// Writes a whole file.
    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.data(bytes)?;
        self.end(bytes.len() as u64)
    }

    /// Writes the header of a file.
    pub(super) fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        let mut header = header(EntryType::Regular, size);
        if header.set_path(name).is_err() {
            // Blobs under a sha512 have longer names than fit. GNU's form is the one that all readers know.
            let mut long = self::header(EntryType::GNULongName, name.len() as u64 + 1);
            long.set_path("././@LongLink")?;
            long.set_cksum();
            self.out.write_all(long.as_bytes())?;
            self.out.write_all(name.as_bytes())?;
            self.out.write_all(&[0])?;
            self.end(name.len() as u64 + 1)?;
            let begin: String = name.chars().take(100).collect();
            header.set_path(begin)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Fills the last block of a file of `size` bytes.
    pub(super) fn end(&mut self, size: u64) -> io::Result<()> {
        let missing = size.next_multiple_of(BLOCK as u64) - size;
        let zeros = [0; BLOCK];
        let padding = usize::try_from(missing)
            .ok()
            .and_then(|missing| zeros.get(..missing));
        self.out.write_all(padding.unwrap_or_default())
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}
