//! Work that must not run on an async runtime, on a thread of its own.
//!
//! The runtime's threads for blocking work are not used. They are shared with the storage, which must go on while a
//! client tries passwords. Starting a thread takes a thousandth of the time of one good hash.

use std::{io, thread};
use tokio::sync::oneshot;
use tracing::{Span, dispatcher};

/// Starts `work`, which logs to the caller's subscriber. The receiver gets its result, unless it panicked. If the
/// receiver is dropped, the work is done all the same.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (sender, receiver) = oneshot::channel();
    let span = Span::current();
    let log = dispatcher::get_default(Clone::clone);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let done = dispatcher::with_default(&log, || span.in_scope(work));
        // The receiver may be gone.
        let _ = sender.send(done);
    })?;
    Ok(receiver)
}
