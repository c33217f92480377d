//! Order of a chain: the server's own certificate first, then its issuer, and so on.
//!
//! TLS 1.2 requires that order, and clients differ in their tolerance. Operators join files in any order.

use crate::certificate::Certificate;

/// A chain that can be sent, and the warnings about its repair.
pub(crate) struct Chain {
    /// The server's own certificate.
    pub(crate) own: Certificate,
    /// Issuer of `own`, then the issuer's issuer, and so on.
    pub(crate) above: Vec<Certificate>,
    pub(crate) warnings: Vec<String>,
}

/// Puts the certificate with `public_key` first and each issuer after the certificate that it signed. Returns `None` if
/// no certificate has that key.
///
/// Only exact duplicates are dropped. Certificates that signed nothing here go last.
pub(crate) fn arrange(certificates: Vec<Certificate>, public_key: &[u8]) -> Option<Chain> {
    let mut waiting: Vec<Certificate> = Vec::new();
    for certificate in certificates {
        if !waiting.iter().any(|known| known.der == certificate.der) {
            waiting.push(certificate);
        }
    }
    let position = waiting
        .iter()
        .position(|certificate| certificate.public_key == public_key)?;
    let mut warnings = Vec::new();
    let mut moved = position != 0;
    let own = waiting.remove(position);
    let mut above: Vec<Certificate> = Vec::new();
    // Keeps the order of the file where it is right: of two cross-signed certificates, the first stays first.
    while !waiting.is_empty() {
        let next = waiting.iter().position(|candidate| {
            above
                .iter()
                .chain([&own])
                .any(|signed| signed.is_issued_by(candidate))
        });
        match next {
            Some(position) => {
                moved |= position != 0;
                above.push(waiting.remove(position));
            }
            None => {
                for stranger in &waiting {
                    warnings.push(format!(
                        "the certificate for {} signed no other certificate of the file; it is sent last",
                        stranger.holder()
                    ));
                }
                above.append(&mut waiting);
            }
        }
    }
    if moved {
        warnings.push("the certificates are in the wrong order; they are sent in the right one".to_owned());
    }
    Some(Chain { own, above, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_certificates::{Authority, Issued};

    struct Parts {
        leaf: Issued,
        middle: Certificate,
        root: Certificate,
    }

    fn parts() -> Parts {
        let root = Authority::new("root");
        let middle = root.intermediate("middle");
        Parts {
            leaf: middle.issue(&["a.example"]),
            middle: middle.certificate(),
            root: root.certificate(),
        }
    }

    fn subjects(chain: &Chain) -> Vec<&str> {
        let all = [&chain.own].into_iter().chain(&chain.above);
        all.map(|one| one.subject.as_str()).collect()
    }

    #[test]
    fn a_chain_in_order_stays_as_it_is() {
        let Parts { leaf, middle, root } = parts();
        let own = leaf.certificate();

        let chain = arrange(vec![own.clone(), middle, root], &own.public_key).unwrap();

        assert_eq!(subjects(&chain), ["CN=a.example", "CN=middle", "CN=root"]);
        assert!(chain.warnings.is_empty(), "{:?}", chain.warnings);
    }

    #[test]
    fn a_chain_in_any_other_order_is_put_right_with_a_warning() {
        let Parts { leaf, middle, root } = parts();
        let own = leaf.certificate();
        let orders = [
            vec![root.clone(), middle.clone(), own.clone()],
            vec![own.clone(), root.clone(), middle.clone()],
            vec![middle, own.clone(), root],
        ];
        for order in orders {
            let chain = arrange(order, &own.public_key).unwrap();

            assert_eq!(subjects(&chain), ["CN=a.example", "CN=middle", "CN=root"]);
            assert_eq!(chain.warnings.len(), 1, "{:?}", chain.warnings);
        }
    }

    #[test]
    fn what_signed_nothing_is_sent_last_and_repetitions_once() {
        let Parts { leaf, middle, .. } = parts();
        let own = leaf.certificate();
        let stranger = Authority::new("stranger").certificate();

        let chain = arrange(vec![own.clone(), own.clone(), stranger, middle], &own.public_key).unwrap();

        assert_eq!(subjects(&chain), ["CN=a.example", "CN=middle", "CN=stranger"]);
        assert!(chain.warnings.iter().any(|warning| warning.contains("stranger")));
    }

    #[test]
    fn a_chain_without_the_key_is_none() {
        let Parts { middle, root, .. } = parts();

        assert!(arrange(vec![middle, root], b"another key").is_none());
    }
}
