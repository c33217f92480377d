//! [`Finding`]: the outcome of one check, with its remedies.

use super::client::Failure;
use serde::Serialize;

/// Check that the doctor makes. The names are part of the JSON output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    Address,
    Port80,
    TlsVersions,
    CertificateVersion,
    CertificateName,
    CertificateValidity,
    CertificateOrder,
    CertificateTrust,
    Base,
    ApiVersion,
    Challenge,
    Login,
    AnonymousCatalog,
    AnonymousPush,
    OtherDoor,
    UploadSession,
    UploadLocation,
    UploadHeaders,
    UploadBody,
    UploadCancel,
    BodyLimit,
    RequestBuffering,
    ContentHeaders,
    Cors,
}

impl Check {
    #[cfg(test)]
    pub(super) const ALL: [Self; 24] = [
        Self::Address,
        Self::Port80,
        Self::TlsVersions,
        Self::CertificateVersion,
        Self::CertificateName,
        Self::CertificateValidity,
        Self::CertificateOrder,
        Self::CertificateTrust,
        Self::Base,
        Self::ApiVersion,
        Self::Challenge,
        Self::Login,
        Self::AnonymousCatalog,
        Self::AnonymousPush,
        Self::OtherDoor,
        Self::UploadSession,
        Self::UploadLocation,
        Self::UploadHeaders,
        Self::UploadBody,
        Self::UploadCancel,
        Self::BodyLimit,
        Self::RequestBuffering,
        Self::ContentHeaders,
        Self::Cors,
    ];

    /// Returns the title for the text output.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Port80 => "port 80",
            Self::TlsVersions => "TLS versions",
            Self::CertificateVersion => "certificate version",
            Self::CertificateName => "certificate name",
            Self::CertificateValidity => "certificate validity",
            Self::CertificateOrder => "certificate order",
            Self::CertificateTrust => "certificate trust",
            Self::Base => "/v2/",
            Self::ApiVersion => "API version",
            Self::Challenge => "login challenge",
            Self::Login => "login",
            Self::AnonymousCatalog => "catalog without a login",
            Self::AnonymousPush => "push without a login",
            Self::OtherDoor => "other ports",
            Self::UploadSession => "upload session",
            Self::UploadLocation => "Location of an upload",
            Self::UploadHeaders => "headers of an upload",
            Self::UploadBody => "chunked upload",
            Self::UploadCancel => "cancelling an upload",
            Self::BodyLimit => "limit on body size",
            Self::RequestBuffering => "buffering of uploads",
            Self::ContentHeaders => "headers of content",
            Self::Cors => "CORS",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    /// Works, but not as well as it could, or not for every client.
    Warning,
    /// Fails for some clients, or permits what should be forbidden.
    Fault,
    /// Could not be checked.
    Skipped,
}

impl Verdict {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::Skipped => "skipped",
        }
    }
}

/// Observation and remedies. Text between backticks is to be typed literally.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) verdict: Verdict,
    pub(super) seen: String,
    /// Remedy for users who push and pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    /// Remedy for the administrator of the registry or of the proxy in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: Check, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, seen)
    }

    pub(super) fn warning(check: Check, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, seen)
    }

    pub(super) fn fault(check: Check, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fault, seen)
    }

    pub(super) fn skipped(check: Check, why: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, why)
    }

    /// Creates a finding about a missing answer: a fault, unless no time was left.
    pub(super) fn unanswered(check: Check, failure: &Failure, seen: impl Into<String>) -> Self {
        match failure {
            Failure::OutOfTime => Self::skipped(check, failure.to_string()),
            _ => Self::fault(check, seen),
        }
    }

    fn new(check: Check, verdict: Verdict, seen: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            seen: seen.into(),
            client: None,
            server: None,
        }
    }

    pub(super) fn client(mut self, fix: impl Into<String>) -> Self {
        if self.verdict != Verdict::Skipped {
            self.client = Some(fix.into());
        }
        self
    }

    pub(super) fn server(mut self, fix: impl Into<String>) -> Self {
        if self.verdict != Verdict::Skipped {
            self.server = Some(fix.into());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_explained() {
        let page = include_str!("../../../docs/doctor.md");
        for check in Check::ALL {
            let name = serde_json::to_value(check).unwrap();
            let name = format!("`{}`", name.as_str().unwrap());
            assert!(page.contains(&name), "docs/doctor.md does not explain {name}");
            let title = check.title();
            let explained = |line: &str| line.contains(&name) && line.contains(title);
            assert!(
                page.lines().any(explained),
                "docs/doctor.md does not say that {name} is {title:?}"
            );
        }
    }
}
