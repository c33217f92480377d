//! HTTP/2 clients that violate what every library observes, as frames on the wire. RFC 9113, sections 4 and 6; RFC
//! 7541.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

use super::sent;

/// Number of requests that a hasty client cancels.
const RESETS: usize = 10_000;

/// Bytes with which a client begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Makes the preface, and settings that grant each answer so many bytes.
fn hello(window: u32) -> Vec<u8> {
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat()
}

/// Makes a `GET` of a path on the host `x`.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04];
    block.push(u8::try_from(path.len()).expect("a short path"));
    assert!(path.len() < 0x7f, "in one byte");
    block.extend(path.as_bytes());
    block.extend(b"\x01\x01x");
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

/// Opens a connection that sends the preface and nothing else.
pub(super) fn silent(address: SocketAddr) -> TcpStream {
    sent(address, &hello(1 << 16))
}

/// Cancels requests before they are answered, as fast as they can be written (CVE-2023-44487). The server ends the
/// connection with the reason: GOAWAY with `ENHANCE_YOUR_CALM`.
pub(super) fn takes_everything_back(address: SocketAddr) {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 0x0b];
    let mut stream = sent(address, &hello(1 << 16));
    let mut answers = stream.try_clone().expect("a connection can be shared");
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        _ = answers.read_to_end(&mut all);
        all
    });
    for request in 0..u32::try_from(RESETS).expect("some thousand") {
        let number = request * 2 + 1;
        let both = [get(number, "/v2/"), frame(RST_STREAM, 0, number, &CANCEL)].concat();
        if stream.write_all(&both).is_err() {
            break;
        }
    }
    let answers = reader.join().expect("reading does not panic");
    assert!(
        answers.windows(4).any(|window| window == ENHANCE_YOUR_CALM),
        "the server says why it ends the connection"
    );
}

/// Sends so many requests at once, and grants each answer one byte.
pub(super) fn miser(address: SocketAddr, path: &str, requests: u32) -> TcpStream {
    let mut bytes = hello(1);
    for request in 0..requests {
        bytes.extend(get(request * 2 + 1, path));
    }
    sent(address, &bytes)
}

/// Waits until so many requests have been answered, or refused; reads nothing more.
pub(super) fn begins_to_answer(stream: &mut TcpStream, requests: u32) {
    let mut begun = 0;
    while begun < requests {
        let (kind, ..) = received(stream);
        begun += u32::from(matches!(kind, HEADERS | RST_STREAM));
    }
}

/// Reads the next frame: kind, flags, stream and payload.
fn received(stream: &mut TcpStream) -> (u8, u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).expect("a frame comes");
    let [a, b, c, kind, flags, number @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).expect("a frame is whole");
    (kind, flags, u32::from_be_bytes(number), payload)
}

/// Gets a resource as any client does: with room for the answer, and again if the request was refused before it began.
/// Returns the number of bytes.
pub(super) fn gets(address: SocketAddr, path: &str) -> usize {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    const ROOM: u32 = 1 << 30;
    let mut stream = sent(address, &hello(ROOM));
    let more = frame(WINDOW_UPDATE, 0, 0, &ROOM.to_be_bytes());
    stream.write_all(&more).expect("the server reads what is little");
    let mut request = 1;
    loop {
        stream.write_all(&get(request, path)).expect("the server reads");
        if let Some(length) = answer(&mut stream, request, REFUSED_STREAM) {
            return length;
        }
        request += 2;
    }
}

/// Reads an answer's length; `None` if the request was refused before it began.
fn answer(stream: &mut TcpStream, request: u32, refused: [u8; 4]) -> Option<usize> {
    let mut length = 0;
    loop {
        let (kind, flags, number, payload) = received(stream);
        match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let echo: &[u8] = if kind == PING { &payload } else { &[] };
                stream
                    .write_all(&frame(kind, ACK, 0, echo))
                    .expect("the server reads");
            }
            DATA => length += payload.len(),
            RST_STREAM => {
                assert_eq!(payload, refused, "why a request is given up");
                return None;
            }
            GOAWAY => panic!("a client with manners is sent away: {payload:?}"),
            _ => {}
        }
        let ends = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
        if ends && number == request {
            return Some(length);
        }
    }
}
