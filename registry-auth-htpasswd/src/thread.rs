//! Work that must not run on an async runtime, on a thread of its own that ends with it.
//!
//! Not the runtime's threads for blocking work: those are shared with the storage, which has to go on while somebody
//! tries passwords. Starting a thread takes a thousandth of the time of one good hash.

use std::{io, thread};
use tokio::sync::oneshot;
use tracing::{Span, dispatcher};

/// Starts `work`, which logs where the caller would. What it returns is received, unless it panicked; if nobody waits
/// for it any more, it is done all the same.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (sender, receiver) = oneshot::channel();
    let span = Span::current();
    let log = dispatcher::get_default(Clone::clone);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let done = dispatcher::with_default(&log, || span.in_scope(work));
        // Whoever asked may be gone.
        let _ = sender.send(done);
    })?;
    Ok(receiver)
}
