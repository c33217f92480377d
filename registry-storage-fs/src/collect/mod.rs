//! Collection: removal of content that nothing refers to, while clients pull and push.
//!
//! The caller decides what nothing refers to. This module checks what it alone can know, each item under its lock:
//! that nobody was promised the item since the run began, that it is idle, that no tag points at it, and that no
//! session is being committed to it.
//!
//! A promise is made in a [section](crate::sections): it records a touch, and holds the locks of all that it relies on.
//! A removal takes the lock of its item exclusively, or leaves the item for the next run. The two therefore exclude each
//! other: a push finds the content and keeps it, or finds it absent.

mod accounting;
mod accounts;
mod bloom;
pub(crate) mod collecting;
mod data;
mod deletions;
mod empties;
mod leftovers;
mod links;
mod manifests;
mod nearby;
pub(crate) mod places;
mod releases;
mod removals;
mod repositories;
mod run;
mod spans;
mod state;
mod tag_targets;
#[cfg(test)]
mod tests;
mod touches;
