//! Checks stored content against its digest.

use super::from_disk::{drop_cached, hash_from_disk};
use crate::{
    error::{Context as _, FsError},
    pauses::Point,
    quarantine::Damage,
    seams,
    store::Store,
    stored_file,
};
use registry_core::{
    Digest,
    hash::Hasher,
    storage::{Checked, Evidence, Result},
};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Maximum number of times that content is read while pushes keep replacing it.
const TRIES: usize = 8;
/// Size in bytes above which content is read with a low priority. Smaller content takes no time.
const LARGE: u64 = 4 << 20;
/// Priority for large content. 19 is the lowest one.
const NICE: i32 = 15;

impl Store {
    pub(super) fn check(&self, digest: &Digest) -> Result<Checked> {
        let path = self.layout.blob(digest);
        let unreadable = |reason| Checked::unreadable(path.display().to_string(), reason);
        for _ in 0..TRIES {
            match self.check_once(digest, &path) {
                Ok(Some(checked)) => return Ok(checked),
                Ok(None) => {}
                Err(error) => return Ok(unreadable(format!("{error}: {}", error.source()))),
            }
        }
        Ok(unreadable(format!(
            "it was replaced {TRIES} times while it was read"
        )))
    }

    /// Returns `None` if the content was replaced meanwhile.
    fn check_once(&self, digest: &Digest, path: &Path) -> Result<Option<Checked>, FsError> {
        seams::opened(path);
        let Some(file) = stored_file::open(path).if_there("open", path)? else {
            return Ok(Some(Checked::Absent));
        };
        let found = file.metadata().at("read the metadata of", path)?;
        if !found.is_file() {
            // `stored_file::open` opens the null device in place of a socket.
            let Some(there) = fs::metadata(path).if_there("read the metadata of", path)? else {
                return Ok(Some(Checked::Absent));
            };
            let corrupt = || evidence(digest, path, &there, &Damage::NoFile);
            return Ok((!there.is_file()).then(corrupt));
        }
        if found.len() > LARGE {
            // The priority is that of this thread alone, which ends with the check. A system that does not have that loses
            // nothing else.
            let _ = rustix::process::setpriority_process(None, NICE);
        }
        let hashed = || hash_from_disk(path, &file, Hasher::new(digest.algorithm())).at("read", path);
        let hasher = hashed()?;
        let (size, first) = (hasher.offset(), hasher.digest());
        if first == Some(*digest) {
            return Ok(Some(Checked::sound(size)));
        }
        self.pauses.reach(Point::CheckReadOnce);
        let again = hashed()?.digest();
        let now = fs::metadata(path).if_there("read the metadata of", path)?;
        if now.is_none_or(|now| version(&now) != version(&found)) {
            return Ok(None);
        }
        if again != first {
            drop_cached(&file);
            let reason = "read twice with different results; check the memory and the disk of this machine";
            return Ok(Some(Checked::unreadable(path.display().to_string(), reason)));
        }
        let damage = Damage::Digest { size, actual: first };
        Ok(Some(evidence(digest, path, &found, &damage)))
    }

    /// Quarantines content if it is still what was checked.
    pub(super) fn quarantine(&self, evidence: &Evidence) -> Result<bool> {
        let path = self.layout.blob(&evidence.digest);
        let _lock = self.blobs.lock(evidence.digest);
        let now = fs::metadata(&path).if_there("read the metadata of", &path)?;
        if now.is_none_or(|now| version(&now).as_bytes() != evidence.version) {
            return Ok(false);
        }
        self.set_aside(&evidence.digest, &path, &evidence.reason)?;
        Ok(true)
    }
}

fn evidence(digest: &Digest, path: &Path, found: &Metadata, damage: &Damage) -> Checked {
    Checked::Corrupt(Evidence::new(
        *digest,
        path.display().to_string(),
        damage.to_string(),
        version(found),
    ))
}

/// Identifies the content of a file as of now.
fn version(metadata: &Metadata) -> String {
    format!(
        "{} {} {} {}.{}",
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec()
    )
}
