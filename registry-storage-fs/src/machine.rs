//! Names of this machine, and of its present boot.

use std::fs;

/// Returns the name of this host, or of this container.
pub(crate) fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// Returns an identifier of this boot, or of this process if the system names none; that one is valid for less long.
pub(crate) fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) if !id.trim().is_empty() => id.trim().to_owned(),
        _ => {
            let mut random = [0; 16];
            // Without randomness no two processes may trust each other's checkpoints, and 0 is nobody's id.
            let _ = getrandom::fill(&mut random);
            format!(
                "process-{}-{:032x}",
                std::process::id(),
                u128::from_ne_bytes(random)
            )
        }
    }
}
