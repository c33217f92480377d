//! Headers of a tar file: one entry with its extensions.
//!
//! Specification: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Extended Header"; GNU tar's long names.

use crate::layout::fill;
use std::io::{Read, Seek, SeekFrom};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Maximum size of an extension, in bytes. Names of blobs have less than 200.
const EXTENSION: u64 = 64 << 10;

/// An entry, before its data.
pub(super) struct RawEntry {
    pub(super) name: String,
    pub(super) kind: EntryType,
    pub(super) size: u64,
    pub(super) link: Option<String>,
    /// Offset of the data.
    pub(super) offset: u64,
}

/// Problem of an archive: the entry, as far as it is known, and the reason.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) entry: String,
    pub(super) reason: String,
}

impl Refused {
    pub(super) fn new(entry: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            entry: entry.into(),
            reason: reason.into(),
        }
    }
}

#[derive(Default)]
struct Extensions {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

/// Reads the headers of the next entry; `None` at the end of the archive. `at` is the offset, and is moved to the data.
pub(super) fn next<R: Read + Seek>(
    reader: &mut R,
    at: &mut u64,
    len: u64,
) -> Result<Option<RawEntry>, Refused> {
    let mut extensions = Extensions::default();
    loop {
        let place = format!("the header at byte {at}");
        let mut block = [0; BLOCK];
        let read = reader
            .seek(SeekFrom::Start(*at))
            .and_then(|_| fill(reader, &mut block));
        match read {
            Ok(BLOCK) => {}
            // Some writers leave out the blocks of zeros at the end.
            Ok(0) if extensions.is_empty() => return Ok(None),
            Ok(_) => return Err(Refused::new(place, "the archive is truncated")),
            Err(error) => return Err(Refused::new(place, format!("cannot be read: {error}"))),
        }
        if block == [0; BLOCK] {
            return match extensions.is_empty() {
                true => Ok(None),
                false => Err(Refused::new(place, "the archive ends after an extension")),
            };
        }
        let header = Header::from_byte_slice(&block);
        *at += BLOCK as u64;
        let entry = entry(header, &block, *at).map_err(|reason| Refused::new(place, reason))?;
        let beyond = entry
            .offset
            .checked_add(padded(entry.size))
            .is_none_or(|end| end > padded(len));
        let extension = |reader: &mut R| {
            if entry.size > EXTENSION || beyond {
                return Err(format!(
                    "the extension has {} bytes, and may have at most {EXTENSION}",
                    entry.size
                ));
            }
            let mut data = vec![0; usize::try_from(entry.size).unwrap_or_default()];
            match fill(reader, &mut data) {
                Ok(read) if read as u64 == entry.size => Ok(data),
                Ok(_) => Err("the archive is truncated".to_owned()),
                Err(error) => Err(format!("cannot be read: {error}")),
            }
        };
        let known = match entry.kind {
            EntryType::GNULongName => extension(reader).and_then(|data| extensions.set_name(&data)),
            EntryType::GNULongLink => extension(reader).and_then(|data| extensions.set_link(&data)),
            EntryType::XHeader => extension(reader).and_then(|data| extensions.add_records(&data)),
            EntryType::XGlobalHeader => extension(reader).and_then(|data| refuse_global(&data)),
            _ => return extensions.apply(entry, len).map(Some),
        };
        known.map_err(|reason| Refused::new(&entry.name, reason))?;
        *at += padded(entry.size);
    }
}

/// Reads the fields of a header.
fn entry(header: &Header, block: &[u8], offset: u64) -> Result<RawEntry, String> {
    let checksum = header
        .cksum()
        .ok()
        .ok_or("no tar header; is this file an archive?")?;
    let sum = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    if block.iter().enumerate().map(sum).sum::<u32>() != checksum {
        return Err("no tar header: its checksum is wrong; is this file an archive?".into());
    }
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .ok()
            .ok_or_else(|| "the name is not UTF-8".to_owned())
    };
    let size = size(&header.as_old().size).ok_or("the size is not a number")?;
    Ok(RawEntry {
        name: text(&header.path_bytes())?,
        kind: header.entry_type(),
        size,
        link: header.link_name_bytes().map(|link| text(&link)).transpose()?,
        offset,
    })
}

