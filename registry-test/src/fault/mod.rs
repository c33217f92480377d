//! Faults, and the requests that they happen to.
//!
//! A test adds them to a [`TestRegistry`](crate::TestRegistry), or to a [`Tap`](crate::tap::Tap) in front of another
//! registry. The first part selects requests, the second one is the fault:
//!
//! ```
//! use registry_test::{TestRegistry, fault::{PUT, on, status}};
//! # use std::{io::{Read as _, Write as _}, net::TcpStream};
//!
//! let registry = TestRegistry::start();
//! let busy = registry.fault(on(PUT).manifest().first(2), status(429).retry_after(1));
//!
//! // The program under test puts a manifest, and has to try it again.
//! # let put = || {
//! #     let mut stream = TcpStream::connect(registry.addr()).unwrap();
//! #     stream.write_all(b"PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\
//! #                        Content-Length: 0\r\n\r\n").unwrap();
//! #     let mut answer = String::new();
//! #     stream.read_to_string(&mut answer).unwrap();
//! #     assert!(answer.contains("429") && answer.contains("retry-after: 1"), "{answer}");
//! # };
//! # put();
//! # put();
//! assert_eq!(busy.fired(), 2);
//! ```
//!
//! | fault | the client |
//! |---|---|
//! | [`status`] | gets another answer, and the registry no request |
//! | [`cut`], [`lost_answer`], [`refuse`] | loses the connection: during the request, during the answer, after the registry has acted, before it has |
//! | [`stall`], [`slow`] | gets no more bytes on an open connection; gets them slowly |
//! | [`wrong_bytes`], [`wrong_length`] | gets content that is not what was announced |
//! | [`drop_header`], [`set_header`] | gets an answer without a header, or with another value |
//! | [`location`], [`redirect`] | is led to another URL |
//! | [`token`] | gets a token that is wrong, or none |
//!
//! [`preset`] has rules for headers that clients depend on.
//!
//! A fault of the answer waits for an answer that the client wants: one that happens a limited number of times does not
//! happen to a 401 of the registry, after which the client comes again with a token or a password. It does if it changes
//! `WWW-Authenticate`, or is for [`ping`](On::ping) or [`token`](On::token). The number of [`nth`](On::nth) counts all
//! requests.
//!
//! Faults act on HTTP/1 below TLS, and positions count bytes of bodies. A [`TestRegistry`](crate::TestRegistry) panics
//! when it is dropped if a fault has never happened, unless it is [`optional`](On::optional).

pub mod preset;

pub use crate::tap::{
    Fault, Gate, Handle, On, Rule, Side,
    fault::{
        Cut, Location, Redirect, Slow, Stall, Status, Token, cut, drop_header, location, lost_answer,
        redirect, refuse, set_header, slow, stall, status, token, wrong_bytes, wrong_length,
    },
    on::{on, on_any},
};

use http::Method;

/// The method `GET`.
pub const GET: Method = Method::GET;
/// The method `HEAD`.
pub const HEAD: Method = Method::HEAD;
/// The method `PUT`.
pub const PUT: Method = Method::PUT;
/// The method `POST`.
pub const POST: Method = Method::POST;
/// The method `PATCH`.
pub const PATCH: Method = Method::PATCH;
/// The method `DELETE`.
pub const DELETE: Method = Method::DELETE;
