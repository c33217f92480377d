//! Maintenance of a storage, as futures that the host drives. No task runs by itself.
//!
//! [`Upkeep`] is all recurring maintenance as one future, and has an example. The functions here are its steps.
//! [`retention`] has rules that decide which tags are kept.
//!
//! [`verify()`] finds damage, and repairs it if asked to.
//!
//! It uses the planes [`inspect`](crate::Storage::inspect), [`expire`](crate::Storage::expire),
//! [`collect`](crate::Storage::collect), [`trash`](crate::Storage::trash) and [`repair`](crate::Storage::repair),
//! concurrently with traffic. It reads no clock: the host passes points in time.

mod clock;
mod clock_note;
mod clock_watch;
mod collect;
mod denied;
mod histories;
mod notes;
mod pressure;
mod reconcile;
mod repositories;
pub mod retention;
mod scan;
mod space;
mod trash;
mod upkeep;
mod uploads;
mod verify;

pub use self::{
    clock::Clock,
    clock_watch::{ClockWatch, Distrust},
    collect::{
        CollectCounts, CollectEvent, CollectOptions, CollectReport, CollectSchedule, Collections, DueItems,
        Later, PausedCollections, Pin, PinCause, Removed, Restorable, Stopped, Why, collect,
    },
    histories::{ExpiredHistories, expire_histories},
    notes::{MemoryNotes, Notes},
    reconcile::reconcile_uploads,
    scan::ExpiredUploads,
    space::SpaceWatch,
    trash::{ExpiredTrash, expire_trash},
    upkeep::{Upkeep, UploadExpiry},
    uploads::{expire_empty_uploads, expire_uploads},
    verify::{
        Affected, Finding, FindingKind, InvalidWindow, LastVerification, Remedy, Repaired, VerifyEvent,
        VerifyOptions, VerifyReport, VerifySchedule, VerifyStatus, Window, verify,
    },
};
