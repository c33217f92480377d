//! SHA-1 in base 64: `{SHA}` of the password, `{SSHA}` of the password and a salt that follows the digest.

use super::digits::same;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use sha1::{Digest as _, Sha1};

/// Base 64 with optional padding, which some programs omit.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A digest, and the salt that follows it.
pub(super) struct Salted {
    digest: [u8; 20],
    salt: Vec<u8>,
}

impl Salted {
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let computed = Sha1::new()
            .chain_update(password)
            .chain_update(&self.salt)
            .finalize();
        same(&computed, &self.digest)
    }
}

/// Parses the content of `{SHA}`: a digest and nothing else.
pub(super) fn bare(text: &str) -> Option<Salted> {
    parse(text, "{SHA}").filter(|hash| hash.salt.is_empty())
}

/// Parses the content of `{SSHA}`: a digest and a salt.
pub(super) fn salted(text: &str) -> Option<Salted> {
    parse(text, "{SSHA}").filter(|hash| !hash.salt.is_empty())
}

fn parse(text: &str, mark: &str) -> Option<Salted> {
    let decoded = BASE64.decode(text.strip_prefix(mark)?).ok()?;
    let (&digest, salt) = decoded.split_first_chunk()?;
    Some(Salted {
        digest,
        salt: salt.to_owned(),
    })
}

/// Returns the `{SHA}` hash of a password.
pub(super) fn hash(password: &[u8]) -> String {
    format!("{{SHA}}{}", BASE64.encode(Sha1::digest(password)))
}
