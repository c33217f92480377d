//! Properties of messages from hostile clients and registries.

use super::{Flow, Framing, Head, copy};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use proptest::prelude::*;
use std::{borrow::Cow, io};

/// Lets pieces of a few bytes pass, and keeps the body.
#[derive(Default)]
struct Steps {
    most: usize,
    body: Vec<u8>,
}

impl Flow for Steps {
    fn allow(&mut self, most: usize) -> io::Result<usize> {
        Ok(most.min(self.most))
    }

    fn change<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        self.body.extend_from_slice(piece);
        Cow::Borrowed(piece)
    }
}

/// Passes bytes on; returns what has arrived, the body, and the bytes that follow it.
fn passed(mut bytes: &[u8], framing: Framing, most: usize) -> (Vec<u8>, Vec<u8>, usize) {
    let mut to = Vec::new();
    let mut steps = Steps {
        most,
        ..Steps::default()
    };
    let _ = copy(&mut bytes, &mut to, framing, false, &mut steps);
    (to, steps.body, bytes.len())
}

/// Pieces of heads and of chunks, so that most inputs reach far.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "GET ",
        "/v2/ ",
        "HTTP/1.1",
        "HTTP/1.0",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "Content-Length: ",
        "3",
        "ffffffffffffffff",
        "18446744073709551615",
        "Transfer-Encoding: ",
        "chunked",
        ";x=y",
        "0",
        ":",
        " ",
        "Connection: close",
        "200 OK",
        "abc",
    ]);
    let word = prop_oneof![
        4 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_head_is_read_or_refused_and_passes_as_it_came(bytes in hostile()) {
        let mut rest = &bytes[..];
        if let Ok(Some(mut head)) = Head::read(&mut rest) {
            let mut written = Vec::new();
            head.write(&mut written).unwrap();
            let came = &bytes[..bytes.len() - rest.len()];
            let lines = came.trim_ascii_end();
            prop_assert!(written.starts_with(lines) && written.ends_with(b"\r\n"));
            let (request, status) = (head.request().is_some(), head.status());
            let framing = Framing::of_response(&Method::GET, status.unwrap_or(StatusCode::OK), &head.headers());
            passed(rest, framing, 5);
            passed(rest, Framing::of_request(&head.headers()), 5);
            if request {
                head.set_target("/v2/other");
                prop_assert_eq!(head.request().unwrap().1, "/v2/other");
            }
            head.set(&header::LOCATION, &HeaderValue::from_static("/there"));
            prop_assert_eq!(head.headers().get_all(header::LOCATION).iter().count(), 1);
            let _ = head.is_last();
        }
    }

    #[test]
    fn any_body_passes_as_it_came_up_to_its_end(bytes in hostile(), length in 0..60_u64, most in 1..9_usize) {
        for framing in [Framing::Chunked, Framing::Length(length), Framing::UntilClose] {
            let (to, _, left) = passed(&bytes, framing, most);
            prop_assert!(bytes.starts_with(&to));
            // Chunks may end before something that is no chunk, whose line was read.
            prop_assert!(framing == Framing::Chunked || to.len() + left == bytes.len());
        }
    }

    #[test]
    fn positions_count_the_bytes_of_a_body_and_not_its_chunks(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..6),
        most in 1..60_usize,
    ) {
        let mut framed = Vec::new();
        for chunk in &chunks {
            framed.extend(format!("{:x};name=value\r\n", chunk.len()).into_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\nTrailer: t\r\n\r\n");
        let whole = [&framed[..], b"GET /next"].concat();

        let (to, body, left) = passed(&whole, Framing::Chunked, most);

        prop_assert_eq!(body, chunks.concat());
        prop_assert_eq!(to, framed);
        prop_assert_eq!(left, b"GET /next".len());
    }
}

#[test]
fn a_head_has_no_more_lines_than_a_map_of_headers_has_room_for() {
    let head = |lines: usize| {
        let fields: String = (0..lines).map(|one| format!("x{one}: y\r\n")).collect();
        Head::read(&mut format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes())
    };

    assert_eq!(head(4096).unwrap().unwrap().headers().len(), 4096);
    assert!(head(4097).is_err());
}

#[test]
fn a_connection_ends_after_a_message_that_says_so() {
    for (head, last) in [
        ("GET / HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nConnection: Upgrade, CLOSE\r\n\r\n", true),
        ("GET / HTTP/1.0\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false),
    ] {
        let head = Head::read(&mut head.as_bytes()).unwrap().unwrap();
        assert_eq!(head.is_last(), last);
    }
    assert!(!super::closes(&HeaderMap::new()));
}
