//! [`BasicLogin`]: user and password of `Authorization: Basic`, RFC 7617.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::fmt;
use zeroize::Zeroizing;

/// Maximum length of user and password together, in bytes. Hashing a password takes time that grows with its
/// length.
const MAX_LOGIN: usize = 1024;

/// Base 64 with optional padding, which some clients omit.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// User and password of a request. They are cleared from memory on drop.
#[derive(Clone)]
pub struct BasicLogin {
    decoded: Zeroizing<Vec<u8>>,
    colon: usize,
}

/// Error for an `Authorization` header that holds no valid credentials of its scheme, or is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credentials are malformed")]
pub struct MalformedLogin;

impl BasicLogin {
    pub(super) fn decode(encoded: &[u8]) -> Result<Self, MalformedLogin> {
        Self::decoded(encoded).ok_or(MalformedLogin)
    }

    fn decoded(encoded: &[u8]) -> Option<Self> {
        if encoded.len() > MAX_LOGIN.div_ceil(3) * 4 {
            return None;
        }
        let decoded = Zeroizing::new(BASE64.decode(encoded).ok()?);
        let colon = decoded.iter().position(|&byte| byte == b':')?;
        // Hash functions disagree about a NUL: programs in C end the password there, and bcrypt repeats the bytes
        // before it.
        let plausible = decoded.len() <= MAX_LOGIN && !decoded.contains(&0);
        let user = decoded.get(..colon)?;
        (plausible && str::from_utf8(user).is_ok()).then_some(Self { decoded, colon })
    }

    /// Returns the name of the user.
    #[must_use]
    pub fn user(&self) -> &str {
        let user = self.decoded.get(..self.colon).unwrap_or_default();
        str::from_utf8(user).unwrap_or_default()
    }

    /// Returns the password: everything after the first colon, in any encoding.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        self.decoded.get(self.colon + 1..).unwrap_or_default()
    }
}

/// Shows no password.
impl fmt::Debug for BasicLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicLogin")
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthRequest;
    use http::{HeaderValue, Request, header, request::Parts};

    fn parts(values: &[&[u8]]) -> Parts {
        let mut request = Request::new(());
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append(header::AUTHORIZATION, value);
        }
        request.into_parts().0
    }

    fn of(values: &[&[u8]]) -> Result<Option<(String, Vec<u8>)>, MalformedLogin> {
        let login = AuthRequest::new(&parts(values)).basic()?;
        Ok(login.map(|login| (login.user().to_owned(), login.password().to_owned())))
    }

    fn basic(decoded: &[u8]) -> Result<Option<(String, Vec<u8>)>, MalformedLogin> {
        of(&[format!("Basic {}", BASE64.encode(decoded)).as_bytes()])
    }

    #[test]
    fn a_name_ends_at_the_first_colon() {
        let found = |user: &str, password: &[u8]| Ok(Some((user.to_owned(), password.to_owned())));
        assert_eq!(basic(b"alice:se:cr:et"), found("alice", b"se:cr:et"));
        assert_eq!(basic("jörg:größe".as_bytes()), found("jörg", "größe".as_bytes()));
        assert_eq!(basic(b"alice:\xff"), found("alice", b"\xff"));
        assert_eq!(basic(b"alice:"), found("alice", b""));
        assert_eq!(of(&[b"bAsIc  YTpi "]), found("a", b"b"));
        assert_eq!(of(&[b"Basic YTpiYw"]), found("a", b"bc"));
    }

    #[test]
    fn other_schemes_are_none_and_nonsense_is_malformed() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[b"Bearer YTpi"]), Ok(None));
        assert_eq!(of(&[b"Basic"]), Err(MalformedLogin));
        assert_eq!(of(&[b"Basic !"]), Err(MalformedLogin));
        assert_eq!(of(&[b"Basic YTpi", b"Basic YTpi"]), Err(MalformedLogin));
        assert_eq!(basic(b"no colon"), Err(MalformedLogin));
        assert_eq!(basic(b"a\xff:b"), Err(MalformedLogin));
        assert_eq!(basic(b"a:b\0c"), Err(MalformedLogin));
        assert_eq!(
            basic(format!("a:{}", "x".repeat(MAX_LOGIN)).as_bytes()),
            Err(MalformedLogin)
        );
        assert!(basic(format!("a:{}", "x".repeat(MAX_LOGIN - 2)).as_bytes()).is_ok());
    }

    #[test]
    fn a_token_is_read_as_it_was_sent() {
        let bearer = |values: &[&[u8]]| {
            let parts = parts(values);
            let token = AuthRequest::new(&parts).bearer();
            token.map(|token| token.map(str::to_owned))
        };
        assert_eq!(
            bearer(&[b"Bearer a.b-c_d~e+f/g="]),
            Ok(Some("a.b-c_d~e+f/g=".into()))
        );
        assert_eq!(bearer(&[b"bEARER  x "]), Ok(Some("x".into())));
        assert_eq!(bearer(&[]), Ok(None));
        assert_eq!(bearer(&[b"Basic YTpi"]), Ok(None));
        for malformed in [&b"Bearer"[..], b"Bearer a b", b"Bearer a\"b", b"Bearer \xff"] {
            assert_eq!(bearer(&[malformed]), Err(MalformedLogin), "{malformed:?}");
        }
        assert_eq!(bearer(&[b"Bearer x", b"Bearer x"]), Err(MalformedLogin));
    }

    #[test]
    fn nothing_shows_a_secret() {
        let parts = parts(&[b"Basic YWxpY2U6c2VjcmV0"]);
        let request = AuthRequest::new(&parts);
        let login = request.basic().unwrap().unwrap();
        let shown = format!("{request:?} {login:?}");
        assert!(shown.contains("alice"), "{shown}");
        assert!(
            !shown.contains("secret") && !shown.contains("YWxpY2U6"),
            "{shown}"
        );
    }
}
