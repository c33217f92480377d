//! Checks of the server's certificate, as clients will judge it.

use super::origin::Origin;
use super::{
    client::{Client, Door, Handshake, Peers, Trust},
    finding::{Check, Finding},
};
use std::{net::IpAddr, time::SystemTime};
use tokio_rustls::rustls::{
    self, CertificateError, DEFAULT_VERSIONS, ProtocolVersion,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Version};

const DAY: i64 = 24 * 60 * 60;

/// Remaining validity in seconds below which a certificate is probably not being renewed. certbot and its like renew
/// certificates of 90 days a month before they end.
const SOON: i64 = 14 * DAY;

/// Examines TLS and certificates. Returns the peers that later connections may have.
pub(super) async fn examine(client: &Client, door: &Door, found: &mut Vec<Finding>) -> Peers {
    let origin = &door.origin;
    versions(client, origin, found).await;
    let Ok(Handshake { chain, .. }) = client.handshake(origin, DEFAULT_VERSIONS).await else {
        found.push(Finding::skipped(
            Check::CertificateTrust,
            "the server sent no certificate on a second connection",
        ));
        return Peers::Anybody;
    };
    let Some((own, above)) = chain.split_first() else {
        found.push(Finding::fault(
            Check::CertificateTrust,
            "the server sends no certificate",
        ));
        return Peers::Anybody;
    };
    let Ok((_, parsed)) = X509Certificate::from_der(own) else {
        found.push(
            Finding::fault(Check::CertificateTrust, "the server's certificate cannot be read").server(
                "create a new one; `openssl x509 -text -noout -in FILE` shows the content of the file",
            ),
        );
        return Peers::Anybody;
    };
    let now = now();
    let first = found.len();
    found.extend(version(&parsed, origin));
    found.push(name(own, &parsed, origin));
    found.push(validity(&parsed, now));
    found.extend(order(&chain));
    found.push(trust(client.trust(), own, &parsed, above, origin, now));
    let refused = found
        .iter()
        .skip(first)
        .any(|finding| finding.verdict == super::finding::Verdict::Fault);
    if refused { Peers::Anybody } else { Peers::Known }
}

async fn versions(client: &Client, origin: &Origin, found: &mut Vec<Finding>) {
    let mut spoken = Vec::new();
    for version in [&TLS12, &TLS13] {
        if let Ok(shaken) = client.handshake(origin, &[version]).await {
            spoken.extend(shaken.version);
        }
    }
    let names: Vec<_> = spoken
        .iter()
        .map(|version| match version {
            ProtocolVersion::TLSv1_2 => "1.2",
            _ => "1.3",
        })
        .collect();
    found.push(if spoken.contains(&ProtocolVersion::TLSv1_2) {
        Finding::ok(Check::TlsVersions, names.join(" and "))
    } else {
        let seen = "only 1.3: old clients, and proxies such as nginx before 1.23, support only up to 1.2";
        Finding::warning(Check::TlsVersions, seen)
            .server("nginx: `ssl_protocols TLSv1.2 TLSv1.3;`; the registry: `http.tls.minimumtls: tls1.2`")
    });
}

/// Reports a certificate of X.509 version 1, which has no extensions. Old instructions for self-signed certificates
/// produce these.
fn version(parsed: &X509Certificate<'_>, origin: &Origin) -> Option<Finding> {
    if parsed.version() != X509Version::V1 {
        return None;
    }
    let seen = "the certificate is X.509 version 1, which cannot contain host names: docker, podman and containerd refuse it";
    Some(Finding::fault(Check::CertificateVersion, seen).server(remake(origin)))
}

