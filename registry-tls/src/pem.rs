//! PEM as it occurs in practice: several sections in one file, joined by `cat` without a line end between them, with
//! CRLF, and with text around them.
//!
//! The decoder of `rustls-pki-types` reads line by line, and silently drops a section whose BEGIN follows an END on the
//! same line. This module finds the markers anywhere in a line and passes one section at a time to that decoder. A
//! section that the decoder refuses is an error with a line.

use crate::error::FileProblem;
use registry_reload::is_utf16;
use rustls::pki_types::pem::{PemObject as _, SectionKind};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One section, from `-----BEGIN …` to `-----END …`.
pub(crate) struct Section {
    /// Line where the section begins, from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    /// Decoded bytes; empty for kinds that are not used.
    pub(crate) der: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Certificate,
    TrustedCertificate,
    Pkcs1,
    Pkcs8,
    Sec1,
    EncryptedKey,
    /// A private key that TLS does not support: DSA, or OpenSSH's own form.
    OtherKey,
    PublicKey,
    Request,
    Crl,
    /// Other data beside a key or certificate, which is not needed: curve parameters, Diffie-Hellman parameters.
    Other,
}

impl Kind {
    fn of(label: &str, encrypted: bool) -> Self {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            _ if encrypted => Self::EncryptedKey,
            "RSA PRIVATE KEY" => Self::Pkcs1,
            "PRIVATE KEY" => Self::Pkcs8,
            "EC PRIVATE KEY" => Self::Sec1,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::Request,
            "X509 CRL" => Self::Crl,
            _ if label.ends_with("PRIVATE KEY") => Self::OtherKey,
            _ if label.ends_with("PUBLIC KEY") => Self::PublicKey,
            _ => Self::Other,
        }
    }

    pub(crate) fn is_key(self) -> bool {
        matches!(
            self,
            Self::Pkcs1 | Self::Pkcs8 | Self::Sec1 | Self::EncryptedKey | Self::OtherKey
        )
    }

    /// Returns the singular and the plural of this kind, for a message.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Certificate | Self::TrustedCertificate => ("a certificate", "certificates"),
            Self::EncryptedKey => ("an encrypted private key", "encrypted private keys"),
            Self::Pkcs1 | Self::Pkcs8 | Self::Sec1 | Self::OtherKey => ("a private key", "private keys"),
            Self::PublicKey => ("a public key", "public keys"),
            Self::Request => ("a certificate request", "certificate requests"),
            Self::Crl => ("a revocation list", "revocation lists"),
            Self::Other => ("something else", "other things"),
        }
    }
}

/// Returns every section of a file, in order, at least one.
pub(crate) fn sections(content: &[u8]) -> Result<Vec<Section>, FileProblem> {
    // Text around the sections may be in any encoding; the sections are ASCII.
    let text = String::from_utf8_lossy(content);
    let mut sections = Vec::new();
    let mut rest: &str = &text;
    let mut line = 1;
    while let Some((before, from_label)) = rest.split_once(BEGIN) {
        line += line_ends(before);
        let (section, behind) = section(from_label, line)?;
        sections.push(section);
        line += line_ends(from_label) - line_ends(behind);
        rest = behind;
    }
    if sections.is_empty() {
        return Err(FileProblem::NotPem {
            looks_like: looks_like(content),
        });
    }
    Ok(sections)
}

/// Returns the section at the beginning of `text`, and the text after it.
fn section(text: &str, line: usize) -> Result<(Section, &str), FileProblem> {
    let damaged = |what: String| FileProblem::Damaged { line, what };
    let (label, body) = text
        .split_once(DASHES)
        .filter(|(label, _)| !label.contains(['\n', '\r']))
        .ok_or_else(|| damaged("a BEGIN line is cut off".to_owned()))?;
    let (body, behind) = body
        .split_once(&format!("{END}{label}{DASHES}"))
        .filter(|(body, _)| !body.contains(BEGIN))
        .ok_or_else(|| {
            damaged(format!(
                "\"BEGIN {label}\" has no \"END {label}\": the file is cut off"
            ))
        })?;
    // RFC 1421 headers: OpenSSL's old way to encrypt a key.
    let kind = Kind::of(label, body.contains("ENCRYPTED"));
    let der = match decoded_as(kind) {
        None => Vec::new(),
        Some((label, expected)) => match decode(label, body) {
            Some((found, der)) if found == expected => der,
            _ => {
                return Err(damaged(format!(
                    "the text between BEGIN and END {label} is not base64"
                )));
            }
        },
    };
    Ok((Section { line, kind, der }, behind))
}

/// Returns the label of a kind as the decoder knows it; `None` for kinds that are not decoded.
fn decoded_as(kind: Kind) -> Option<(&'static str, SectionKind)> {
    match kind {
        Kind::Certificate => Some(("CERTIFICATE", SectionKind::Certificate)),
        Kind::Pkcs1 => Some(("RSA PRIVATE KEY", SectionKind::RsaPrivateKey)),
        Kind::Pkcs8 => Some(("PRIVATE KEY", SectionKind::PrivateKey)),
        Kind::Sec1 => Some(("EC PRIVATE KEY", SectionKind::EcPrivateKey)),
        Kind::TrustedCertificate
        | Kind::EncryptedKey
        | Kind::OtherKey
        | Kind::PublicKey
        | Kind::Request
        | Kind::Crl
        | Kind::Other => None,
    }
}

