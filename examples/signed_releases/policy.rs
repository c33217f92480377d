//! [`SignedReleases`]: only signed manifests get the tags of releases.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use registry_core::{
    Digest, Hooks, Reference, Registry, Repository, Storage, Tag,
    hooks::{Context, HookError},
    manifest::Manifest,
    protocol::PageQuery,
    storage::PutManifest,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::Value;
use std::{error::Error, time::Duration};
use tokio::time::timeout;

/// Media type of the layers of a signature: cosign's payload.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of such a layer, with the signature of the payload in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Maximum size of a payload in bytes. Real ones have some hundred.
const PAYLOAD_BYTES: usize = 16 << 10;

/// Maximum number of referrers that are read to find a signature. Whoever may push could add any number of them.
const REFERRERS: usize = 256;
/// Maximum number of layers of an artifact that are read. Each one is a signature.
const LAYERS: usize = 32;
/// Maximum time to find a signature. A push waits for it.
const TIME: Duration = Duration::from_secs(10);

/// Begin of each public key of P-256 in DER (RFC 5480), before the point itself.
const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// A public key, as `cosign generate-key-pair` writes it to `cosign.pub`.
#[derive(Clone, Debug)]
pub struct PublicKey(UnparsedPublicKey<Vec<u8>>);

impl PublicKey {
    /// Reads a key of P-256 in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, Box<dyn Error>> {
        let lines = pem
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("-----"));
        let der = BASE64.decode(lines.collect::<String>())?;
        let point = der
            .strip_prefix(P256)
            .ok_or("the key is not an ECDSA key of P-256")?;
        Ok(Self(UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_ASN1,
            point.to_vec(),
        )))
    }

    /// Returns true if `signature`, in base64, is one of these bytes by this key.
    fn has_signed(&self, bytes: &[u8], signature: &str) -> bool {
        let signature = BASE64.decode(signature);
        signature.is_ok_and(|signature| self.0.verify(bytes, &signature).is_ok())
    }
}

/// Refuses tags of releases for manifests without a signature by a key, as `cosign sign` of cosign 2 pushes it: as a referrer
/// of the manifest, or under the tag `sha256-….sig`. Signatures in bundles, the default of cosign 3, do not count.
///
/// The name of the repository in the payload is not compared: a signature that is copied with its manifest counts, too.
///
/// A release is pushed by digest, then its signature, and then it is tagged.
#[derive(Debug)]
pub struct SignedReleases {
    /// Reads the same storage. It has no hooks, so that the policy does not ask itself.
    reader: Registry,
    key: PublicKey,
}

impl SignedReleases {
    /// Requires a signature by `key`, in the same repository of `storage`.
    pub fn new(storage: impl Storage, key: PublicKey) -> Self {
        Self {
            reader: Registry::builder(storage).build(),
            key,
        }
    }

    async fn is_signed(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, registry_core::Error> {
        // Where cosign keeps the signatures of clients and registries without referrers.
        let fallback = Tag::parse(&format!("{}-{}.sig", digest.algorithm(), digest.hex()));
        if let Ok(tag) = fallback
            && self.signs(repository, tag.into(), digest).await?
        {
            return Ok(true);
        }
        let mut page = PageQuery::default();
        let mut left = REFERRERS;
        loop {
            let referrers = repository.referrers(digest, None, &page).await?;
            for candidate in referrers.items {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                if self.signs(repository, candidate.digest.into(), digest).await? {
                    return Ok(true);
                }
            }
            match referrers.next {
                Some(last) => page.last = Some(last),
                None => return Ok(false),
            }
        }
    }

    /// Returns true if an artifact has a signature of `digest` by the key.
    async fn signs(
        &self,
        repository: &Repository,
        artifact: Reference,
        digest: &Digest,
    ) -> Result<bool, registry_core::Error> {
        let Some(artifact) = repository.manifest(artifact).await? else {
            return Ok(false);
        };
        let artifact: Value = serde_json::from_slice(&artifact.bytes).unwrap_or_default();
        for layer in artifact["layers"].as_array().into_iter().flatten().take(LAYERS) {
            let (Some(signature), Some(payload)) =
                (layer["annotations"][SIGNATURE].as_str(), layer["digest"].as_str())
            else {
                continue;
            };
            let Ok(payload) = Digest::parse(payload) else {
                continue;
            };
            // A larger one is no payload. The policy must not read a layer into memory.
            let size = repository
                .blob(&payload)
                .await?
                .map_or(u64::MAX, |blob| blob.size);
            if layer["mediaType"] != PAYLOAD || size > PAYLOAD_BYTES as u64 {
                continue;
            }
            let payload = repository
                .read_blob(&payload, PAYLOAD_BYTES)
                .await?
                .unwrap_or_default();
            if names(&payload, digest) && self.key.has_signed(&payload, signature) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns true if a payload is about this manifest. A signature of another one proves nothing.
fn names(payload: &[u8], digest: &Digest) -> bool {
    let payload: Value = serde_json::from_slice(payload).unwrap_or_default();
    let critical = &payload["critical"];
    critical["type"] == "cosign container image signature"
        && critical["image"]["docker-manifest-digest"] == digest.to_string()
}

#[async_trait]
impl Hooks for SignedReleases {
    /// Runs before each push of a tag, also if it moves an existing tag, and before a restore.
    async fn before_put_manifest(
        &self,
        context: &Context,
        _: &Manifest,
        put: &PutManifest,
    ) -> Result<(), HookError> {
        let digest = put.manifest.digest();
        let release = put
            .tags
            .iter()
            .find(|moved| moved.tag.as_str().starts_with("release-"));
        let Some(release) = release else {
            return Ok(());
        };
        let repository = self.reader.repository(&context.repository);
        let repository = repository.map_err(HookError::failed)?;
        // An outage is 503, and neither a refusal nor a permission.
        let signed = timeout(TIME, self.is_signed(&repository, digest)).await;
        if signed.map_err(HookError::failed)?.map_err(HookError::failed)? {
            return Ok(());
        }
        Err(HookError::veto(format!(
            "only signed manifests may be tagged {}: push by digest, run `cosign sign --key … REPOSITORY@{digest}`, \
             and push the tag then",
            release.tag
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::PublicKey;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEkj1NbUx2H0GvlIZhgaZR/whiFSxc\n\
        fhG6E099YW5LTm78XMFusJHgF/CVhnv679U/+DOmWJdc1b8lxQb8U317hg==\n\
        -----END PUBLIC KEY-----";
    const SIGNED: &str =
        "MEQCIEkSvtgKD1+Ic+hPgQdjmn2PTaMwYkXgUdpeegATH/CWAiBueXqHbhEOWQfeCdg7vzsTd1vdv5s20RBodKk3qBxUOw==";

    #[test]
    fn a_signature_by_another_program_is_verified() {
        let key = PublicKey::from_pem(KEY).unwrap();

        assert!(key.has_signed(b"signed by openssl", SIGNED));
        assert!(!key.has_signed(b"signed by nobody", SIGNED));
        assert!(!key.has_signed(b"signed by openssl", "no base64"));
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        assert!(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").is_err());
        assert!(PublicKey::from_pem("no key").is_err());
    }
}
