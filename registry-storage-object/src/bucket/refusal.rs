//! Refusals that only a change of the configuration or of the store ends, so that waiting for the store is of no use.

use registry_core::storage::StorageError;
use std::error::Error as _;

/// Codes of stores and texts of the client library, with advice. The first one that is in an error counts.
const KNOWN: [(&[&str], &str); 5] = [
    (
        &["NoSuchBucket", "ContainerNotFound", "InvalidBucketName"],
        "there is no such bucket: create it, or correct its name, the region or the endpoint",
    ),
    (
        &[
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraint",
            "PermanentRedirect",
            "incorrectly configured region",
        ],
        "the bucket is in another region: correct the region or the endpoint",
    ),
    (
        &["RequestTimeTooSkewed"],
        "the clock of this machine differs from that of the object store: correct it",
    ),
    (
        &[
            "InvalidAccessKeyId",
            "XAdminUserNotFound",
            "SignatureDoesNotMatch",
            "InvalidAuthenticationInfo",
            "AuthenticationFailed",
            "ExpiredToken",
            "InvalidToken",
            "invalid_grant",
        ],
        "the object store does not accept the credentials: correct the access key and its secret, or the identity",
    ),
    (
        &[
            "AccessDenied",
            "AllAccessDisabled",
            "AuthorizationFailure",
            "AuthorizationPermissionMismatch",
            "401 Unauthorized",
            "403 Forbidden",
        ],
        "the credentials do not suffice: allow them to list, read, write and remove the objects of the bucket",
    ),
];

/// Texts of a request to the services that give a machine its identity.
const IDENTITY: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];

/// Answers of these services to a machine that has none. Others are outages.
const NO_IDENTITY: [&str; 3] = ["401 Unauthorized", "403 Forbidden", "404 Not Found"];

/// Text of a store that is asked by TLS and answers without.
const NO_TLS: &str = "InvalidContentType";

/// Text of a certificate that is refused.
const NOT_TRUSTED: &str = "invalid peer certificate";

/// Text of a server that no connection reaches.
const NOT_REACHED: &str = "client error (Connect)";

/// Turns the error of an opening into one that says what to change, if waiting is of no use. One of a store that is not reached
/// stays an outage, with advice.
pub(crate) fn refusal(error: StorageError) -> StorageError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = source.source();
    }
    let names = |known: &[&str]| known.iter().any(|one| text.contains(one));
    if names(&IDENTITY) && names(&NO_IDENTITY) {
        let advice =
            "no credentials were found, and this machine has no identity: set an access key and its secret";
        return StorageError::denied(format!("{advice} ({text})"));
    }
    if text.contains(NO_TLS) {
        let advice = "the object store does not speak TLS: correct the endpoint, for example to http://";
        return StorageError::denied(format!("{advice} ({text})"));
    }
    let known = KNOWN
        .iter()
        .find(|(codes, _)| codes.iter().any(|code| text.contains(code)));
    match (known, error) {
        (Some((_, advice)), _) => StorageError::denied(format!("{advice} ({text})")),
        (
            None,
            StorageError::Unavailable {
                retry_after, source, ..
            },
        ) if text.contains(NOT_REACHED) => {
            let advice = match (names(&IDENTITY), text.contains(NOT_TRUSTED)) {
                (true, _) => {
                    "no credentials were found, and no service gives this machine an identity: set an access key and its secret"
                }
                (false, true) => {
                    "the certificate of the object store is not trusted: add the authority that signed it to those of this machine"
                }
                (false, false) => "the object store cannot be reached: start it, or correct the endpoint",
            };
            StorageError::unavailable(format!("{advice} ({text})"), retry_after, source)
        }
        (None, error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_stays_one_and_a_refusal_says_what_to_change() {
        for (cause, told) in [
            (
                "404 Not Found: <Error><Code>NoSuchBucket</Code></Error>",
                "no such bucket",
            ),
            (
                "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
                "correct the region",
            ),
            ("403 Forbidden: <Code>InvalidAccessKeyId</Code>", "access key"),
            ("404 Not Found: <Code>XAdminUserNotFound</Code>", "access key"),
            ("403 Forbidden: ", "allow them"),
            (
                "PUT http://169.254.169.254/latest/api/token: 403 Forbidden",
                "no credentials",
            ),
            ("received corrupt message of type InvalidContentType", "TLS"),
        ] {
            let error = StorageError::unavailable("cannot list a", None, Some(cause.into()));
            let refused = refusal(error);
            assert!(matches!(refused, StorageError::Denied { .. }), "{cause}");
            let text = refused.to_string();
            assert!(text.contains(told) && text.contains(cause), "{text}");
        }
        for (cause, told) in [
            ("404 page not found", "cannot list a"),
            ("503 Slow Down", "cannot list a"),
            (
                "client error (Connect): tcp connect error: Connection refused",
                "the object store cannot be reached: start it",
            ),
            (
                "PUT http://169.254.169.254/latest/api/token: client error (Connect): operation timed out",
                "no credentials were found",
            ),
            (
                "client error (Connect): invalid peer certificate: UnknownIssuer",
                "the certificate",
            ),
        ] {
            let error = StorageError::unavailable("cannot list a", None, Some(cause.into()));
            let outage = refusal(error);
            assert!(matches!(outage, StorageError::Unavailable { .. }), "{cause}");
            assert!(outage.to_string().starts_with(told), "{outage}");
        }
    }
}
