//! Maintenance of a storage, as futures that the host drives. No task runs by itself.
//!
//! [`Upkeep`] is all recurring maintenance as one future, and has an example. The functions here are its steps.
//! [`retention`] has rules that decide which tags are kept.
//!
//! It uses the planes [`inspect`](crate::Storage::inspect), [`expire`](crate::Storage::expire) and
//! [`trash`](crate::Storage::trash), concurrently with traffic. It reads no clock: the host passes points in time.

mod reconcile;
pub mod retention;
mod scan;
mod trash;
mod upkeep;
mod uploads;

pub use self::{
    reconcile::reconcile_uploads,
    scan::ExpiredUploads,
    trash::{ExpiredTrash, expire_trash},
    upkeep::{Clock, Upkeep, UploadExpiry},
    uploads::{expire_empty_uploads, expire_uploads},
};
