//! Limit on the number of open files.

use registry_listener::ConnectionLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of files needed besides connections and requests: for the storage and the runtime.
const OWN: u64 = 512;

/// Raises the limit to the maximum of the process: many systems start with 1,024 and allow far more.
///
/// Logs a warning if the limit is too low for these numbers of connections and requests, as each may have a blob open.
pub(crate) fn allow_for(limits: &ConnectionLimits) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    let ConnectionLimits {
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

/// Returns the number of files needed: one per connection, one for its HTTP/1 request, and one per HTTP/2 request.
const fn needed(connections: usize, all_streams: usize) -> u64 {
    (connections as u64)
        .saturating_mul(2)
        .saturating_add(all_streams as u64)
        .saturating_add(OWN)
}
