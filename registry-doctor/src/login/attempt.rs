//! An attempt to log in, and the servers that may see its password.

use crate::{
    client::{Client, Door, Peers},
    credentials::Credentials,
    origin::Scheme,
    target::Target,
};

/// Attempt to log in.
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) client: &'a Client,
    pub(crate) credentials: &'a Credentials,
    /// Repository that a token is requested for.
    pub(crate) repository: &'a str,
    /// True if the password may be sent to untrusted servers.
    pub(crate) insecure: bool,
}

impl Login<'_> {
    /// Returns the reason not to send a password to this door, if there is one.
    pub(super) fn unsafe_to_tell(&self, door: &Door) -> Option<String> {
        let to = &door.origin;
        match (to.scheme, door.peers) {
            _ if self.insecure => None,
            (Scheme::Https, Peers::Known) => None,
            (Scheme::Http, _) if Target::is_loopback(to) => None,
            (Scheme::Https, Peers::Anybody) => Some(format!(
                "the password is not sent to {to}, whose certificate clients refuse; use --ca FILE or --insecure"
            )),
            (Scheme::Http, _) => Some(format!(
                "the password is not sent to {to} over plain HTTP; use --insecure"
            )),
        }
    }
}
