//! [`ObjectOptions`]: settings of a storage in a bucket.

use crate::probe::kept::Probe;
use std::time::Duration;

/// Settings of an [`ObjectStorage`](crate::ObjectStorage).
#[derive(Clone, Debug)]
pub struct ObjectOptions {
    pub(crate) root: String,
    pub(crate) part_size: u64,
    pub(crate) part_memory: u64,
    pub(crate) equal_parts: bool,
    pub(crate) manifest_memory: u64,
    pub(crate) read_memory: u64,
    pub(crate) read_ahead: usize,
    /// Size of a range that is read ahead.
    pub(crate) read_range: u64,
    /// Bytes that a client takes in a second, at least, if something is read ahead of it.
    pub(crate) read_pace: u64,
    /// Bytes of one answer that the store sends in a second, at most, if something is read ahead from it.
    pub(crate) store_pace: u64,
    pub(crate) read_only: bool,
    pub(crate) sole_replica: bool,
    pub(crate) punctual: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) redirects: Option<Duration>,
    pub(crate) probed: Option<Probe>,
    pub(crate) holder: String,
    pub(crate) collection_delay: Option<Duration>,
    /// Number of links of a repository up to which its tags are listed anew for each page.
    pub(crate) few_links: usize,
}

impl ObjectOptions {
    pub(crate) fn new() -> Self {
        Self {
            root: String::new(),
            part_size: 16 << 20,
            part_memory: 192 << 20,
            equal_parts: false,
            manifest_memory: 32 << 20,
            read_memory: 128 << 20,
            read_ahead: 3,
            read_range: 16 << 20,
            read_pace: 16 << 20,
            store_pace: 96 << 20,
            read_only: false,
            sole_replica: false,
            punctual: false,
            patience: None,
            redirects: None,
            probed: None,
            holder: format!("process {}", std::process::id()),
            few_links: 50,
            collection_delay: None,
        }
    }

    /// Makes an index of the tags of each repository, also of a small one.
    #[cfg(test)]
    pub(crate) fn index_all(self) -> Self {
        Self { few_links: 0, ..self }
    }

    /// Reads ahead of every client from every store, in smaller ranges.
    #[cfg(test)]
    pub(crate) fn read_ranges_of(self, bytes: u64) -> Self {
        Self {
            read_range: bytes,
            read_pace: 1,
            store_pace: u64::MAX,
            ..self
        }
    }

    /// Sets the directory of the bucket that has the content, such as `team/registry`. The default is the whole bucket.
    #[must_use]
    pub fn root(self, directory: &str) -> Self {
        Self {
            root: directory.trim_matches('/').to_owned(),
            ..self
        }
    }

    /// Sets the size of the parts of an upload, in bytes. The default is 16 MiB; stores require at least 5 MiB.
    #[must_use]
    pub fn part_size(self, bytes: u64) -> Self {
        Self {
            part_size: bytes,
            ..self
        }
    }

    /// Sets the memory for the bytes of all uploads that the store does not have yet, in bytes. The default is 192 MiB. An
    /// upload waits until a part fits. Beside it, each upload has less than 1 MiB.
    #[must_use]
    pub fn part_memory(self, bytes: u64) -> Self {
        Self {
            part_memory: bytes,
            ..self
        }
    }

    /// Sends parts of one size only, for stores that accept no other ones, such as Cloudflare R2. A blob then has at most
    /// 10,000 times the size of a part. Without it, parts grow with the blob, as far as the memory for parts allows.
    #[must_use]
    pub fn equal_parts(self) -> Self {
        Self {
            equal_parts: true,
            ..self
        }
    }

    /// Sets the memory for the content of manifests that were read, in bytes. The default is 32 MiB. A manifest by tag then
    /// takes one request to the store instead of three.
    ///
    /// Content that is kept is served although its bytes in the store are damaged since.
    #[must_use]
    pub fn manifest_memory(self, bytes: u64) -> Self {
        Self {
            manifest_memory: bytes,
            ..self
        }
    }

    /// Sets the memory for what is read ahead of all clients that pull large blobs, in bytes. The default is 128 MiB. Without
    /// memory, a pull goes on as one request to the store.
    #[must_use]
    pub fn read_memory(self, bytes: u64) -> Self {
        Self {
            read_memory: bytes,
            ..self
        }
    }

    /// Sets the number of ranges, of 16 MiB each, that are read ahead of one client while it pulls a large blob. The default is
    /// 3, and 0 reads each blob by one request. Nothing is read ahead if the store sends one answer at 96 MiB/s or more.
    #[must_use]
    pub fn read_ahead(self, ranges: usize) -> Self {
        Self {
            read_ahead: ranges,
            ..self
        }
    }

    /// Changes nothing in the bucket.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Declares that no other process writes to the bucket, for stores that do not keep conditions.
    #[must_use]
    pub fn sole_replica(self) -> Self {
        Self {
            sole_replica: true,
            ..self
        }
    }

    /// Declares that all handles on the bucket are of clones of one [`Location`](crate::Location), and that no request takes
    /// effect after its answer, as in tests. Then collections need no delay.
    #[must_use]
    pub fn punctual(self) -> Self {
        Self {
            punctual: true,
            ..self
        }
    }

    /// Repeats requests for this time while the store does not answer, for work that nobody waits for, such as a verification
    /// of everything. Without it, they are given up after some seconds, since clients wait.
    ///
    /// An opening does not wait longer: the store may have another address. Nor do writes that are sent once.
    #[must_use]
    pub fn patience(self, time: Duration) -> Self {
        Self {
            patience: Some(time),
            ..self
        }
    }

    /// Sends clients to the store for the content of blobs, by URLs that are valid for `validity`.
    #[must_use]
    pub fn redirects(self, validity: Duration) -> Self {
        Self {
            redirects: Some(validity),
            ..self
        }
    }

    /// Sets the name by which others see this process while it holds the bucket, such as its host. The default is its id.
    #[must_use]
    pub fn holder(self, name: impl Into<String>) -> Self {
        Self {
            holder: name.into(),
            ..self
        }
    }

    /// Shortens the time between the announcement of a removal and the removal. The time in which a push has to be published
    /// is a part of it, and so is the time that a store may take to act on a request.
    ///
    /// The default is about 12 minutes, and more on a store that accepts expired URLs. A longer time has no effect. All
    /// processes of a bucket must have the same. Tests need a shorter one; with it, a store that hesitates for some seconds
    /// may lose content.
    #[must_use]
    pub fn collection_delay(self, delay: Duration) -> Self {
        Self {
            collection_delay: Some(delay),
            ..self
        }
    }

    /// Takes the result of an earlier [probe](Self::probe) of the same store, instead of probing it again at the opening.
    /// Without it, an opening takes the result of the last day that the bucket has for the same address, if there is one.
    #[must_use]
    pub fn probed(self, probe: Probe) -> Self {
        Self {
            probed: Some(probe),
            ..self
        }
    }
}
