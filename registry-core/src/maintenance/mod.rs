//! What keeps a storage in order, as futures that the host drives: nothing here runs by itself.
//!
//! Over the plane [`StorageAdmin`](crate::StorageAdmin), beside traffic, and without a clock: a host says since when.

mod uploads;

pub use self::uploads::{ExpiredUploads, expire_empty_uploads, expire_uploads};
