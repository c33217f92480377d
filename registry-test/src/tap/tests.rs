//! The tap between a client and an upstream that are plain sockets, so that every byte can be compared.

use super::{
    Gate, Side, Tap,
    message::{Framing, Head, copy},
    patience::{SILENCE, lock},
};
use crate::{GET as ON_GET, PATCH, cut, drop_header, on, on_any, set_header, stall, wrong_length};
use http::{HeaderValue, header};
use registry_core::protocol::Request;
use socket2::{Domain, Socket, Type};
use std::{
    io::{BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Reads requests whole, passes on their bytes, and gives each the same answer. It ends with the test's process.
struct Upstream {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl Upstream {
    fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::channel();
        let answer = answer.into();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || serve(&stream.unwrap(), &seen, &answer));
            }
        });
        Self { address, requests }
    }

    /// Returns the next requests, sorted, since those of several connections arrive in any order.
    fn requests<const N: usize>(&self) -> [String; N] {
        let mut requests = [(); N].map(|()| self.requests.recv_timeout(SILENCE).unwrap());
        requests.sort();
        requests
    }
}

fn serve(mut stream: &TcpStream, seen: &mpsc::Sender<String>, answer: &[u8]) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(head)) = Head::read(&mut reader) {
        let mut request = Vec::new();
        head.write(&mut request).unwrap();
        let framing = Framing::of_request(&head.headers());
        let whole = copy(&mut reader, &mut request, framing, false, &mut Ok);
        // The test may have ended.
        let _ = seen.send(String::from_utf8(request).unwrap());
        if whole.is_err() || stream.write_all(answer).is_err() {
            return;
        }
    }
}

/// Sends bytes on a connection of their own, and returns everything received until the other side closes.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // A cut may cause an error of writing or of reading, or none.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

const ACCEPTED: &str =
    "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: /v2/a/blobs/uploads/u\r\n\r\n";
const FIVE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Odd:  as it is \r\n\r\nhello";
const GET: &str = "GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\n\r\n";

