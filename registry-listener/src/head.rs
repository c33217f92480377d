//! [`HeadScan`]: follows the head of an HTTP/1 request.
//!
//! hyper parses, and this file only counts bytes, so that a head can be refused before it is complete. It also detects
//! headers that must not occur together. By RFC 9112, 6.3, `Transfer-Encoding` overrides `Content-Length`, and hyper drops
//! the latter silently. A proxy in front may decide the other way, which would allow request smuggling.

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONTENT_LENGTH: &[u8] = b"content-length";
/// The length of the longer name.
const LONGEST: usize = TRANSFER_ENCODING.len();
/// Maximum number of bytes kept of the first line, for a log.
const KEPT: usize = 512;

/// Observations on one head so far.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    length: usize,
    /// The first line that is not empty, as far as it has arrived.
    first_line: Vec<u8>,
    /// The beginning of the current line, in lower case.
    line: [u8; LONGEST],
    /// Number of bytes of the current line so far; beyond [`LONGEST`] its name does not matter.
    filled: usize,
    /// True after a line that is not empty: the next empty one ends the head.
    begun: bool,
    complete: bool,
    transfer_encoding: bool,
    content_length: bool,
}

impl HeadScan {
    /// Begins with another head.
    pub(super) fn reset(&mut self) {
        let mut first_line = std::mem::take(&mut self.first_line);
        first_line.clear();
        *self = Self {
            first_line,
            ..Self::default()
        };
    }

    /// Scans the next bytes; returns the number of them that belong to the head. The bytes after it are not scanned.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        for (position, &byte) in bytes.iter().enumerate() {
            if self.complete {
                return position;
            }
            self.length += 1;
            if !self.begun && self.first_line.len() < KEPT && !matches!(byte, b'\r' | b'\n') {
                self.first_line.push(byte);
            }
            match byte {
                b'\r' => {}
                b'\n' => {
                    self.complete = self.begun && self.filled == 0;
                    self.begun |= self.filled > 0;
                    self.filled = 0;
                }
                b':' => {
                    let name = self.line.get(..self.filled).unwrap_or_default();
                    self.transfer_encoding |= name == TRANSFER_ENCODING;
                    self.content_length |= name == CONTENT_LENGTH;
                    // The rest of the line is a value.
                    self.filled = LONGEST + 1;
                }
                _ => {
                    if let Some(slot) = self.line.get_mut(self.filled) {
                        *slot = byte.to_ascii_lowercase();
                    }
                    self.filled += 1;
                }
            }
        }
        bytes.len()
    }

    /// Returns the first line, with unreadable bytes replaced.
    pub(super) fn first_line(&self) -> String {
        String::from_utf8_lossy(&self.first_line).into_owned()
    }

    /// Returns true if the head has ended.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns the number of bytes of the head that have arrived.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// Returns true if the head gives two lengths of its body.
    pub(super) const fn has_two_lengths(&self) -> bool {
        self.transfer_encoding && self.content_length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> HeadScan {
        let mut scan = HeadScan::default();
        scan.take(text.as_bytes());
        scan
    }

    #[test]
    fn two_lengths_are_detected_in_any_case_and_in_any_pieces() {
        let text = "\r\nPUT / HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(scan(text).has_two_lengths());
        assert!(scan(&text.replace("\r\n", "\n")).has_two_lengths());
        for cut in 0..text.len() {
            let mut halves = HeadScan::default();
            halves.take(&text.as_bytes()[..cut]);
            halves.take(&text.as_bytes()[cut..]);
            assert!(halves.has_two_lengths(), "cut at {cut}");
            assert_eq!(halves.length(), text.len());
        }
    }

    #[test]
    fn the_beginning_of_the_first_line_is_kept() {
        assert_eq!(
            scan("\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").first_line(),
            "GET /v2/ HTTP/1.1"
        );
        assert_eq!(scan("\u{16}\u{3}\u{1}").first_line(), "\u{16}\u{3}\u{1}");
        assert_eq!(
            scan(&format!("GET /{}", "x".repeat(100_000))).first_line().len(),
            KEPT
        );
        assert_eq!(scan("").first_line(), "");
    }

    #[test]
    fn values_other_names_and_bodies_are_not_lengths() {
        for text in [
            "PUT / HTTP/1.1\r\nContent-Length: 5\r\nX: transfer-encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 5\r\nX-Transfer-Encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding-X: chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(!scan(text).has_two_lengths(), "{text}");
        }
        let head = "GET / HTTP/1.1\r\n\r\n";
        assert_eq!(scan(&format!("{head}the body")).length(), head.len());
    }
}