fn name(own: &CertificateDer<'_>, parsed: &X509Certificate<'_>, origin: &Origin) -> Finding {
    let host = origin.host();
    let matches = ServerName::try_from(host).is_ok_and(|name| {
        ParsedCertificate::try_from(own).is_ok_and(|own| verify_server_name(&own, &name).is_ok())
    });
    if matches {
        return Finding::ok(Check::CertificateName, format!("valid for {host}"));
    }
    let names = names(parsed);
    let common = common_name(parsed.subject());
    let seen = match (names.is_empty(), common) {
        (true, Some(common)) => format!(
            "the host is in the common name only (`CN={common}`), which clients ignore: docker says `x509: certificate relies on legacy Common Name field, use SANs \
             instead`"
        ),
        (true, None) => "the certificate names no host".to_owned(),
        (false, _) => format!(
            "the certificate is for {}, not for {host}: clients say \
             `x509: certificate is valid for …, not {host}`",
            names.join(", ")
        ),
    };
    let finding = Finding::fault(Check::CertificateName, seen).server(remake(origin));
    match names.iter().find(|name| !name.contains('*')) {
        Some(name) => finding.client(format!(
            "use the name in the certificate, if it resolves to this server: `docker login {}`",
            super::client::shown(name)
        )),
        None => finding,
    }
}

fn validity(parsed: &X509Certificate<'_>, now: i64) -> Finding {
    let (from, until) = (
        parsed.validity().not_before.timestamp(),
        parsed.validity().not_after.timestamp(),
    );
    let day = parsed.validity().not_after;
    let renew = "renew it. If the files are already new, reload the server that terminates TLS, such as nginx; the registry reloads them by itself";
    if now < from {
        return Finding::fault(
            Check::CertificateValidity,
            format!("it is not valid before {}", parsed.validity().not_before),
        )
        .client("is the clock of this machine right?")
        .server("was the clock right on the machine that created it?");
    }
    let days = (until - now) / DAY;
    if now > until {
        Finding::fault(Check::CertificateValidity, format!("it expired at {day}")).server(renew)
    } else if until - now < SOON {
        Finding::warning(
            Check::CertificateValidity,
            match days {
                1 => format!("it expires in 1 day, at {day}"),
                days => format!("it expires in {days} days, at {day}"),
            },
        )
        .server(renew)
    } else {
        Finding::ok(Check::CertificateValidity, format!("valid for {days} more days"))
    }
}

/// Examines the order of a chain: each certificate must be followed by that of its issuer.
fn order(chain: &[CertificateDer<'_>]) -> Option<Finding> {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|one| X509Certificate::from_der(one).ok())
        .map(|(_, parsed)| parsed)
        .collect();
    let signed_by_next = parsed
        .windows(2)
        .all(|pair| matches!(pair, [one, next] if one.issuer().as_raw() == next.subject().as_raw()));
    if signed_by_next {
        return (chain.len() > 1).then(|| {
            Finding::ok(
                Check::CertificateOrder,
                format!("{} certificates, each followed by its issuer", chain.len()),
            )
        });
    }
    let sent: Vec<_> = parsed.iter().map(|one| format!("`{}`", holder(one))).collect();
    Some(
        Finding::warning(
            Check::CertificateOrder,
            format!(
                "the chain is not in order, or has unrelated certificates: {}; only clients written in Go sort it",
                sent.join(", ")
            ),
        )
        .server(
            "send the server's own certificate first, then its issuer, and so on, without the root: `cat server.crt intermediate.crt > bundle.crt`",
        ),
    )
}

fn trust(
    trust: &Trust,
    own: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    above: &[CertificateDer<'_>],
    origin: &Origin,
    now: i64,
) -> Finding {
    if parsed.version() == X509Version::V1 {
        return Finding::skipped(
            Check::CertificateTrust,
            "not checked for a certificate of version 1",
        );
    }
    // Checked at a time within its validity, which is another check.
    let validity = parsed.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let at = now.min(until).max(from);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unsigned_abs()));
    let error = match trust.judge(own, above, at) {
        Ok(()) => {
            return Finding::ok(
                Check::CertificateTrust,
                "it, or one of its issuers, is trusted on this machine",
            );
        }
        Err(error) => error,
    };
    if is_about_time(&error) {
        return if from <= now && now <= until {
            Finding::fault(
                Check::CertificateTrust,
                "it is valid, but one of its issuers has expired, or is not valid yet",
            )
            .server("send the current certificate of the issuer, which the authority publishes")
        } else {
            Finding::skipped(Check::CertificateTrust, "it is not valid now")
        };
    }
    untrusted(&error, parsed, above, origin)
}

