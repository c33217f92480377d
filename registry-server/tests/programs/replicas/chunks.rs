//! A client that pushes large blobs in chunks, each at another replica, and goes on with the session after failures.

use std::{
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
};

use super::shared::send;
use crate::{
    http::Response,
    image::{noise, sha256},
    server::{OCTETS, closing},
    soak::{
        Numbers,
        worker::{Operation, Progress},
    },
};

/// Length of a blob: more than a part of a multipart upload.
const LENGTH: usize = (5 << 20) + (1 << 18);
/// Length of a chunk.
const CHUNK: usize = 3 << 19;
/// Number of requests after which a session is given up.
const TRIES: usize = 40;
/// Number of blobs of a round. The store keeps the space of those that were removed.
const BLOBS: usize = 8;

const REPOSITORY: &str = "/v2/soak/chunks";

pub(super) struct Uploader {
    /// Different in each round.
    pub(super) numbers: Numbers,
    /// Addresses of the replicas and of nginx.
    pub(super) addresses: Vec<SocketAddr>,
}

impl Uploader {
    /// Pushes some blobs, unless the round ends before.
    pub(super) fn work(&mut self, told: &Sender<Progress>, is_over: &AtomicBool) {
        for _ in 0..BLOBS {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            _ = told.send(match self.push() {
                Some(()) => Progress::Acknowledged(Operation::PushChunks),
                None => Progress::Unanswered,
            });
        }
    }

    /// Pushes a new blob, and pulls it. Returns `None` if nobody says that it was stored.
    fn push(&mut self) -> Option<()> {
        let bytes = noise(self.numbers.below(u64::MAX), LENGTH);
        let digest = sha256(&bytes).to_string();
        let opened = self.send("POST", &format!("{REPOSITORY}/blobs/uploads/"), &[], b"")?;
        let mut session = opened.expect_status(202).location();
        let mut offset = 0;
        let mut tries = 0..TRIES;
        while offset < LENGTH {
            tries.next()?;
            let end = LENGTH.min(offset + CHUNK);
            let range = format!("{offset}-{}", end - 1);
            let headers = [OCTETS, ("Content-Range", range.as_str())];
            match self.send("PATCH", &session, &headers, &bytes[offset..end]) {
                Some(answer) if answer.status == 202 => {
                    session = answer.location();
                    offset = end;
                }
                // An earlier chunk without an answer may have arrived meanwhile.
                Some(answer) if answer.status != 416 => {
                    panic!("PATCH {session} {range}: {}", answer.expect_status(202).status)
                }
                _ => offset = self.offset(&session, &mut tries)?,
            }
        }
        let closed = self.send("PUT", &closing(&session, &digest), &[OCTETS], b"")?;
        closed.expect_status(201);
        // No collection can have announced its removal so soon.
        let pulled = self.send("GET", &format!("{REPOSITORY}/blobs/{digest}"), &[], b"")?;
        assert!(pulled.expect_status(200).body == bytes, "{digest} is damaged");
        Some(())
    }

    /// Asks how many bytes a session has, until somebody answers.
    fn offset(&mut self, session: &str, tries: &mut impl Iterator) -> Option<usize> {
        loop {
            tries.next()?;
            let Some(answer) = self.send("GET", session, &[], b"") else {
                continue;
            };
            let answer = answer.expect_status(204);
            let range = answer.header("range").expect("a session has a range");
            let last = range.strip_prefix("0-").and_then(|last| last.parse().ok());
            let last: usize = last.expect("a range ends with a number");
            // An empty session has the same range as one byte. No chunk is so short.
            return Some(if last == 0 { 0 } else { last + 1 });
        }
    }

    fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Response> {
        let address = self.addresses[self.numbers.index(self.addresses.len())];
        send(address, method, target, headers, body)
    }
}
