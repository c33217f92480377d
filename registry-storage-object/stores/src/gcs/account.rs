//! [`Account`]: the service account whose key signs URLs.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    error::Unspecified,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::io;

/// Address of the account, which names it in signatures.
const EMAIL: &str = "tests@project.example";

/// A service account with a key of its own.
#[derive(Debug)]
pub(super) struct Account {
    key: KeyPair,
    pem: String,
}

impl Account {
    pub(super) fn new() -> io::Result<Self> {
        let failed = |Unspecified| io::Error::other("cannot make an RSA key");
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
        let text = BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        Ok(Self { key, pem })
    }

    /// Returns the content of a key file for a store at this URL.
    pub(super) fn key_file(&self, url: &str) -> String {
        serde_json::json!({
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "tests",
            "private_key": self.pem,
            "client_email": EMAIL,
            "client_id": "1",
            "gcs_base_url": url,
        })
        .to_string()
    }

    /// Returns true if the account has signed this text.
    pub(super) fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key().as_ref())
            .verify(text.as_bytes(), signature)
            .is_ok()
    }
}
