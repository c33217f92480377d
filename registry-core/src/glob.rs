//! Patterns with stars, as rules of access and of retention have them. Each crate adds the words of its own patterns.
//!
//! The number of steps is at most the product of both lengths, for any number of stars.
//!
//! ```
//! use registry_core::glob::{matches_sequence, matches_text};
//!
//! assert!(matches_text("v1.*-rc", "v1.2-rc"));
//!
//! // Components, of which `**` matches any number.
//! let parts = ["team", "**", "app-*"];
//! let matches = |name: &str| {
//!     let components: Vec<&str> = name.split('/').collect();
//!     matches_sequence(&parts, &components, |part| *part == "**", |part, name| matches_text(part, name))
//! };
//! assert!(matches("team/a/b/app-1") && matches("team/app-1"));
//! assert!(!matches("team/a/b"));
//! ```

/// Returns true if a text matches a pattern, in which each `*` matches any number of characters.
#[must_use]
pub fn matches_text(pattern: &str, text: &str) -> bool {
    matches_sequence(
        pattern.as_bytes(),
        text.as_bytes(),
        |byte| *byte == b'*',
        |expected, byte| expected == byte,
    )
}

/// Returns true if `parts` match `items`: a part that is `any` matches any number of items, and `one` compares any other
/// part with one item.
pub fn matches_sequence<P, T>(
    parts: &[P],
    items: &[T],
    any: impl Fn(&P) -> bool,
    one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut part, mut item) = (0, 0);
    // Positions after the last `any`, and of the first item that it does not match. Only the last one is tried again:
    // it can match everything that an earlier one could.
    let mut last_any: Option<(usize, usize)> = None;
    while let Some(next) = items.get(item) {
        match parts.get(part) {
            Some(expected) if any(expected) => {
                part += 1;
                last_any = Some((part, item));
            }
            Some(expected) if one(expected, next) => {
                part += 1;
                item += 1;
            }
            _ => {
                let Some((behind, left)) = &mut last_any else {
                    return false;
                };
                *left += 1;
                (part, item) = (*behind, *left);
            }
        }
    }
    parts.get(part..).unwrap_or_default().iter().all(any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tries every length for every star.
    fn naive(pattern: &str, text: &str) -> bool {
        match (pattern.strip_prefix('*'), pattern.chars().next()) {
            (Some(rest), _) => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            (None, Some(first)) => text
                .strip_prefix(first)
                .is_some_and(|rest| naive(&pattern[1..], rest)),
            (None, None) => text.is_empty(),
        }
    }

    proptest! {
        #[test]
        fn stars_match_as_trying_every_length_does(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches_text(&pattern, &text), naive(&pattern, &text));
        }
    }
}
