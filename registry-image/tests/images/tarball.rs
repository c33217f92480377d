//! Tar files, written entry by entry, also ones that no tool would write.

use tar::{EntryType, Header};

/// A tar file under construction.
#[derive(Default)]
pub(crate) struct Tarball(Vec<u8>);

impl Tarball {
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_ref())
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    pub(crate) fn entry(self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        self.sized(kind, name, link, content, content.len() as u64)
    }

    /// Adds an entry whose header has another size than its content.
    pub(crate) fn sized(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
        size: u64,
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        // `set_path` refuses what these tests are about.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a file without content, and with these bytes as its size.
    pub(crate) fn with_size(mut self, size: &[u8; 12]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[0] = b'a';
        header.as_old_mut().size = *size;
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    /// Adds a pax extension for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        self.entry(EntryType::XHeader, "pax", "", &self::records(records))
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) fn records(records: &[(&str, &str)]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = format!(" {key}={value}\n");
        let mut len = rest.len() + 1;
        while len != rest.len() + len.to_string().len() {
            len = rest.len() + len.to_string().len();
        }
        format!("{len}{rest}")
    };
    records.iter().map(record).collect::<String>().into_bytes()
}
