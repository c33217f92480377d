//! [`Activity`]: the signs of life of a connection.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counts what is read and written on both sides of a connection. Clones count together.
///
/// The socket from which one thread reads may be silent for as long as the other thread passes bytes: a client sends
/// no more while it receives a long answer. Only a connection without any bytes has timed out.
#[derive(Clone, Default)]
pub(super) struct Activity(Arc<AtomicU64>);

impl Activity {
    /// Reads from a socket, again if the time is up and bytes have passed elsewhere meanwhile.
    pub(super) fn read(&self, mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            match read() {
                Err(error) if is_timeout(&error) && self.0.load(Ordering::Relaxed) != before => {}
                read => return self.note(read),
            }
        }
    }

    /// Counts a read or a write that has succeeded.
    pub(super) fn note(&self, moved: io::Result<usize>) -> io::Result<usize> {
        if moved.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        moved
    }
}

/// The socket of the registry's side, which counts what it reads and writes.
pub(super) struct Upstream<'s> {
    pub(super) socket: &'s TcpStream,
    pub(super) activity: &'s Activity,
}

impl Read for Upstream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.activity.read(|| self.socket.read(into))
    }
}

impl Write for Upstream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.activity.note(self.socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Returns true if nothing was received in the time of a socket; systems differ in the error.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late() -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[test]
    fn a_side_may_be_silent_while_the_other_one_is_not() {
        let activity = Activity::default();
        let mut results = [late(), late(), Ok(5)].into_iter();

        let read = activity.read(|| {
            // The other thread passes bytes meanwhile.
            activity.note(Ok(1)).unwrap();
            results.next().unwrap()
        });

        assert_eq!(read.unwrap(), 5);
    }

    #[test]
    fn a_connection_without_any_bytes_times_out() {
        let activity = Activity::default();
        activity.note(Ok(1)).unwrap();
        let mut reads = 0;

        let read = activity.read(|| {
            reads += 1;
            // A write that has failed is no sign of life.
            activity.note(late()).unwrap_err();
            late()
        });

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(reads, 1);
    }
}
