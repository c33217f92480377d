//! How many files the process may have open.

use registry_axum::server::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For what is open besides connections: the storage's files, and what the runtime needs.
const OWN: u64 = 512;

/// Raises the limit as far as the system allows without asking, as many systems begin with 1,024 and allow far more.
/// A warning says if that is too few for so many connections and requests, each of which may have a blob open.
pub(crate) fn allow_for(limits: &Limits) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    let Limits {
        connections,
        all_streams,
        ..
    } = *limits;
    let needed = needed(connections, all_streams);
    if let Some(allowed) = now
        && allowed < needed
    {
        tracing::warn!(
            allowed,
            needed,
            "too few open files are allowed for {connections} connections and {all_streams} requests over HTTP/2; raise \
             the limit (ulimit -n) or lower --max-connections and `limits.http2requests`"
        );
    }
}

/// A connection is one, and a request, of which an HTTP/1 connection has one at a time, another.
const fn needed(connections: usize, all_streams: usize) -> u64 {
    (connections as u64)
        .saturating_mul(2)
        .saturating_add(all_streams as u64)
        .saturating_add(OWN)
}