fn decode(label: &str, body: &str) -> Option<(SectionKind, Vec<u8>)> {
    let base64: String = body.split_ascii_whitespace().collect();
    let plain = format!("{BEGIN}{label}{DASHES}\n{base64}\n{END}{label}{DASHES}\n");
    <(SectionKind, Vec<u8>)>::from_pem_slice(plain.as_bytes()).ok()
}

fn line_ends(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

/// Describes the likely format of a file without PEM, with a remedy.
fn looks_like(content: &[u8]) -> &'static str {
    match content {
        [0x30, 0x80..=0x84, ..] => {
            ": it looks binary; convert DER with `openssl x509 -inform DER -in FILE` or `openssl pkey -inform DER \
             -in FILE`, and a .p12 or .pfx with `openssl pkcs12 -in FILE -nodes`"
        }
        _ if is_utf16(content) => ": this file is UTF-16: save it as UTF-8",
        _ => "",
    }
}

/// Describes the contents of a file: `a private key and 2 certificates`.
pub(crate) fn contents(sections: &[Section]) -> String {
    let mut counted: Vec<((&str, &str), usize)> = Vec::new();
    for section in sections {
        let words = section.kind.words();
        match counted.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => counted.push((words, 1)),
        }
    }
    let parts: Vec<String> = counted
        .into_iter()
        .map(|((one, many), count)| match count {
            1 => one.to_owned(),
            _ => format!("{count} {many}"),
        })
        .collect();
    parts.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section with bytes that are not a certificate: these tests cover PEM only.
    const FIRST: &str = "-----BEGIN CERTIFICATE-----\nAAEC\nAwQF\n-----END CERTIFICATE-----";
    const SECOND: &str = "-----BEGIN CERTIFICATE-----\nBgcI\n-----END CERTIFICATE-----\n";

    fn read(text: &str) -> Vec<(usize, Kind, Vec<u8>)> {
        let sections = sections(text.as_bytes()).unwrap();
        sections
            .into_iter()
            .map(|section| (section.line, section.kind, section.der))
            .collect()
    }

    fn problem(content: &[u8]) -> String {
        sections(content).err().unwrap().to_string()
    }

    #[test]
    fn sections_joined_without_a_line_end_are_all_read() {
        assert_eq!(
            read(&format!("{FIRST}{SECOND}")),
            [
                (1, Kind::Certificate, vec![0, 1, 2, 3, 4, 5]),
                (4, Kind::Certificate, vec![6, 7, 8])
            ]
        );
    }

    #[test]
    fn text_around_line_ends_of_any_kind_and_blanks_do_not_matter() {
        let text = format!("\u{feff}Bag Attributes\n    friendlyName: x\n{FIRST}\n\nsubject=CN\n  {SECOND}");
        let expected = [
            (3, Kind::Certificate, vec![0, 1, 2, 3, 4, 5]),
            (9, Kind::Certificate, vec![6, 7, 8]),
        ];

        assert_eq!(read(&text), expected);
        assert_eq!(read(&text.replace('\n', "\r\n")), expected);
        assert_eq!(read(&text.replace('\n', " \n")), expected);
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused_with_the_line() {
        let cut = &format!("{FIRST}\n{SECOND}")[..100];

        assert_eq!(
            problem(cut.as_bytes()),
            "line 5: \"BEGIN CERTIFICATE\" has no \"END CERTIFICATE\": the file is cut off"
        );
        assert_eq!(
            problem(format!("-----BEGIN CERTIFICATE-----\nAAEC\n{SECOND}").as_bytes()),
            "line 1: \"BEGIN CERTIFICATE\" has no \"END CERTIFICATE\": the file is cut off"
        );
        assert_eq!(problem(b"\n-----BEGIN CERTIF"), "line 2: a BEGIN line is cut off");
    }

    #[test]
    fn damaged_base64_is_refused_with_the_line() {
        let damaged = FIRST.replace("AwQF", "Aw?F");

        assert_eq!(
            problem(format!("{SECOND}{damaged}").as_bytes()),
            "line 4: the text between BEGIN and END CERTIFICATE is not base64"
        );
    }

    #[test]
    fn what_is_not_pem_is_recognised() {
        assert!(problem(&[0x30, 0x82, 1, 2]).contains("openssl x509 -inform DER"));
        let utf16 = "contains no PEM (\"-----BEGIN …\"): this file is UTF-16: save it as UTF-8";
        let units = || SECOND.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        assert_eq!(problem(&little), utf16);
        assert_eq!(problem(&big), utf16);
        assert_eq!(problem(&[b"\xff\xfe", &*little].concat()), utf16);
        assert_eq!(problem(&[b"\xfe\xff", &*big].concat()), utf16);
        assert_eq!(problem(b"secret"), "contains no PEM (\"-----BEGIN …\")");
    }

    #[test]
    fn encrypted_keys_are_recognised_in_both_forms() {
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAEC\n\
                   -----END RSA PRIVATE KEY-----\n";
        let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAEC\n-----END ENCRYPTED PRIVATE KEY-----\n";

        assert_eq!(read(old), [(1, Kind::EncryptedKey, vec![])]);
        assert_eq!(read(new), [(1, Kind::EncryptedKey, vec![])]);
    }

    #[test]
    fn contents_are_told_in_words() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";
        let text = format!("{key}{FIRST}\n{SECOND}");

        assert_eq!(
            contents(&sections(text.as_bytes()).unwrap()),
            "a private key and 2 certificates"
        );
    }
}
