//! Escapes a server's text for a terminal.
//!
//! Invisible characters can falsify a report: a line separator begins a line, a bidirectional override swaps words, a
//! control character controls the terminal. Such characters are escaped.

use std::fmt::{self, Write as _};

/// Returns true for a character that is always visible as itself.
///
/// Control, format, unassigned, private and combining characters are not, nor are separators other than the space.
pub(super) fn is_seen(c: char) -> bool {
    // The standard library knows the categories of Unicode; the three that it escapes besides are quoting.
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

/// Displays a text on one line, with `\u{…}` for each character that is not visible.
pub(super) struct Line<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            if is_seen(c) {
                f.write_char(c)?;
            } else {
                write!(f, "{}", c.escape_debug())?;
            }
        }
        Ok(())
    }
}

/// Escapes invisible characters in JSON, without changing its meaning. Keeps line feeds between values.
pub(super) fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_seen(c) || c == '\n' {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Invisible or misleading characters, one of each kind, for tests.
#[cfg(test)]
pub(super) const UNSEEN: &str = "\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{61c}\u{200b}\u{200e}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{fff9}\u{e0041}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_not_seen_as_itself_is_spelled_out() {
        for c in UNSEEN.chars() {
            let line = Line(format!("a{c}b")).to_string();
            assert!(line.starts_with("a\\") && line.chars().all(is_seen), "{line:?}");
        }
        assert_eq!(Line("größer 画像 🐳 \\").to_string(), "größer 画像 🐳 \\");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let text = serde_json::to_string(&[UNSEEN, "größer 🐳"]).unwrap();

        let escaped = json(&text);

        assert!(escaped.chars().all(is_seen), "{escaped:?}");
        let read: [String; 2] = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, [UNSEEN, "größer 🐳"]);
    }
}
