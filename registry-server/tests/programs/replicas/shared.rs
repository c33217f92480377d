//! Clients that share tags: each request and its answer is recorded, and the histories are checked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use registry_core::Algorithm;

use super::{
    LATE,
    linear::{Call, Moment, explain, with_stale_answer},
};
use crate::{
    http::{self, MANIFEST_TYPES, Response},
    image::sha256,
    server::{OCTETS, closing},
    soak::{
        Numbers,
        model::{Document, Part},
        worker::{Operation, Progress},
    },
};

/// Number of clients.
pub(super) const CLIENTS: u64 = 3;
/// Number of tags that are moved at a time.
const TAGS: u64 = 3;
/// Number of targets that are pushed again and again, under any tag.
const OLD: u64 = 3;
/// Number of unanswered requests on a tag from which on a round only reads it, and moves another one. Each one doubles the work of
/// the check.
const UNANSWERED: usize = 2;

/// Time after which a client gives up.
const PATIENCE: Duration = Duration::from_secs(8);

/// Histories of all tags.
#[derive(Debug, Default)]
pub(super) struct Histories {
    tags: Mutex<BTreeMap<String, History>>,
    /// Number of targets so far.
    made: Mutex<u64>,
}

#[derive(Debug, Default)]
struct History {
    calls: BTreeMap<usize, Call>,
    moments: Vec<Moment>,
    /// Number of requests so far.
    count: usize,
    unanswered: Vec<usize>,
}

impl Histories {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, History>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, tag: &str) -> usize {
        let mut tags = self.lock();
        let history = tags.entry(tag.to_owned()).or_default();
        history.count += 1;
        history.moments.push(Moment::Begin(history.count));
        history.count
    }

    /// Notes the end of a request. `None` if it has had no effect, or told nothing.
    fn end(&self, tag: &str, number: usize, call: Option<Call>) {
        let mut tags = self.lock();
        let history = tags.entry(tag.to_owned()).or_default();
        match &call {
            None => history.moments.retain(|moment| *moment != Moment::Begin(number)),
            Some(Call::MayPut(_) | Call::MayDelete) => history.unanswered.push(number),
            Some(_) => history.moments.push(Moment::End(number)),
        }
        history.calls.extend(call.map(|call| (number, call)));
    }

    /// Returns the number of the tag in a row that is moved now. Those before it are only read.
    fn moved(&self, row: u64) -> u64 {
        let tags = self.lock();
        let is_only_read = |number: &u64| {
            tags.get(&tag(row, *number))
                .is_some_and(|history| history.unanswered.len() >= UNANSWERED)
        };
        (0..)
            .find(|number| !is_only_read(number))
            .expect("few requests are unanswered")
    }

    fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Notes that nothing sent so far takes effect any more.
    pub(super) fn settled(&self) {
        for history in self.lock().values_mut() {
            let unanswered = std::mem::take(&mut history.unanswered);
            history.moments.extend(unanswered.into_iter().map(Moment::End));
        }
    }

    /// Asserts that all answers have an explanation. Returns the number of requests.
    pub(super) fn check(&self) -> usize {
        let tags = self.lock();
        for (tag, history) in &*tags {
            if let Err(unexplained) = explain(&history.calls, &history.moments) {
                panic!("{tag}: {unexplained}");
            }
        }
        tags.values().map(|history| history.calls.len()).sum()
    }

    /// Asserts that a stale answer in a history would be found. Returns the number of histories in which one was put.
    pub(super) fn check_the_check(&self) -> usize {
        let tags = self.lock();
        let falsified = tags.iter().filter_map(|(tag, history)| {
            let calls = with_stale_answer(&history.calls, &history.moments)?;
            let explained = explain(&calls, &history.moments);
            assert!(explained.is_err(), "{tag}: a stale answer is not found");
            Some(())
        });
        falsified.count()
    }

    fn seed(&self) -> u64 {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made += 1;
        *made
    }
}

/// A client of the shared tags.
pub(super) struct Client<'a> {
    pub(super) histories: &'a Histories,
    pub(super) numbers: Numbers,
    /// Addresses of the replicas and of nginx.
    pub(super) addresses: Vec<SocketAddr>,
}