fn patch(body: &str) -> String {
    format!(
        "PATCH /v2/a/blobs/uploads/u HTTP/1.1\r\nHost: r\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_no_rule_names_passes_as_it_came_and_is_recorded() {
    let upstream = Upstream::answering(FIVE);
    let tap = Tap::start(upstream.address).unwrap();
    let chunked = "PUT /v2/a/blobs/uploads/u HTTP/1.1\r\nhOST: r\r\nAccept: one\r\nAccept: two, three\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n";

    let answers = ask(tap.address(), &format!("{chunked}{GET}"));

    assert_eq!(answers, FIVE.repeat(2));
    assert_eq!(upstream.requests(), [GET, chunked]);
    let [put, get] = &tap.take()[..] else {
        panic!("two requests on one connection");
    };
    let accept: Vec<_> = put.headers.get_all(header::ACCEPT).iter().collect();
    assert_eq!(accept, ["one", "two, three"]);
    assert_eq!(
        (put.method.as_str(), put.sent, put.status()),
        ("PUT", 13, Some(200))
    );
    assert_eq!((get.target.as_str(), get.sent), ("/v2/a/tags/list", 0));
    assert_eq!(get.connection, put.connection);
    let reply = get.reply.as_ref().unwrap();
    assert_eq!(
        (&reply.headers["x-odd"], reply.received),
        (&HeaderValue::from_static("as it is"), 5)
    );
    assert!(tap.exchanges().is_empty(), "what was taken is not given again");
}

#[test]
fn an_operation_is_recorded_as_what_it_asks_for() {
    let upstream = Upstream::answering("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    let tap = Tap::start(upstream.address).unwrap();
    let digest = registry_core::Digest::of(registry_core::Algorithm::Sha256, b"");
    let mount = format!(
        "POST http://r/v2/a/blobs/uploads/?mount={digest}&from=b/c HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\r\n"
    );

    ask(
        tap.address(),
        &format!("{mount}{}", GET.replace("/v2/", "/other/")),
    );

    let [mount, other] = &tap.take()[..] else {
        panic!("two requests");
    };
    assert!(mount.mounted() && !mount.uploads());
    assert!(
        matches!(&mount.operation, Some(Request::Mount { from: Some(from), .. }) if from.as_str() == "b/c")
    );
    assert_eq!(other.operation, None);
}

#[test]
fn a_request_is_cut_as_often_as_the_rule_says() {
    let upstream = Upstream::answering(ACCEPTED);
    let tap = Tap::start(upstream.address).unwrap();
    let rule = tap.fault(on(PATCH).first(2), cut(Side::Request).after(4));

    let short = ask(tap.address(), &patch("0123"));
    let answers = [0; 3].map(|_| ask(tap.address(), &patch("0123456789")));

    assert_eq!(
        short, ACCEPTED,
        "a body that is no longer passes, and does not count"
    );
    assert_eq!(answers.each_ref().map(String::as_str), ["", "", ACCEPTED]);
    let sent: Vec<_> = tap
        .exchanges()
        .iter()
        .map(|exchange| (exchange.sent, exchange.cut))
        .collect();
    let cut = Some(Side::Request);
    assert_eq!(sent, [(4, None), (4, cut), (4, cut), (10, None)]);
    assert_eq!(rule.fired(), 2);
    // All bytes before the cut have reached the registry.
    let arrived: [_; 4] = upstream.requests();
    let cut = patch("0123456789").replace("456789", "");
    assert_eq!(arrived, [cut.clone(), cut, patch("0123456789"), patch("0123")]);
}

#[test]
fn an_answer_is_cut_in_its_body_or_before_its_head() {
    for (after, seen) in [(2, FIVE.strip_suffix("llo").unwrap()), (0, "")] {
        let upstream = Upstream::answering(FIVE);
        let tap = Tap::start(upstream.address).unwrap();
        tap.fault(on_any(), cut(Side::Response).after(after));

        let answers = [0; 2].map(|_| ask(tap.address(), GET));

        assert_eq!(answers.each_ref().map(String::as_str), [seen, FIVE]);
        assert_eq!(upstream.requests(), [GET, GET], "the registry has acted");
        assert_eq!(tap.exchanges()[0].cut, Some(Side::Response));
    }
}

#[test]
fn a_request_that_is_cut_before_its_head_never_arrives() {
    let upstream = Upstream::answering(ACCEPTED);
    let tap = Tap::start(upstream.address).unwrap();
    tap.fault(on_any(), cut(Side::Request));

    let answers = [0; 2].map(|_| ask(tap.address(), &patch("0123")));

    assert_eq!(answers.each_ref().map(String::as_str), ["", ACCEPTED]);
    assert_eq!(upstream.requests(), [patch("0123")]);
}

#[test]
fn what_is_held_goes_on_when_the_gate_opens() {
    for (side, after) in [
        (Side::Request, 0),
        (Side::Request, 3),
        (Side::Response, 0),
        (Side::Response, 3),
    ] {
        let upstream = Upstream::answering(FIVE);
        let tap = Tap::start(upstream.address).unwrap();
        let gate = Gate::new();
        tap.fault(on_any(), stall(side).after(after).until(&gate));
        let address = tap.address();
        let client = thread::spawn(move || ask(address, &patch("01234")));

        assert!(gate.reached(1), "it comes to the gate");
        let [held] = &tap.exchanges()[..] else {
            panic!("one request");
        };
        let received = held.reply.as_ref().map(|reply| reply.received);
        match side {
            Side::Request => assert_eq!((held.sent, received), (after, None)),
            Side::Response => assert_eq!((held.sent, received), (5, (after > 0).then_some(after))),
        }
        gate.open();

        assert_eq!(client.join().unwrap(), FIVE);
    }
}

#[test]
fn headers_of_answers_are_removed_and_replaced() {
    let upstream = Upstream::answering(FIVE);
    let tap = Tap::start(upstream.address).unwrap();
    tap.fault(on(ON_GET).always(), drop_header("content-length"));
    tap.fault(on_any(), set_header("x-odd", "another"));

    let answers = ask(tap.address(), &GET.repeat(2));

    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(
        answers,
        format!(
            "HTTP/1.1 200 OK\r\nx-odd: another\r\ntransfer-encoding: chunked\r\n\r\n{chunks}\
             HTTP/1.1 200 OK\r\nX-Odd:  as it is \r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
        )
    );
}

#[test]
fn an_answer_whose_body_is_empty_ends_for_the_client_without_its_length_too() {
    let upstream = Upstream::answering(ACCEPTED);
    let tap = Tap::start(upstream.address).unwrap();
    tap.fault(on(PATCH).always(), drop_header("content-length"));

    let answers = ask(tap.address(), &patch("x").repeat(2));

    let chunked = "HTTP/1.1 202 Accepted\r\nLocation: /v2/a/blobs/uploads/u\r\ntransfer-encoding: chunked\r\n\r\n\
                   0\r\n\r\n";
    assert_eq!(answers, chunked.repeat(2));
}

#[test]
fn a_connection_ends_after_an_answer_with_a_wrong_length() {
    for fault in [wrong_length(3), set_header("content-length", "3")] {
        let upstream = Upstream::answering(ACCEPTED);
        let tap = Tap::start(upstream.address).unwrap();
        tap.fault(on(PATCH), fault);

        let answers = ask(tap.address(), &patch("x").repeat(2));

        let wrong = "HTTP/1.1 202 Accepted\r\nLocation: /v2/a/blobs/uploads/u\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(answers, wrong, "no further answer is taken for the missing bytes");
    }
}

#[test]
fn a_length_that_stays_the_same_is_not_wrong() {
    let upstream = Upstream::answering(ACCEPTED);
    let tap = Tap::start(upstream.address).unwrap();
    let shorter = tap.fault(on(PATCH).optional(), wrong_length(-3));

    assert_eq!(ask(tap.address(), &patch("x")), ACCEPTED);
    assert_eq!(shorter.fired(), 0);
}

#[test]
fn answers_without_a_body_do_not_end_the_connection() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let upstream = Upstream::answering(head);
    let tap = Tap::start(upstream.address).unwrap();

    let answers = ask(tap.address(), &GET.replace("GET", "HEAD").repeat(3));

    assert_eq!(answers, head.repeat(3));
    assert_eq!(tap.exchanges().len(), 3);
}

#[test]
fn an_answer_that_ends_with_the_connection_is_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(listener.local_addr().unwrap()).unwrap();
    let registry = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        Head::read(&mut BufReader::new(&stream)).unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil I close").unwrap();
    });

    assert_eq!(ask(tap.address(), GET), "HTTP/1.0 200 OK\r\n\r\nuntil I close");
    registry.join().unwrap();
}

