//! [`HeadScan`]: watches the head of an HTTP/1 request go by.
//!
//! hyper parses; this only counts bytes, so that a head can be refused before it is whole, and notices headers that
//! must not come together. By the specification (RFC 9112, 6.3) `Transfer-Encoding` wins over `Content-Length`, and
//! hyper drops the loser unseen; a proxy in front that decides the other way makes that a smuggled request.

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONTENT_LENGTH: &[u8] = b"content-length";
/// The length of the longer name.
const LONGEST: usize = TRANSFER_ENCODING.len();

/// What has been seen of one head.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    length: usize,
    /// The beginning of the current line, in lower case.
    line: [u8; LONGEST],
    /// How many bytes the line had so far; beyond [`LONGEST`] it is no name that matters.
    filled: usize,
    /// There was a line that is not empty: the next empty one ends the head.
    begun: bool,
    complete: bool,
    transfer_encoding: bool,
    content_length: bool,
}

impl HeadScan {
    /// The next bytes; returns how many of them belong to the head. Those behind it are not looked at.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        for (position, &byte) in bytes.iter().enumerate() {
            if self.complete {
                return position;
            }
            self.length += 1;
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
                    // What follows is a value.
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

    /// It has come to its end.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many bytes it has, as far as it has come.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// Says in two ways where its body ends.
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
    fn two_lengths_are_noticed_however_they_are_cut_and_spelled() {
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
    fn values_other_names_and_the_body_are_not_taken_for_them() {
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
