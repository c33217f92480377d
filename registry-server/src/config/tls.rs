//! `http.tls` and `http.redirect`.

use super::reader::Reader;
use crate::{
    listen::Listen,
    tls::{Certificates, Redirect, Settings},
};
use registry_tls::{Acme, ChallengeKind, ClientAuth, Files, Options};

/// Key that enables Let's Encrypt, as in registry:2.
const CACHE: &str = "http.tls.letsencrypt.cachefile";

/// Reads the settings of TLS; `None` if it is not configured.
pub(super) fn settings(reader: &Reader<'_>) -> Option<Settings> {
    let options = options(reader);
    let redirect = redirect(reader);
    let acme = acme(reader);
    let certificate = reader.path("http.tls.certificate");
    let key = reader.path("http.tls.key");
    let certificates = match (acme, certificate, key) {
        (Some(acme), None, None) => Some(Certificates::Acme(acme)),
        (None, Some(certificate), Some(key)) => Some(Certificates::Files(Files::new(certificate, key))),
        (None, None, None) => None,
        (None, ..) => {
            reader.lacks("http.tls", "both `certificate` and `key` are required");
            return None;
        }
        (Some(_), ..) => {
            reader.lacks(
                "http.tls",
                "set either `certificate` and `key`, or `letsencrypt`, not both",
            );
            return None;
        }
    };
    if certificates.is_none() && redirect.is_some() {
        reader.lacks("http.redirect", "no effect without `http.tls`");
    }
    Some(Settings {
        certificates: certificates?,
        options,
        redirect,
    })
}

fn options(reader: &Reader<'_>) -> Options {
    let client_auth = reader.parsed("http.tls.clientauth", |mode| match mode {
        "require-and-verify-client-cert" => Ok(ClientAuth::Required),
        "verify-client-cert-if-given" => Ok(ClientAuth::IfGiven),
        "request-client-cert" | "require-any-client-cert" => Err(
            "this mode does not verify certificates; must be `require-and-verify-client-cert` or \
                 `verify-client-cert-if-given`"
                .into(),
        ),
        _ => Err("must be `require-and-verify-client-cert` or `verify-client-cert-if-given`".into()),
    });
    let http2 = !reader.switch("http.http2.disabled");
    reader
        .parsed("http.tls.minimumtls", |version| {
            Options::new()
                .minimum_version(version)
                .map_err(|error| error.to_string())
        })
        .cipher_suites(reader.list("http.tls.ciphersuites"))
        .client_cas(reader.list("http.tls.clientcas"))
        .client_auth(client_auth)
        .http2(http2)
}

/// Reads `http.tls.letsencrypt`, which `cachefile` enables, as in registry:2.
fn acme(reader: &Reader<'_>) -> Option<Acme> {
    let cache = reader.path(CACHE);
    let hosts = reader.list("http.tls.letsencrypt.hosts");
    let email = reader.filled("http.tls.letsencrypt.email");
    let directory = reader.filled("http.tls.letsencrypt.directoryurl");
    let ca = reader.path("http.tls.letsencrypt.directoryca");
    let is_asked_for = reader
        .section("http.tls.letsencrypt")
        .is_some_and(|section| !section.is_empty());
    let challenge = reader.parsed("http.tls.letsencrypt.challenge", |kind| match kind {
        "tls-alpn-01" => Ok(ChallengeKind::TlsAlpn01),
        "http-01" => Ok(ChallengeKind::Http01),
        _ => Err("must be `tls-alpn-01` or `http-01`".into()),
    });
    if cache.is_none() && is_asked_for {
        reader.lacks(
            "http.tls.letsencrypt",
            "`cachefile` is missing: a directory for the account and the certificates",
        );
    }
    let mut acme = Acme::new(cache?, hosts).challenge(challenge);
    if challenge == ChallengeKind::Http01 && reader.filled("http.redirect.addr").is_none() {
        reader.lacks(
            "http.tls.letsencrypt",
            "the challenge `http-01` uses port 80: set `http.redirect.addr: :80`",
        );
    }
    if let Some(email) = email {
        acme = acme.email(email);
    }
    if let Some(url) = directory {
        acme = acme.directory_url(url);
    }
    if let Some(file) = ca {
        acme = acme.directory_ca(file);
    }
    acme.check()
        .map_err(|error| reader.lacks("http.tls.letsencrypt", &error.to_string()))
        .ok()?;
    Some(acme)
}

fn redirect(reader: &Reader<'_>) -> Option<Redirect> {
    let port = reader.optional("http.redirect.port", |port: &str| {
        port.parse().map_err(|error| format!("must be a port ({error})"))
    });
    let listen = reader.optional("http.redirect.addr", |addr| match addr {
        "" => Ok(None),
        _ => Listen::parse(addr).map(Some),
    });
    Some(Redirect {
        listen: listen.flatten()?,
        port,
    })
}
