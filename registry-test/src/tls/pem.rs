//! PEM, the text form of certificates and keys (RFC 7468). With the crate that rcgen has for it, the feature `tls` would bring
//! more packages than it may.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Characters of a full line.
const LINE: usize = 64;

/// Returns the content as PEM with this label.
pub(super) fn encode(label: &str, content: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (position, character) in STANDARD.encode(content).chars().enumerate() {
        if position > 0 && position % LINE == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str(&format!("\n-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn lines_have_64_characters() {
        for (length, lines) in [(1, vec![4]), (48, vec![64]), (49, vec![64, 4])] {
            let pem = encode("PRIVATE KEY", &vec![0; length]);
            let text = pem
                .strip_prefix("-----BEGIN PRIVATE KEY-----\n")
                .and_then(|pem| pem.strip_suffix("-----END PRIVATE KEY-----\n"))
                .unwrap_or_else(|| panic!("{pem}"));
            assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), lines);
        }
    }
}
