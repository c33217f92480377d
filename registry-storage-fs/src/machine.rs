//! Names of this machine, and of its present boot.

use std::fs;

/// Returns the name of this host, or of this container.
pub(crate) fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// Returns an identifier of this boot. If the system has none, returns one of this process, which is valid for a
/// shorter time.
pub(crate) fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) if !id.trim().is_empty() => id.trim().to_owned(),
        _ => {
            let mut random = [0; 16];
            // Without randomness, the process id alone distinguishes this process from others.
            let _ = getrandom::fill(&mut random);
            format!(
                "process-{}-{:032x}",
                std::process::id(),
                u128::from_ne_bytes(random)
            )
        }
    }
}
