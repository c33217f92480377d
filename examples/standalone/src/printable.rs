//! Text that somebody else chose, on its way to a terminal or a log.
//!
//! A character that is not seen as itself can forge what is read: a line separator begins a line, a bidirectional
//! override swaps the words of one, a control character commands the terminal. Such characters are spelled out.

use std::fmt::{self, Write as _};

/// Returns true for a character that is seen as itself, wherever it stands. Not for control and format characters,
/// separators other than the blank, unassigned and private ones, and those that combine with the one before.
pub(crate) fn is_seen(c: char) -> bool {
    // The standard library knows the categories of Unicode; the three that it escapes besides are quoting.
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

/// Shows a text in one line, with `\u{…}` for each character that is not seen as itself.
pub(crate) struct Line<T>(pub(crate) T);

/// Shows a text as [`Line`] does, but keeps its line feeds.
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

/// Spells out what is not seen in JSON, which means the same afterwards. Line feeds between its values stay.
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

/// Characters that a reader takes for something else, for tests: one of each kind.
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
