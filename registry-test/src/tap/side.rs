//! [`Side`].

/// One half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request of the client.
    Request,
    /// The answer of the registry.
    Response,
}
