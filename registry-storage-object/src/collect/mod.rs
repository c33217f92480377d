//! Collection of a bucket: what nothing refers to is removed beside the traffic of all replicas.
//!
//! One run at a time holds the state of the collection. It publishes lists of items that it is going to remove, waits until
//! every section knows them, and removes what was not rescued: see [`gate`](crate::gate). A run that stops leaves its lists.
//! The next one, of whichever replica, goes on with them, and the time that has passed counts.
//!
//! A bucket does not know which content clients were told of lately. Content counts as used when it was written. So
//! nothing is released sooner than the rest, and [`released`](registry_core::storage::StorageCollect::released) is `false`.
//!
//! Requests: a list of up to 65,536 items is 2. A batch of removals is 3 and, for each item, 1 or 2 looks, 1 for its rescue,
//! and its removal.

mod begin;
mod census;
mod closure;
mod condemn;
mod end;
mod heartbeat;
mod look;
mod plane;
mod reclaim;
mod repository;
mod suspects;

#[cfg(test)]
pub(crate) mod tests;
