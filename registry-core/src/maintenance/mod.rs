//! Maintenance of a storage, as futures that the host drives: nothing runs by itself.
//!
//! It uses the plane [`StorageAdmin`](crate::StorageAdmin), concurrently with traffic. It reads no clock: the
//! host passes points in time.

mod uploads;

pub use self::uploads::{ExpiredUploads, expire_empty_uploads, expire_uploads};
