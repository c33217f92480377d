//! [`Glob`]: a pattern for tags.

use regex::Regex;
use std::{fmt::Write as _, str::FromStr};

/// Pattern in which `*` stands for any text, and `?` for any character.
#[derive(Clone, Debug)]
pub(super) struct Glob(Regex);

impl Glob {
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl FromStr for Glob {
    type Err = regex::Error;

    fn from_str(glob: &str) -> Result<Self, regex::Error> {
        let mut pattern = String::from("^");
        for c in glob.chars() {
            match c {
                '*' => pattern.push_str(".*"),
                '?' => pattern.push('.'),
                // Writing to a string does not fail.
                c => _ = write!(pattern, "{}", regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        pattern.push('$');
        Regex::new(&pattern).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_everything_else_is_itself() {
        for (glob, tag, expected) in [
            ("v1.*", "v1.2", true),
            ("v1.*", "v1x2", false),
            ("v?", "v1", true),
            ("v?", "v12", false),
            ("*", "latest", true),
            ("late", "latest", false),
            ("[a]", "a", false),
        ] {
            let glob: Glob = glob.parse().unwrap();
            assert_eq!(glob.matches(tag), expected, "{glob:?} and {tag}");
        }
    }
}
