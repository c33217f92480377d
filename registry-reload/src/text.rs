//! Contents of files as text.

use std::{error::Error, fmt};

/// Reason why the contents of a file are not text in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotUtf8 {
    /// The file is UTF-16, as PowerShell and editors of Windows write it.
    Utf16,
    /// A byte is not valid in UTF-8.
    Invalid {
        /// Line of the byte, counted from 1.
        line: usize,
    },
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf16 => "this file is UTF-16: save it as UTF-8",
            Self::Invalid { .. } => "this file is not UTF-8: save it as UTF-8",
        })
    }
}

impl Error for NotUtf8 {}

/// Returns the contents of a file as text. A byte order mark is preserved.
///
/// ```
/// use registry_reload::{NotUtf8, utf8};
///
/// assert_eq!(utf8(b"ann: 1\n".to_vec()).as_deref(), Ok("ann: 1\n"));
/// assert_eq!(utf8(b"ann: 1\ncaf\xe9: 2\n".to_vec()), Err(NotUtf8::Invalid { line: 2 }));
/// assert_eq!(utf8(b"\xff\xfea\0".to_vec()), Err(NotUtf8::Utf16));
/// ```
///
/// # Errors
///
/// [`NotUtf8`], for a message that tells how to save the file.
pub fn utf8(contents: Vec<u8>) -> Result<String, NotUtf8> {
    if is_utf16(&contents) {
        return Err(NotUtf8::Utf16);
    }
    String::from_utf8(contents).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        NotUtf8::Invalid {
            line: before.filter(|byte| **byte == b'\n').count() + 1,
        }
    })
}

/// Returns true if a text file is UTF-16, with or without a byte order mark.
///
/// Without a mark, the first 64 bytes decide: at least half of the bytes at even offsets are zero and none at odd
/// offsets, or vice versa.
#[must_use]
pub fn is_utf16(contents: &[u8]) -> bool {
    if contents.starts_with(b"\xff\xfe") || contents.starts_with(b"\xfe\xff") {
        return true;
    }
    let start = contents.get(..contents.len().min(64)).unwrap_or_default();
    let pairs = start.chunks_exact(2);
    let half = pairs.len().div_ceil(2);
    let zeros = |offset: usize| pairs.clone().filter(|pair| pair.get(offset) == Some(&0)).count();
    let (even, odd) = (zeros(0), zeros(1));
    half > 0 && ((even >= half && odd == 0) || (odd >= half && even == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_recognised_with_and_without_a_mark() {
        let units = || "ann:$2y$10$abc\n".encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            &little,
            &big,
            &[b"\xff\xfe", &*little].concat(),
            &[b"\xfe\xff", &*big].concat(),
        ] {
            assert!(is_utf16(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn other_contents_are_not_taken_for_utf_16() {
        for bytes in [
            &b""[..],
            b"a",
            b"ann:x\n",
            b"\xef\xbb\xbfann:x\n",
            b"b\xf6b:x\n",
            b"\0\0\0\0",
            b"ann:x\0y\n",
        ] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn an_invalid_byte_is_found_by_its_line() {
        assert_eq!(utf8(b"caf\xe9".to_vec()), Err(NotUtf8::Invalid { line: 1 }));
        assert_eq!(utf8(b"\n\n\xff".to_vec()), Err(NotUtf8::Invalid { line: 3 }));
        assert_eq!(utf8(b"\xef\xbb\xbfx".to_vec()).as_deref(), Ok("\u{feff}x"));
    }
}
