//! [`Finding`]: the outcome of one check, with its remedies.

use super::client::Failure;

/// Check that the doctor makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// The registry answers at its address, by HTTPS or HTTP.
    Address,
    /// Answer at port 80 of a registry with HTTPS.
    Port80,
    /// Versions of TLS that the server supports.
    TlsVersions,
    /// Version of the certificate: clients refuse version 1.
    CertificateVersion,
    /// Names of the certificate.
    CertificateName,
    /// Time in which the certificate is valid.
    CertificateValidity,
    /// Order of the certificates in the chain.
    CertificateOrder,
    /// Trust in the certificate.
    CertificateTrust,
    /// Answer at `/v2/`.
    Base,
    /// Header `Docker-Distribution-Api-Version`.
    ApiVersion,
    /// Challenge with which a login is asked for.
    Challenge,
    /// Login with the given user.
    Login,
    /// Catalog without a login.
    AnonymousCatalog,
    /// Push without a login.
    AnonymousPush,
    /// Other ports of the host, which bypass the login.
    OtherDoor,
    /// Opening of an upload session.
    UploadSession,
    /// `Location` of an upload session.
    UploadLocation,
    /// Other headers of an upload session.
    UploadHeaders,
    /// Upload in chunks of the transfer encoding.
    UploadBody,
    /// Cancelling of the upload session.
    UploadCancel,
    /// Limit of a proxy on the size of bodies.
    BodyLimit,
    /// Buffering of uploads in a proxy.
    RequestBuffering,
    /// Headers of manifests and blobs.
    ContentHeaders,
    /// Permissions for a web interface of another origin (CORS).
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

    /// Returns the name in JSON, such as `port80`. Names do not change.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Port80 => "port80",
            Self::TlsVersions => "tls-versions",
            Self::CertificateVersion => "certificate-version",
            Self::CertificateName => "certificate-name",
            Self::CertificateValidity => "certificate-validity",
            Self::CertificateOrder => "certificate-order",
            Self::CertificateTrust => "certificate-trust",
            Self::Base => "base",
            Self::ApiVersion => "api-version",
            Self::Challenge => "challenge",
            Self::Login => "login",
            Self::AnonymousCatalog => "anonymous-catalog",
            Self::AnonymousPush => "anonymous-push",
            Self::OtherDoor => "other-door",
            Self::UploadSession => "upload-session",
            Self::UploadLocation => "upload-location",
            Self::UploadHeaders => "upload-headers",
            Self::UploadBody => "upload-body",
            Self::UploadCancel => "upload-cancel",
            Self::BodyLimit => "body-limit",
            Self::RequestBuffering => "request-buffering",
            Self::ContentHeaders => "content-headers",
            Self::Cors => "cors",
        }
    }

    /// Returns the title for the text output.
    #[must_use]
    pub const fn title(self) -> &'static str {
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

/// Outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Works, but not as well as it could, or not for every client.
    Warning,
    /// Fails for some clients, or permits what should be forbidden.
    Fault,
    /// Could not be checked.
    Skipped,
}

impl Verdict {
    /// Returns the name in text and JSON, such as `fault`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::Skipped => "skipped",
        }
    }
}

/// Observation and remedies. Text between backticks is to be typed literally.
///
/// Options such as `--ca` in a remedy are those of the command `registry doctor`. A text may contain parts of what a
/// server has sent; a [`Report`](super::Report) escapes what is not visible in them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Check that was made.
    pub check: Check,
    /// Outcome of it.
    pub verdict: Verdict,
    /// Observation behind the verdict.
    pub seen: String,
    /// Remedy for users who push and pull.
    pub client: Option<String>,
    /// Remedy for the operator of the registry or of the proxy in front.
    pub server: Option<String>,
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
        let page = include_str!("../../docs/doctor.md");
        for check in Check::ALL {
            let name = format!("`{}`", check.name());
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