/// Explains why a certificate whose time is right is not trusted.
fn untrusted(
    error: &rustls::Error,
    parsed: &X509Certificate<'_>,
    above: &[CertificateDer<'_>],
    origin: &Origin,
) -> Finding {
    let ca_of_client = format!(
        "if you trust it, put the certificate of its authority into `/etc/docker/certs.d/{0}/ca.crt` \
         (podman: `/etc/containers/certs.d/{0}/ca.crt`), and into --ca FILE for this command",
        origin.authority()
    );
    if parsed.subject().as_raw() == parsed.issuer().as_raw() {
        return Finding::fault(
            Check::CertificateTrust,
            "the certificate is self-signed, and not trusted on this machine",
        )
        .client(ca_of_client)
        .server(
            "use a certificate from a public authority, such as Let's Encrypt: \
             `http.tls.letsencrypt`",
        );
    }
    if !matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)
    ) {
        return Finding::fault(
            Check::CertificateTrust,
            format!(
                "the certificate is refused: {}",
                super::client::shown(&error.to_string())
            ),
        )
        .client(ca_of_client)
        .server(remake(origin));
    }
    unknown_issuer(parsed, above, ca_of_client)
}

/// Reports the issuer of the last certificate that was sent: it is missing, or not known here.
fn unknown_issuer(
    parsed: &X509Certificate<'_>,
    above: &[CertificateDer<'_>],
    ca_of_client: String,
) -> Finding {
    let issuer = holder_of(parsed.issuer());
    let missing = above
        .last()
        .and_then(|last| X509Certificate::from_der(last).ok())
        .map(|(_, last)| last)
        .filter(|last| last.subject().as_raw() != last.issuer().as_raw())
        .map_or_else(|| issuer.clone(), |last| holder_of(last.issuer()));
    if above.is_empty() {
        let seen = format!(
            "the server sends only its own certificate, and its issuer `{issuer}` is not trusted on this machine: clients say `x509: certificate signed by unknown authority`"
        );
        return Finding::fault(Check::CertificateTrust, seen)
            .client(ca_of_client)
            .server(format!(
                "if `{issuer}` is an intermediate authority, send its certificate, too: \
                 `cat server.crt intermediate.crt > bundle.crt`; with certbot, use `fullchain.pem` instead of `cert.pem`"
            ));
    }
    Finding::fault(
        Check::CertificateTrust,
        format!(
            "the chain ends at `{missing}`, which is not trusted on this machine: clients say \
             `x509: certificate signed by unknown authority`"
        ),
    )
    .client(ca_of_client)
    .server("if it is an intermediate authority, add its certificate at the end of the bundle")
}

fn is_about_time(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        )
    )
}

fn remake(origin: &Origin) -> String {
    let host = origin.host();
    let kind = if host.parse::<IpAddr>().is_ok() {
        "IP"
    } else {
        "DNS"
    };
    format!(
        "create a certificate for {host}. A self-signed one: `openssl req -x509 -newkey rsa:4096 -nodes -days 365 \
         -keyout tls.key -out tls.crt -subj /CN={host} -addext subjectAltName={kind}:{host}`"
    )
}

/// Returns the names and addresses in the subject alternative names.
fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(super::client::shown(name)),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*octets).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn common_name(name: &x509_parser::x509::X509Name<'_>) -> Option<String> {
    let common = name.iter_common_name().find_map(|name| name.as_str().ok());
    common.map(super::client::shown)
}

/// Returns the common name of a subject or an issuer, or else its whole name.
fn holder_of(name: &x509_parser::x509::X509Name<'_>) -> String {
    common_name(name).unwrap_or_else(|| super::client::shown(&name.to_string()))
}

fn holder(parsed: &X509Certificate<'_>) -> String {
    holder_of(parsed.subject())
}

/// Returns the current time in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
