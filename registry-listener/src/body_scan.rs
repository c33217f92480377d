//! [`BodyScan`]: follows the body of an HTTP/1 request to find the start of the next head.
//!
//! hyper parses, and this file only counts bytes. hyper ends the connection if it does not accept bytes as a body, so
//! malformed bodies need no care here.

/// The part of a body that has not arrived yet.
#[derive(Debug)]
pub(super) enum BodyScan {
    /// A body with this number of bytes left.
    Sized(u64),
    /// A chunked body (RFC 9112, 7.1).
    Chunked(Chunks),
}

/// Position of the next byte in a chunked body.
#[derive(Debug)]
pub(super) enum Chunks {
    /// In the size of a chunk, with this value so far.
    Size(u64),
    /// After the size, on the same line.
    Extension(u64),
    /// In the bytes of a chunk and the line end after them, of which this many are to come.
    Data(u64),
    /// In the lines after the last chunk. Only an empty one ends the body.
    Trailers { empty: bool },
    /// After the body.
    Over,
}

impl BodyScan {
    /// Begins a body of a known length, or a chunked one.
    pub(super) const fn of(length: Option<u64>) -> Self {
        match length {
            Some(length) => Self::Sized(length),
            None => Self::Chunked(Chunks::Size(0)),
        }
    }

    /// Scans the next bytes; returns the number of them that belong to the body. The bytes after it are not scanned.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Sized(left) => count(left, bytes.len()),
            Self::Chunked(chunks) => chunks.take(bytes),
        }
    }

    /// Returns true if the body has ended.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Sized(0) | Self::Chunked(Chunks::Over))
    }
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            match self {
                Self::Over => return taken,
                Self::Data(left) => {
                    taken += count(left, bytes.len() - taken);
                    if *left == 0 {
                        *self = Self::Size(0);
                    }
                    continue;
                }
                Self::Size(size) | Self::Extension(size) if byte == b'\n' => {
                    *self = match *size {
                        0 => Self::Trailers { empty: true },
                        size => Self::Data(size.saturating_add(2)),
                    };
                }
                Self::Size(size) => match char::from(byte).to_digit(16) {
                    Some(digit) => *size = size.saturating_mul(16).saturating_add(digit.into()),
                    None => *self = Self::Extension(*size),
                },
                Self::Extension(_) => {}
                Self::Trailers { empty } => match byte {
                    b'\n' if *empty => *self = Self::Over,
                    b'\n' => *empty = true,
                    b'\r' => {}
                    _ => *empty = false,
                },
            }
            taken += 1;
        }
        taken
    }
}

/// Takes the available bytes, up to the number that is left.
fn count(left: &mut u64, there: usize) -> usize {
    let taken = usize::try_from(*left).map_or(there, |left| left.min(there));
    *left -= taken as u64;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_it_says_however_it_is_cut() {
        for (length, body) in [
            (Some(5), "hello"),
            (None, "0\r\n\r\n"),
            (None, "5\r\nhello\r\n0\r\n\r\n"),
            (None, "A;x=0\r\n0\r\n\r\n0\r\n\r\n\r\n1 \r\nx\r\n000\r\n\r\n"),
            (None, "1\r\nx\r\n0;last\r\nA: 1\r\nB: 2\r\n\r\n"),
        ] {
            let text = format!("{body}GET / HTTP/1.1\r\n\r\n");
            for cut in 0..=body.len() {
                let mut scan = BodyScan::of(length);
                let (first, second) = text.as_bytes().split_at(cut);
                assert_eq!(scan.take(first), cut, "{body:?}");
                assert_eq!(scan.is_over(), cut == body.len(), "{body:?} cut at {cut}");
                assert_eq!(scan.take(second), body.len() - cut, "{body:?} cut at {cut}");
                assert!(scan.is_over(), "{body:?}");
            }
        }
    }

    #[test]
    fn no_size_overflows() {
        let mut scan = BodyScan::of(None);
        let huge = "FFFFFFFFFFFFFFFFFFFF\r\nxx";
        assert_eq!(scan.take(huge.as_bytes()), huge.len());
        assert!(!scan.is_over());
    }
}
