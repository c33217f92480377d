//! [`Members`]: the regular files of an archive by their names.

use super::header::{RawEntry, Refused, next, padded};
use registry_core::Digest;
use std::{
    collections::{BTreeMap, btree_map::Entry as Place},
    io::{Read, Seek, SeekFrom},
};
use tar::EntryType;

/// Maximum number of entries.
const ENTRIES: usize = 200_000;
/// Maximum number of bytes in all names.
const NAMES: usize = 32 << 20;

/// Place of a file in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Regular files of an archive, and links to them.
#[derive(Debug, Default)]
pub(super) struct Members {
    files: BTreeMap<String, Member>,
}

impl Members {
    pub(super) fn get(&self, name: &str) -> Option<Member> {
        self.files.get(name).copied()
    }

    /// Reads all headers of an archive.
    pub(super) fn read<R: Read + Seek>(reader: &mut R) -> Result<Self, Refused> {
        let len = reader.seek(SeekFrom::End(0));
        let len = len.map_err(|error| Refused::new("end", format!("cannot be read: {error}")))?;
        let mut members = Self::default();
        let mut links: Vec<(String, String)> = Vec::new();
        let (mut at, mut entries, mut names) = (0, 0_usize, 0_usize);
        while let Some(entry) = next(reader, &mut at, len)? {
            at = entry.offset.saturating_add(padded(entry.size));
            entries += 1;
            names += entry.name.len() + entry.link.as_ref().map_or(0, String::len);
            if entries > ENTRIES || names > NAMES {
                return Err(Refused::new(
                    entry.name,
                    format!("the archive has more than {ENTRIES} entries, or too long names"),
                ));
            }
            let name = normal(&entry.name).map_err(|reason| Refused::new(&entry.name, reason))?;
            match kind(&entry)? {
                Kind::File => members.add(name, &entry)?,
                Kind::Directory => {}
                Kind::Link(target) => {
                    let target = resolve(&name, &target).map_err(|reason| Refused::new(&name, reason))?;
                    links.push((name, target));
                }
            }
        }
        // A link may come before its target. It never leads to another link.
        let targets: Vec<_> = links.iter().map(|(_, target)| members.get(target)).collect();
        for ((name, target), member) in links.into_iter().zip(targets) {
            let Some(member) = member else {
                let reason = format!("a link to {target:?}, which is not a regular file of the archive");
                return Err(Refused::new(name, reason));
            };
            if members.files.insert(name.clone(), member).is_some() {
                return Err(Refused::new(name, REPEATED));
            }
        }
        Ok(members)
    }

    fn add(&mut self, name: String, entry: &RawEntry) -> Result<(), Refused> {
        let member = Member {
            offset: entry.offset,
            size: entry.size,
        };
        match self.files.entry(name) {
            Place::Vacant(place) => {
                place.insert(member);
                Ok(())
            }
            // The name of a blob is its digest, which is verified when it is read. The first one counts.
            Place::Occupied(place) if is_blob(place.key()) => Ok(()),
            Place::Occupied(place) => Err(Refused::new(place.key(), REPEATED)),
        }
    }
}

/// Returns true for `blobs/ALGORITHM/HEX`.
fn is_blob(name: &str) -> bool {
    let digest = name.strip_prefix("blobs/").and_then(|rest| rest.split_once('/'));
    digest.is_some_and(|(algorithm, hex)| Digest::parse(&format!("{algorithm}:{hex}")).is_ok())
}

const REPEATED: &str = "a second entry of this name; only one can be meant";

enum Kind {
    File,
    Directory,
    Link(String),
}

fn kind(entry: &RawEntry) -> Result<Kind, Refused> {
    let refused = |reason: &str| Err(Refused::new(&entry.name, reason));
    // Before POSIX, a directory was a file whose name ends with a slash.
    match entry.kind {
        EntryType::Regular if entry.name.ends_with('/') && entry.size == 0 => Ok(Kind::Directory),
        EntryType::Regular if entry.name.ends_with('/') => refused("a directory with content"),
        EntryType::Regular => Ok(Kind::File),
        EntryType::Directory if entry.size == 0 => Ok(Kind::Directory),
        EntryType::Directory => refused("a directory with content"),
        EntryType::Symlink if entry.size == 0 => match &entry.link {
            Some(link) => Ok(Kind::Link(link.clone())),
            None => refused("a link without a target"),
        },
        EntryType::Symlink => refused("a link with content"),
        EntryType::Link => refused("a hard link; store the file itself"),
        EntryType::Char | EntryType::Block => refused("a device"),
        EntryType::Fifo => refused("a pipe"),
        other => {
            let reason = format!("an entry of the type {:?}", char::from(other.as_byte()));
            Err(Refused::new(&entry.name, reason))
        }
    }
}

/// Removes `./` before a name and a slash after it.
fn normal(name: &str) -> Result<String, &'static str> {
    if name.starts_with('/') {
        return Err("an absolute path");
    }
    let mut parts = Vec::new();
    for part in name.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => return Err("a path with `..`"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Returns the name of the member that a link points at.
fn resolve(link: &str, target: &str) -> Result<String, String> {
    if target.starts_with('/') {
        return Err(format!("a link to the absolute path {target:?}"));
    }
    let mut parts: Vec<_> = link.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." if parts.pop().is_none() => {
                return Err(format!("a link to {target:?}, outside of the archive"));
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}
