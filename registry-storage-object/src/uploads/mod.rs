//! Upload sessions: data in the bucket, which any replica continues.
//!
//! A session is one record, which is moved by compare-and-swap: its offset, its hash state, where its bytes are, and how
//! far it has come. Its bytes are, in this order,
//!
//! - the parts of an object in parts. A part has a number that no other part has had: a late part of an append that
//!   died overwrites nothing;
//! - pieces: private objects, because a part has at least 5 MiB and cannot be read back;
//! - up to 256 KiB in the record.
//!
//! If the store cannot write under the condition that an object has not changed, the record is the last entry of a
//! numbered log, and its end stays as an entry for some time. Each move then needs a listing more.
//!
//! An append that may take time claims the session first, so that another one is refused at once. A claim ends with the
//! append, or when its record is old: the claim spares work, and safety rests on the compare-and-swap alone.
//!
//! If the digest is known when the first part is sent, the parts become the blob itself, once the bytes are proved.
//! Otherwise they become the private object of the session, which is copied.
//!
//! A body that closes the session does not move the record: its bytes are in parts or in the state that the caller
//! passes to the commit.
//!
//! registry:2 keeps its own sessions in `_uploads/` of a repository. They are neither continued nor touched.

mod append;
mod commit;
mod end;
mod gather;
mod inspect;
mod known;
mod later;
mod memory;
mod record;
mod rehash;
mod removals;
#[cfg(test)]
mod replicas;
mod running;
mod session;
mod sweep;
#[cfg(test)]
mod tests;
mod text;
mod writer;

pub(crate) use self::{known::KnownSessions, memory::PartMemory, removals::Removals, running::Running};

use self::record::Record;
use crate::store::Store;
use registry_core::{
    RepositoryName, UploadId,
    storage::{NewUpload, Result, StorageError, UploadState},
};

impl Store {
    pub(crate) async fn open_upload(
        &self,
        repository: &RepositoryName,
        new: NewUpload,
    ) -> Result<UploadState> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| StorageError::internal(format!("the system has no random numbers: {error}")))?;
        let record = Record::open(repository, &new, self.now())?;
        let session = self.create(UploadId::from_random(random), record).await?;
        Ok(session.state())
    }

    pub(crate) async fn upload(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Option<UploadState>> {
        let found = self.find(repository, id).await?;
        Ok(found.map(|session| session.state()))
    }
}
