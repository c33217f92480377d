//! [`Token`]: faults of the login by tokens.

/// A fault of the login by Bearer tokens, for [`token`](super::token).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Token {
    /// All tokens expire before the request. The client gets a 401 and has to request a new one.
    Expire,
    /// The answer of the token endpoint does not say how long the token is valid.
    NoExpiresIn,
    /// The answer of the token endpoint has the token as `access_token` alone, not as `token`.
    AccessTokenOnly,
    /// The token endpoint answers with this status.
    Fails(u16),
    /// The challenge of a 401 names a token endpoint on another host, the second one of the fixture.
    OtherRealm,
}