/// Reads a size: octal digits, or GNU's binary form. Every reader must see the same end of an entry.
fn size(field: &[u8; 12]) -> Option<u64> {
    if let [0x80, 0, 0, 0, number @ ..] = field {
        return Some(u64::from_be_bytes(*number));
    }
    let text = str::from_utf8(field).ok()?;
    let digits = text.trim_start_matches(' ').trim_end_matches(['\0', ' ']);
    let is_octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    u64::from_str_radix(digits, 8).ok().filter(|_| is_octal)
}

impl Extensions {
    const fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && self.size.is_none()
    }

    fn set_name(&mut self, data: &[u8]) -> Result<(), String> {
        once(&mut self.name, terminated(data)?)
    }

    fn set_link(&mut self, data: &[u8]) -> Result<(), String> {
        once(&mut self.link, terminated(data)?)
    }

    fn add_records(&mut self, data: &[u8]) -> Result<(), String> {
        for (key, value) in records(data)? {
            match key {
                "path" => once(&mut self.name, value.to_owned())?,
                "linkpath" => once(&mut self.link, value.to_owned())?,
                "size" => once(
                    &mut self.size,
                    value.parse().ok().ok_or("the size is not a number")?,
                )?,
                key if key.starts_with("GNU.sparse") => return Err(SPARSE.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(self, mut entry: RawEntry, len: u64) -> Result<RawEntry, Refused> {
        entry.name = self.name.unwrap_or(entry.name);
        entry.link = self.link.or(entry.link);
        if let Some(size) = self.size {
            // A size that the header cannot have is 0 there. Two sizes make two readers see different entries.
            if entry.size != 0 && entry.size != size {
                let reason = format!("its header gives {} bytes, and its extension {size}", entry.size);
                return Err(Refused::new(entry.name, reason));
            }
            entry.size = size;
        }
        if entry.kind == EntryType::GNUSparse {
            return Err(Refused::new(entry.name, SPARSE));
        }
        if entry.offset.checked_add(entry.size).is_none_or(|end| end > len) {
            let reason = format!("it has {} bytes, but the archive ends before", entry.size);
            return Err(Refused::new(entry.name, reason));
        }
        Ok(entry)
    }
}

const SPARSE: &str = "a sparse file; store it whole";

fn once<T>(field: &mut Option<T>, value: T) -> Result<(), String> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err("the extension appears twice".into()),
    }
}

/// Refuses records that would change entries.
fn refuse_global(data: &[u8]) -> Result<(), String> {
    let changes = |key: &str| matches!(key, "path" | "linkpath" | "size") || key.starts_with("GNU.sparse");
    match records(data)?.into_iter().find(|(key, _)| changes(key)) {
        Some((key, _)) => Err(format!("a global extension sets {key:?}")),
        None => Ok(()),
    }
}

fn terminated(data: &[u8]) -> Result<String, String> {
    let data = data.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(data.to_vec())
        .ok()
        .ok_or_else(|| "the name is not UTF-8".into())
}

/// Reads records of the form `LENGTH KEY=VALUE\n`.
fn records(data: &[u8]) -> Result<Vec<(&str, &str)>, String> {
    let malformed = || "the extension is malformed".to_owned();
    let mut rest = data;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let digits = rest.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let len = rest
            .get(..digits)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let len: usize = len.and_then(|len| len.parse().ok()).ok_or_else(malformed)?;
        let record = rest
            .get(digits + 1..len)
            .and_then(|record| record.strip_suffix(b"\n"));
        let record = record.ok_or_else(malformed)?;
        rest = rest.get(len..).unwrap_or_default();
        // A value of another key may have any bytes, such as an extended attribute.
        if let Ok(text) = std::str::from_utf8(record) {
            records.push(text.split_once('=').ok_or_else(malformed)?);
        } else if record.starts_with(b"path=") || record.starts_with(b"linkpath=") {
            return Err("the name is not UTF-8".into());
        }
    }
    Ok(records)
}

/// Rounds up to whole blocks.
pub(super) const fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64)
}
