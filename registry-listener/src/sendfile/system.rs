//! The system calls. Only Linux has all of them. On other systems, or without the feature `sendfile`, files are streamed.

#[cfg(all(target_os = "linux", feature = "sendfile"))]
pub(super) use self::linux::{can_tell_what_is_cached, cork, is_cached, read_in, send};
#[cfg(not(all(target_os = "linux", feature = "sendfile")))]
pub(super) use self::other::{can_tell_what_is_cached, cork, is_cached, read_in, send};

#[cfg(all(target_os = "linux", feature = "sendfile"))]
mod linux {
    use registry_core::storage::FileRange;
    use rustix::{
        fs::{Advice, fadvise, sendfile},
        io::{Errno, ReadWriteFlags, preadv2},
        net::sockopt::set_tcp_cork,
    };
    use std::{
        io::{self, IoSliceMut},
        num::NonZeroU64,
        os::unix::fs::FileExt as _,
    };
    use tokio::net::TcpStream;

    /// Number of bytes that the disk is asked to read ahead of bytes that were not in memory.
    const AHEAD: NonZeroU64 = NonZeroU64::new(8 << 20).expect("more than nothing");

    /// Reads one byte, if that is possible without waiting.
    fn look(file: &FileRange, at: u64) -> Result<usize, Errno> {
        let mut byte = [0];
        preadv2(
            &*file.file,
            &mut [IoSliceMut::new(&mut byte)],
            at,
            ReadWriteFlags::NOWAIT,
        )
    }

    pub(in super::super) fn can_tell_what_is_cached(file: &FileRange) -> bool {
        matches!(look(file, file.range.start), Ok(_) | Err(Errno::AGAIN))
    }

    /// Returns true if both ends are in memory. Files are read in long runs, so the bytes between them will be too.
    /// Failures and missing bytes are detected when the file is sent.
    pub(in super::super) fn is_cached(file: &FileRange) -> bool {
        [file.range.start, file.range.end.saturating_sub(1)]
            .into_iter()
            .all(|at| !matches!(look(file, at), Err(Errno::AGAIN)))
    }

    /// Reads a range into memory, and requests the bytes that follow. Waits for the disk.
    pub(in super::super) fn read_in(file: &FileRange) -> io::Result<()> {
        // A hint.
        let _ = fadvise(&*file.file, file.range.start, Some(AHEAD), Advice::WillNeed);
        let mut buffer = vec![0; 64 << 10];
        let mut at = file.range.start;
        while at < file.range.end {
            match file.file.read_at(&mut buffer, at) {
                Ok(0) => break,
                Ok(length) => at += length as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Holds back partial segments, or sends the ones held back.
    pub(in super::super) fn cork(connection: &TcpStream, corked: bool) {
        // A hint.
        let _ = set_tcp_cork(connection, corked);
    }

    /// Sends as many bytes as the connection takes at once. Returns 0 at the end of the file.
    pub(in super::super) fn send(to: &TcpStream, file: &FileRange) -> io::Result<usize> {
        let mut at = file.range.start;
        let count = usize::try_from(file.range.end.saturating_sub(at)).unwrap_or(usize::MAX);
        Ok(sendfile(to, &*file.file, Some(&mut at), count)?)
    }
}

#[cfg(not(all(target_os = "linux", feature = "sendfile")))]
mod other {
    use registry_core::storage::FileRange;
    use std::io;
    use tokio::net::TcpStream;

    pub(in super::super) const fn can_tell_what_is_cached(_: &FileRange) -> bool {
        false
    }

    pub(in super::super) const fn is_cached(_: &FileRange) -> bool {
        false
    }

    pub(in super::super) fn read_in(_: &FileRange) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in super::super) const fn cork(_: &TcpStream, _: bool) {}

    pub(in super::super) fn send(_: &TcpStream, _: &FileRange) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
