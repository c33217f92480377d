//! Credentials of a request: `Authorization: Basic`, RFC 7617.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};
use std::fmt;
use zeroize::Zeroizing;

/// The longest name and password together, in bytes. Hashing a password takes time that grows with its length.
const LONGEST: usize = 1024;

/// Base 64 with optional padding, which some clients omit.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password, the latter cleared from memory on drop.
pub(crate) struct Credentials {
    decoded: Zeroizing<Vec<u8>>,
    colon: usize,
}

/// Error for an `Authorization` header that holds no valid Basic credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Credentials {
    /// Returns the credentials of a request. Another scheme gives `None`: another authenticator may accept it.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Malformed);
        }
        let value = value.as_bytes().trim_ascii();
        let end = value.iter().position(|&byte| byte == b' ').unwrap_or(value.len());
        let (scheme, encoded) = value.split_at(end);
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Ok(None);
        }
        Self::decoded(encoded.trim_ascii()).map(Some).ok_or(Malformed)
    }

    fn decoded(encoded: &[u8]) -> Option<Self> {
        if encoded.len() > LONGEST.div_ceil(3) * 4 {
            return None;
        }
        let decoded = Zeroizing::new(BASE64.decode(encoded).ok()?);
        let colon = decoded.iter().position(|&byte| byte == b':')?;
        // A C program would end a password at the NUL, and bcrypt repeats what comes before it.
        let plausible = decoded.len() <= LONGEST && !decoded.contains(&0);
        let user = decoded.get(..colon)?;
        (plausible && str::from_utf8(user).is_ok()).then_some(Self { decoded, colon })
    }

    pub(crate) fn user(&self) -> &str {
        let user = self.decoded.get(..self.colon).unwrap_or_default();
        str::from_utf8(user).unwrap_or_default()
    }

    /// Returns everything after the first colon.
    pub(crate) fn password(&self) -> &[u8] {
        self.decoded.get(self.colon + 1..).unwrap_or_default()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", self.user())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(values: &[&[u8]]) -> Result<Option<(String, Vec<u8>)>, Malformed> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        let credentials = Credentials::of(&headers)?;
        Ok(credentials.map(|c| (c.user().to_owned(), c.password().to_owned())))
    }

    fn basic(decoded: &[u8]) -> Result<Option<(String, Vec<u8>)>, Malformed> {
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
        assert_eq!(of(&[b"Basic"]), Err(Malformed));
        assert_eq!(of(&[b"Basic !"]), Err(Malformed));
        assert_eq!(of(&[b"Basic YTpi", b"Basic YTpi"]), Err(Malformed));
        assert_eq!(basic(b"no colon"), Err(Malformed));
        assert_eq!(basic(b"a\xff:b"), Err(Malformed));
        assert_eq!(basic(b"a:b\0c"), Err(Malformed));
        assert_eq!(
            basic(format!("a:{}", "x".repeat(LONGEST)).as_bytes()),
            Err(Malformed)
        );
        assert!(basic(format!("a:{}", "x".repeat(LONGEST - 2)).as_bytes()).is_ok());
    }
}