#[test]
fn an_answer_that_announces_the_end_is_followed_by_it() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}";
    let upstream = Upstream::answering(answer);
    let tap = Tap::start(upstream.address).unwrap();
    // The client closes nothing before it has seen the end.
    let mut stream = TcpStream::connect(tap.address()).unwrap();
    stream.set_read_timeout(Some(SILENCE / 2)).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();

    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();

    assert_eq!(received, answer);
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(listener.local_addr().unwrap()).unwrap();
    let registry = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        Head::read(&mut BufReader::new(&stream)).unwrap();
        stream.write_all(refusal.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Like most registries, it continues to read for a while.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });

    // The client reads only after it has sent everything.
    assert_eq!(ask(tap.address(), &patch(&"x".repeat(4 << 20))), refusal);
    registry.join().unwrap();
}

#[test]
fn a_connection_ends_after_an_early_answer_if_the_registry_has_closed_it() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(listener.local_addr().unwrap()).unwrap();
    let (close, closes) = mpsc::channel();
    let registry = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        Head::read(&mut BufReader::new(&stream)).unwrap();
        stream.write_all(refusal.as_bytes()).unwrap();
        closes.recv().unwrap();
    });
    let mut client = TcpStream::connect(tap.address()).unwrap();
    client.set_read_timeout(Some(SILENCE / 2)).unwrap();
    let request = patch(&"x".repeat(4 << 20));
    let (begin, rest) = request.split_at(1000);
    client.write_all(begin.as_bytes()).unwrap();
    let mut answer = vec![0; refusal.len()];
    client.read_exact(&mut answer).unwrap();
    close.send(()).unwrap();
    registry.join().unwrap();

    client.write_all(format!("{rest}{GET}").as_bytes()).unwrap();

    assert_eq!(answer, refusal.as_bytes());
    assert_eq!(client.read_to_end(&mut answer).unwrap(), 0);
}

