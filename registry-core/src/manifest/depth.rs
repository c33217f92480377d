//! Depth of a document, determined without recursion, before the document is parsed.

/// Returns the maximum depth of nested arrays and objects in a JSON text. For other text, the result has no
/// meaning.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string<'a>(bytes: &mut impl Iterator<Item = &'a u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_what_lies_in_each_other() {
        for (json, expected) in [
            ("", 0),
            ("5", 0),
            ("[]", 1),
            ("[[],{},[]]", 2),
            (r#"{"a":{"b":[1,[2]]}}"#, 4),
            (r#"{"[[[":"\"[[[{{","\\":["\\"]}"#, 2),
            ("]]][", 1),
            (r#""open"#, 0),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}
