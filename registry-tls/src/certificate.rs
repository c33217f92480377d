//! Contents of a certificate. Nothing here establishes trust; clients do that.

use crate::{error::FileProblem, pem::Section};
use rustls::pki_types::CertificateDer;
use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};
use x509_parser::prelude::{ASN1Time, FromDer as _, GeneralName, X509Certificate};

/// A certificate, with the fields that determine its place in a chain and the warnings that clients may show.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    /// Subject, such as `CN=registry.example.com, O=…`.
    pub(crate) subject: String,
    pub(crate) common_name: Option<String>,
    pub(crate) subject_der: Vec<u8>,
    pub(crate) issuer_der: Vec<u8>,
    /// Public key, as `SubjectPublicKeyInfo`.
    pub(crate) public_key: Vec<u8>,
    /// Names and addresses that the certificate is valid for. These are the subject alternative names only, as clients
    /// check them.
    pub(crate) names: Vec<String>,
    pub(crate) validity: Validity,
}

/// Period in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: SystemTime,
    pub(crate) until: SystemTime,
}

impl Certificate {
    /// Parses a section of a file. Versions 1 and 3 are both accepted.
    pub(crate) fn parse(section: Section) -> Result<Self, FileProblem> {
        let Section { line, der, .. } = section;
        Self::from_der(der.into()).map_err(|what| FileProblem::Damaged { line, what })
    }

    pub(crate) fn from_der(der: CertificateDer<'static>) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(&der)
            .map_err(|error| format!("cannot parse the certificate: {error}"))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let names = match parsed.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
            Ok(None) => Vec::new(),
            Err(error) => return Err(format!("cannot parse the subject alternative names: {error}")),
        };
        let mut common_names = parsed.subject().iter_common_name();
        let common_name = common_names
            .find_map(|name| name.as_str().ok())
            .map(str::to_owned);
        drop(common_names);
        Ok(Self {
            subject: parsed.subject().to_string(),
            common_name,
            subject_der: parsed.subject().as_raw().to_vec(),
            issuer_der: parsed.issuer().as_raw().to_vec(),
            public_key: parsed.public_key().raw.to_vec(),
            names,
            validity: Validity {
                from: system_time(parsed.validity().not_before),
                until: system_time(parsed.validity().not_after),
            },
            der,
        })
    }

    /// Returns true if `self` claims to be signed by the subject of `other`.
    pub(crate) fn is_issued_by(&self, other: &Self) -> bool {
        self.issuer_der == other.subject_der
    }

    /// Returns a short name of the certificate's holder.
    pub(crate) fn holder(&self) -> String {
        if self.names.is_empty() {
            format!("\"{}\"", self.subject)
        } else {
            self.names.join(", ")
        }
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => {
            let address = match <[u8; 4]>::try_from(*octets) {
                Ok(v4) => IpAddr::from(v4),
                Err(_) => IpAddr::from(<[u8; 16]>::try_from(*octets).ok()?),
            };
            Some(address.to_string())
        }
        // E-mail addresses, URLs and the like name no server.
        _ => None,
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    if time.timestamp() < 0 {
        SystemTime::UNIX_EPOCH - seconds
    } else {
        SystemTime::UNIX_EPOCH + seconds
    }
}

/// Formats a point in time for a message, such as `2030-01-31 12:00:00 UTC`.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    match i64::try_from(seconds).map(ASN1Time::from_timestamp) {
        Ok(Ok(time)) => {
            let time = time.to_datetime();
            format!(
                "{}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
                time.year(),
                u8::from(time.month()),
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
        }
        _ => format!("{seconds} s after 1970"),
    }
}