#[test]
fn another_protocol_passes_unrecorded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(listener.local_addr().unwrap()).unwrap();
    let registry = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 6];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
        greeting
    });

    let answer = ask(tap.address(), "\u{16}\u{3}\u{1}\0\u{1}\0");

    assert_eq!(answer, "HTTP/1.0 400 Bad Request\r\n\r\n");
    assert_eq!(registry.join().unwrap(), *b"\x16\x03\x01\0\x01\0");
    assert!(tap.exchanges().is_empty());
}

#[test]
fn a_registry_that_is_out_of_reach_does_not_delay_the_end_of_the_tap() {
    // A full queue of connections: the next one gets no answer.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    full.bind(&loopback.into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let moment = Duration::from_millis(200);
    let queued = (0..).map_while(|_| TcpStream::connect_timeout(&address, moment).ok());
    let queued: Vec<_> = queued.collect();
    assert!(!queued.is_empty());
    let tap = Tap::start(address).unwrap();
    let mut client = TcpStream::connect(tap.address()).unwrap();
    let begun = Instant::now();
    while lock(&tap.shared.connections).is_empty() {
        assert!(
            begun.elapsed() < SILENCE / 2,
            "its thread waits, not that of the port"
        );
        thread::yield_now();
    }

    drop(tap);

    assert!(begun.elapsed() < SILENCE / 2, "it did not wait for the network");
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_client_that_comes_back_while_the_registry_restarts_is_not_cut_again() {
    let upstream = Upstream::answering(FIVE);
    let tap = Tap::start(upstream.address).unwrap();
    let exchange = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(SILENCE / 2)).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
        let mut answer = vec![0; FIVE.len()];
        stream.read_exact(&mut answer).map(|()| stream)
    };
    let connect = || exchange(TcpStream::connect(tap.address()).unwrap()).unwrap();
    let before = connect();

    let after = tap.disconnect_by(connect);

    assert!(exchange(before).is_err());
    assert!(exchange(after).is_ok());
}

#[test]
fn a_condition_may_disconnect_the_tap_and_own_it() {
    let upstream = Upstream::answering(FIVE);
    let tap = Arc::new(Tap::start(upstream.address).unwrap());
    let (address, weak) = (tap.address(), Arc::downgrade(&tap));
    let (reached, is_reached) = mpsc::channel();
    let (goes_on, go_on) = mpsc::sync_channel::<()>(0);
    let go_on = Mutex::new(go_on);
    tap.fault(
        on_any().when(move |_| {
            let tap = weak.upgrade().unwrap();
            tap.disconnect();
            reached.send(()).unwrap();
            // The test drops the tap meanwhile.
            go_on.lock().unwrap().recv_timeout(SILENCE).is_ok()
        }),
        set_header("x-odd", "another"),
    );
    let client = thread::spawn(move || ask(address, GET));
    is_reached.recv_timeout(SILENCE).unwrap();

    drop(tap);
    goes_on.send(()).unwrap();

    assert_eq!(client.join().unwrap(), "");
    // The last owner frees the port.
    let begun = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(begun.elapsed() < SILENCE, "the drop has not ended");
        thread::yield_now();
    }
}
