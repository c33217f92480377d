//! Escapes untrusted text for a terminal or a log.
//!
//! Invisible characters can falsify the output: a line separator begins a line, a bidirectional override swaps words, a
//! control character controls the terminal. Such characters are escaped.

use std::fmt::{self, Write as _};

/// Returns true for a character that is always visible as itself.
///
/// Control, format, unassigned, private and combining characters are not, nor are separators other than the space.
pub(crate) fn is_seen(c: char) -> bool {
    // The standard library knows the categories of Unicode; the three that it escapes besides are quoting.
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

/// Displays a text on one line, with `\u{…}` for each character that is not visible.
pub(crate) struct Line<T>(pub(crate) T);

/// Displays a text as [`Line`] does, but keeps its line feeds.
pub(crate) struct Lines<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { to: f, keeps: &[] }, "{}", self.0)
    }
}

impl<T: fmt::Display> fmt::Display for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            Escaping {
                to: f,
                keeps: &['\n']
            },
            "{}",
            self.0
        )
    }
}

/// Escapes invisible characters in JSON, without changing its meaning. Keeps line feeds between values.
pub(crate) fn json(text: &str) -> String {
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

struct Escaping<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    keeps: &'static [char],
}

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_seen(c) || self.keeps.contains(&c) {
                self.to.write_char(c)?;
            } else {
                write!(self.to, "{}", c.escape_debug())?;
            }
        }
        Ok(())
    }
}

/// Invisible or misleading characters, one of each kind, for tests.
#[cfg(test)]
pub(crate) const UNSEEN: &str = "\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{61c}\u{200b}\u{200e}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{fff9}\u{e0041}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_as_itself_is_spelled_out() {
        for c in UNSEEN.chars() {
            assert!(!is_seen(c), "{c:?}");
            let line = Line(format!("a{c}b")).to_string();
            assert!(line.starts_with("a\\") && line.chars().all(is_seen), "{line:?}");
        }
        assert_eq!(Line("a\u{202e}\n\u{9b}").to_string(), "a\\u{202e}\\n\\u{9b}");
        assert_eq!(Lines("a\u{202e}\n\u{9b}").to_string(), "a\\u{202e}\n\\u{9b}");
    }

    #[test]
    fn what_is_seen_stays() {
        let text = "`docker login` said: \"größer\" 'so' \\ 画像 🐳";
        assert_eq!(Line(text).to_string(), text);
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let text = serde_json::to_string_pretty(&[UNSEEN, "größer 🐳"]).unwrap();

        let escaped = json(&text);

        assert!(escaped.chars().all(|c| is_seen(c) || c == '\n'), "{escaped:?}");
        assert!(
            escaped.contains("größer 🐳") && escaped.contains("\\udb40\\udc41"),
            "{escaped}"
        );
        assert_eq!(
            serde_json::from_str::<[String; 2]>(&escaped).unwrap(),
            [UNSEEN, "größer 🐳"]
        );
    }
}
