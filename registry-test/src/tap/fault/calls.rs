//! The calls that make faults without settings of their own.

use super::{
    Fault,
    headers::{Location, Redirect, header_name, header_value},
    token::Token,
};

/// Loses the answer: the registry has acted, and the client reads the end of the stream.
#[must_use]
pub const fn lost_answer() -> Fault {
    Fault::LostAnswer
}

/// Resets the connection on which a request arrives, before the registry gets any of it.
///
/// For connections that are refused, see [`TestRegistry::stop`](crate::TestRegistry::stop).
#[must_use]
pub const fn refuse() -> Fault {
    Fault::Refuse
}

/// Changes the first byte of the answer's body. The length stays right, and the digest is wrong.
#[must_use]
pub const fn wrong_bytes() -> Fault {
    Fault::WrongBytes
}

/// Adds a number to the `Content-Length` of the answer. The body stays as it is, and the connection ends after it. To
/// `HEAD`, there is no body, and the connection goes on.
#[must_use]
pub const fn wrong_length(by: i64) -> Fault {
    Fault::WrongLength(by)
}

/// Removes every line of this header from the answer. A body without its `Content-Length` is sent in chunks.
///
/// # Panics
///
/// If it is not the name of a header.
#[must_use]
#[track_caller]
pub fn drop_header(name: &str) -> Fault {
    Fault::RemoveHeader(header_name(name))
}

/// Replaces all lines of this header in the answer by this one.
///
/// # Panics
///
/// If the name or the value is not one of a header.
#[must_use]
#[track_caller]
pub fn set_header(name: &str, value: &str) -> Fault {
    Fault::SetHeader(header_name(name), header_value(value))
}

/// Changes the form of the header `Location`, which leads to an upload session or to something new.
///
/// A client has to follow all of them.
#[must_use]
pub const fn location(form: Location) -> Fault {
    Fault::Location(form)
}

/// Redirects a client (307) where the registry serves content: `GET` and `HEAD` with a status of 2xx.
#[must_use]
pub const fn redirect(to: Redirect) -> Fault {
    Fault::Redirect(to)
}

/// Disturbs the login by tokens.
///
/// `NoExpiresIn`, `AccessTokenOnly` and `Fails` happen to requests of the token endpoint alone, the others to requests
/// of the registry.
///
/// ```
/// use registry_test::fault::{PATCH, Token, on, token};
///
/// // The token expires in the middle of a push.
/// let rule = (on(PATCH).upload().nth(2), token(Token::Expire));
/// ```
///
/// # Panics
///
/// If `Fails` has a status that is not one of a failure: 400 to 599.
#[must_use]
#[track_caller]
pub const fn token(token: Token) -> Fault {
    if let Token::Fails(status) = token {
        assert!(
            status >= 400 && status <= 599,
            "the token endpoint fails with a status of 400 to 599, such as 503"
        );
    }
    Fault::Token(token)
}
