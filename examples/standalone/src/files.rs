//! How many files the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For what is open besides connections: the storage's files, and what the runtime needs.
const OWN: u64 = 512;

/// Raises the limit as far as the system allows without asking, as many systems begin with 1,024 and allow far more.
/// A warning says if that is too few for this many connections, each of which may have a blob open.
pub(crate) fn allow_for(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    let needed = (connections as u64).saturating_mul(2).saturating_add(OWN);
    if let Some(allowed) = now
        && allowed < needed
    {
        tracing::warn!(
            allowed,
            needed,
            "too few open files are allowed for {connections} connections; raise the limit (ulimit -n) or lower \
             --max-connections"
        );
    }
}
