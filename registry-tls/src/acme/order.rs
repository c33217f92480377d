//! One order: from a name to its certificate (RFC 8555, section 7.4).

use super::{ChallengeKind, failure::Failure};
use crate::{
    challenges::{ACME_TLS_ALPN, Challenge, Challenges, Shown},
    error::TlsError,
};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier, KeyAuthorization, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{
    ServerConfig, crypto::CryptoProvider, pki_types::PrivateKeyDer, server::ResolvesServerCert,
    sign::CertifiedKey,
};
use std::{sync::Arc, time::Duration};

/// Time limit for an authority to validate, and then to sign.
const PATIENCE: Duration = Duration::from_secs(90);

/// Builds the configuration for the handshakes in which an authority validates.
pub(crate) fn validation_config(
    provider: &Arc<CryptoProvider>,
    challenges: &Arc<Challenges>,
) -> Result<ServerConfig, TlsError> {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Challenges>::clone(challenges);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::setup)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
    Ok(config)
}

/// Account for orders, and the kind of proof.
pub(super) struct Orders<'a> {
    pub(super) account: &'a Account,
    pub(super) kind: ChallengeKind,
    pub(super) challenges: &'a Arc<Challenges>,
    pub(super) provider: &'a CryptoProvider,
}

impl Orders<'_> {
    /// Orders a certificate for `host`, and returns its private key and chain as joined PEM.
    pub(super) async fn certificate(&self, host: &str) -> Result<String, Failure> {
        let identifiers = [Identifier::Dns(host.to_owned())];
        let mut order = self
            .account
            .new_order(&NewOrder::new(&identifiers))
            .await
            .map_err(|error| self.failure(&error))?;
        // The proofs are removed at the end, also after a failure.
        let _shown = self.prove(&mut order, host).await?;
        let policy = RetryPolicy::new().timeout(PATIENCE);
        match order.poll_ready(&policy).await {
            Ok(OrderStatus::Ready) => {}
            outcome => {
                // The order only has its state; the challenge has the reason.
                if let Some(failure) = self.why_invalid(&mut order).await {
                    return Err(failure);
                }
                return Err(match outcome {
                    Err(error) => self.failure(&error),
                    Ok(status) => Failure::lasting(format!(
                        "the authority set the order to {status:?} without a reason"
                    )),
                });
            }
        }
        let key = KeyPair::generate().map_err(cannot_make)?;
        let mut params = CertificateParams::new([host.to_owned()]).map_err(cannot_make)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(cannot_make)?;
        let chain = async {
            order.finalize_csr(request.der()).await?;
            order.poll_certificate(&policy).await
        };
        let chain = chain.await.map_err(|error| self.failure(&error))?;
        Ok(format!("{}{chain}", key.serialize_pem()))
    }

    /// Shows the proofs that the authority asks for, and tells it to validate.
    async fn prove(&self, order: &mut Order, host: &str) -> Result<Vec<Shown>, Failure> {
        let mut shown = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.failure(&error))?;
            // An earlier authorization is still valid.
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let kind = match self.kind {
                ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
                ChallengeKind::Http01 => ChallengeType::Http01,
            };
            let Some(mut challenge) = authorization.challenge(kind) else {
                return Err(Failure::lasting(format!(
                    "the authority does not offer {:?} for this name: use the other challenge",
                    self.kind
                )));
            };
            let proof = self.proof(&challenge, host)?;
            shown.push(self.challenges.show(proof));
            challenge
                .set_ready()
                .await
                .map_err(|error| self.failure(&error))?;
        }
        Ok(shown)
    }

    fn proof(&self, challenge: &ChallengeHandle<'_>, host: &str) -> Result<Challenge, Failure> {
        let key_authorization = challenge.key_authorization();
        Ok(match self.kind {
            ChallengeKind::Http01 => Challenge::Http01 {
                token: challenge.token.clone(),
                key_authorization: key_authorization.as_str().to_owned(),
            },
            ChallengeKind::TlsAlpn01 => Challenge::TlsAlpn01 {
                host: host.to_owned(),
                certificate: Arc::new(self.proving_certificate(host, &key_authorization)?),
            },
        })
    }

    /// Makes a certificate that contains only the proof (RFC 8737, section 3).
    fn proving_certificate(&self, host: &str, proof: &KeyAuthorization) -> Result<CertifiedKey, Failure> {
        let mut params = CertificateParams::new([host.to_owned()]).map_err(cannot_make)?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(proof.digest().as_ref())];
        let key = KeyPair::generate().map_err(cannot_make)?;
        let certificate = params.self_signed(&key).map_err(cannot_make)?;
        let key = self
            .provider
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .map_err(cannot_make)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }

    async fn why_invalid(&self, order: &mut Order) -> Option<Failure> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else {
                continue;
            };
            let problem = state
                .challenges
                .iter()
                .find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                return Some(Failure::from_problem(problem, self.kind));
            }
        }
        None
    }

    fn failure(&self, error: &instant_acme::Error) -> Failure {
        Failure::from_error(error, self.kind)
    }
}

fn cannot_make(error: impl std::fmt::Display) -> Failure {
    Failure::lasting(format!("cannot create a key or a certificate request: {error}"))
}
