//! Runs as the user who owns a storage.
//!
//! Root may work on the storage of another user, as in a container whose server does not run as root. Files of root in
//! such a directory would be files that the server cannot write.

use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Gives up the rights of root for those of the user who owns a directory. Other users stay who they are.
///
/// This concerns this thread and those that it starts from now on, so that a process calls it before it has others.
pub(super) fn become_owner_of(directory: &Path) -> io::Result<()> {
    let owner = fs::metadata(directory)?;
    if !is_other(&owner) {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    set_thread_groups(&[group])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

/// Returns true if [`become_owner_of`] changes the user of the process.
pub(super) fn becomes_owner_of(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|owner| is_other(&owner))
}

fn is_other(owner: &fs::Metadata) -> bool {
    geteuid().is_root() && owner.uid() != 0
}
