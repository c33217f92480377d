//! [`is_denied`]: reasons that permissions explain.

/// Returns true if a reason contains the error of the system for lacking permissions. Reasons are texts, because storages
/// of any kind give them.
pub(super) fn is_denied(reason: &str) -> bool {
    // EACCES and EPERM.
    reason.contains("(os error 13)") || reason.contains("(os error 1)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn the_errors_of_the_system_for_lacking_permissions_are_told_from_others() {
        for (code, denied) in [(13, true), (1, true), (5, false), (12, false), (20, false)] {
            let reason = format!("cannot read /data: {}", Error::from_raw_os_error(code));
            assert_eq!(is_denied(&reason), denied, "{reason}");
        }
    }
}
