//! Captures the log of a test.

use std::{
    io,
    sync::{Arc, Mutex},
};
use tracing::{Level, subscriber::DefaultGuard};

/// Warnings and errors of this thread, until it is dropped.
pub(crate) struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    /// With a single subscriber, `tracing` decides whether an event is logged by the thread that reaches it
    /// first, which may be another test's. With two it asks both.
    _second: tracing::Dispatch,
    _guard: DefaultGuard,
}

impl Log {
    pub(crate) fn capture() -> Self {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let writer = Arc::clone(&written);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(Level::WARN)
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self {
            written,
            _second: tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new()),
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Returns the text written since the last call.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.written.lock().unwrap())).unwrap()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