impl Client<'_> {
    /// Works until that is over.
    pub(super) fn work(&mut self, told: &Sender<Progress>, is_over: &AtomicBool) {
        let tell = |operation, is_answered| {
            _ = told.send(match is_answered {
                true => Progress::Acknowledged(operation),
                false => Progress::Unanswered,
            });
        };
        while !is_over.load(Ordering::SeqCst) {
            let row = self.numbers.below(TAGS);
            let moved = self.histories.moved(row);
            if self.numbers.below(2) == 0 {
                let read = tag(row, self.numbers.below(moved + 1));
                tell(Operation::ReadShared, self.read(&read));
                continue;
            }
            let moved = tag(row, moved);
            let (operation, mut is_answered) = match self.numbers.below(6) {
                0 => (Operation::DeleteShared, self.delete(&moved)),
                _ => (Operation::PutShared, self.put(&moved)),
            };
            tell(operation, is_answered);
            // While the store is away, nobody answers, and each move is one more that may have taken effect.
            while !is_answered && !is_over.load(Ordering::SeqCst) {
                is_answered = self.read(&moved);
                tell(Operation::ReadShared, is_answered);
            }
        }
    }

    /// Reads each tag at each replica.
    pub(super) fn read_all(&mut self) {
        for tag in self.histories.names() {
            for index in 0..self.addresses.len() {
                let number = self.histories.begin(&tag);
                let began = Instant::now();
                let seen = loop {
                    if let Some(seen) = seen(self.get(self.addresses[index], &tag)) {
                        break seen;
                    }
                    assert!(began.elapsed() < LATE, "nobody kills the replicas");
                };
                self.histories.end(&tag, number, Some(Call::Read(seen)));
            }
        }
    }

    fn address(&mut self) -> SocketAddr {
        self.addresses[self.numbers.index(self.addresses.len())]
    }

    fn read(&mut self, tag: &str) -> bool {
        let address = self.address();
        let number = self.histories.begin(tag);
        let answer = self.get(address, tag);
        let read = seen(answer).map(Call::Read);
        let answered = read.is_some();
        self.histories.end(tag, number, read);
        answered
    }

    fn get(&self, address: SocketAddr, tag: &str) -> Option<Response> {
        let accept = [("Accept", MANIFEST_TYPES)];
        send(address, "GET", &path(&format!("manifests/{tag}")), &accept, b"")
    }

    fn delete(&mut self, tag: &str) -> bool {
        let address = self.address();
        let number = self.histories.begin(tag);
        let answer = send(address, "DELETE", &path(&format!("manifests/{tag}")), &[], b"");
        let status = answer.map(|answer| answer.status);
        let call = match status {
            Some(202) => Call::Delete(true),
            Some(404) => Call::Delete(false),
            Some(other) => panic!("DELETE {tag}: {other}"),
            None => Call::MayDelete,
        };
        self.histories.end(tag, number, Some(call));
        status.is_some()
    }

    fn put(&mut self, tag: &str) -> bool {
        let seed = match self.numbers.below(3) {
            0 => self.numbers.below(OLD),
            _ => OLD + self.histories.seed(),
        };
        let part = Part {
            number: 1,
            algorithm: Algorithm::Sha256,
        };
        let document = Document::image(&format!("shared {seed}"), vec![part], None);
        let address = self.address();
        let headers = [("Content-Type", document.media_type)];
        let number = self.histories.begin(tag);
        let answer = send(
            address,
            "PUT",
            &path(&format!("manifests/{tag}")),
            &headers,
            &document.bytes,
        );
        let digest = document.digest();
        let call = match &answer {
            Some(answer) if answer.status == 201 => Some(Call::Put(digest)),
            Some(answer) => {
                let said = String::from_utf8_lossy(&answer.body);
                assert!(
                    said.contains("BLOB_UNKNOWN"),
                    "PUT {tag}: {} {said}",
                    answer.status
                );
                None
            }
            None => Some(Call::MayPut(digest)),
        };
        let is_refused = call.is_none();
        self.histories.end(tag, number, call);
        if is_refused {
            push_blob(address, part);
        }
        answer.is_some()
    }
}

/// Returns the target that an answer shows, or `None` if there is no answer.
#[expect(clippy::option_option, reason = "there may be no answer, and no tag")]
fn seen(answer: Option<Response>) -> Option<Option<String>> {
    let answer = answer?;
    match answer.status {
        200 => Some(Some(sha256(&answer.body).to_string())),
        404 => Some(None),
        other => panic!("a tag is read with {other}"),
    }
}

/// Sends a request. Returns `None` if nobody says what has become of it.
pub(super) fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Response> {
    http::try_request_within(PATIENCE, address, method, target, headers, body)
        .ok()
        .filter(|answer| answer.status < 500)
}

/// Returns the name of a tag in a row.
fn tag(row: u64, number: u64) -> String {
    format!("shared-{row}-{number}")
}

fn path(rest: &str) -> String {
    format!("/v2/soak/shared/{rest}")
}

/// Pushes the blob of all targets. The next request shows if it is there.
fn push_blob(address: SocketAddr, part: Part) {
    let Some(opened) = send(address, "POST", &path("blobs/uploads/"), &[], b"") else {
        return;
    };
    let session = opened.expect_status(202).location();
    let target = closing(&session, &part.digest());
    if let Some(closed) = send(address, "PUT", &target, &[OCTETS], &part.bytes()) {
        closed.expect_status(201);
    }
}
