//! Texts of strangers in messages.

/// Maximum number of characters of a name in a message.
const NAME: usize = 200;
/// Maximum number of characters of a reason.
const REASON: usize = 2000;

/// Returns a name without anything that a terminal would obey, and not too long.
pub(crate) fn name(text: &str) -> String {
    shortened(text, NAME)
}

/// Returns a reason, which may quote a name.
pub(crate) fn reason(text: &str) -> String {
    shortened(text, REASON)
}

/// Returns true for a character that changes how a terminal shows others.
pub(crate) fn is_control(char: char) -> bool {
    // Those that are not controls by their category change the direction of text.
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn shortened(text: &str, len: usize) -> String {
    let mut shown = String::new();
    for (number, char) in text.chars().enumerate() {
        if number == len {
            shown.push('…');
            break;
        }
        if is_control(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_escaped_and_long_names_are_cut() {
        assert_eq!(name("a\x1b[2Jb\n\u{202e}é"), "a\\u{1b}[2Jb\\n\\u{202e}é");
        let long = name(&"x".repeat(70_000));
        assert_eq!(long.chars().count(), NAME + 1);
    }
}
