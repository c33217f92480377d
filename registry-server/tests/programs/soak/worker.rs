//! A worker: a client of repositories of its own, with a model of what was acknowledged.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Instant,
};

use serde_json::Value;

use super::{
    Killed, Numbers, Place, WORKERS,
    acting::Acting,
    model::{Document, Model, Part, State},
};
use crate::{
    http::{self, MANIFEST_TYPES, Response},
    image::sha256,
    server::{OCTETS, closing},
};

/// Number of repositories of a worker.
const REPOSITORIES: usize = 2;
/// Number of manifests from which on more are deleted than pushed.
const MANY: usize = 40;
/// Statuses of a registry or balancer that has waited for the store, or whose registries all have.
const TEMPORARY: [u16; 3] = [502, 503, 504];
/// Errors of a client that has waited for as long as it does.
const TOO_SLOW: [ErrorKind; 2] = [ErrorKind::WouldBlock, ErrorKind::TimedOut];

/// News of a worker.
pub(crate) enum Progress {
    /// Everything acknowledged is there.
    Checked,
    /// The server has answered an operation.
    Acknowledged(Operation),
    /// The server may have performed an operation, or may perform it later.
    Unanswered,
}

/// Operation of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    PushImage,
    MountImage,
    PushBuild,
    PushIndex,
    PushReferrer,
    MoveTag,
    DeleteTag,
    DeleteManifest,
    DeleteBlob,
    Restore,
    /// A restore of what is no longer there, or whose tag is taken.
    RefusedRestore,
    Pull,
    /// A push to a tag that others push as well.
    PutShared,
    ReadShared,
    DeleteShared,
    /// A push of a large blob in chunks, by a client of several replicas.
    PushChunks,
}

pub(crate) struct Worker {
    number: u64,
    place: Place,
    numbers: Numbers,
    models: Vec<Model>,
    /// Number of documents that it has made.
    made: u64,
}

/// A connection of a worker to one server process.
pub(crate) struct Session<'a> {
    pub(crate) place: &'a Place,
    address: SocketAddr,
    /// Name of the repository.
    pub(crate) name: String,
}

impl Session<'_> {
    /// Sends a request. One that only reads is sent again for some time, as clients do, if the store is too slow for the
    /// registry, for the balancer, or for this client.
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Killed> {
        let began = Instant::now();
        let mut first: Option<String> = None;
        loop {
            let said = match http::try_request(self.address, method, target, headers, body) {
                Ok(response) if response.status < 500 => {
                    if let Some(first) = first {
                        self.place.note_late(target, &first, began);
                    }
                    return Ok(response);
                }
                _ if self.place.is_killed() => return Err(Killed),
                Ok(response) => {
                    let said = String::from_utf8_lossy(&response.body);
                    let said = format!("{} {said}", response.status);
                    if method != "GET" || !TEMPORARY.contains(&response.status) {
                        panic!("{method} {target}: {said}");
                    }
                    said
                }
                Err(error) if method == "GET" && TOO_SLOW.contains(&error.kind()) => error.to_string(),
                Err(error) => panic!("{method} {target}: {error}"),
            };
            let lasted = began.elapsed();
            assert!(
                lasted < self.place.patience,
                "{method} {target}: {said}, for {lasted:?}"
            );
            first.get_or_insert(said);
        }
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    pub(crate) fn manifest(&self, reference: &str) -> Result<Response, Killed> {
        let target = self.path(&format!("manifests/{reference}"));
        self.request("GET", &target, &[("Accept", MANIFEST_TYPES)], b"")
    }

    /// Asserts that a blob is there, byte for byte.
    pub(crate) fn check_blob(&self, part: Part) -> Result<(), Killed> {
        let target = self.path(&format!("blobs/{}", part.digest()));
        let answer = self.request("GET", &target, &[], b"")?;
        assert!(
            answer.status == 200 && answer.body == part.bytes(),
            "{target} is lost: {}",
            answer.status
        );
        Ok(())
    }

    /// Pushes a blob unless the server says that it is there.
    pub(crate) fn ensure_blob(&self, part: Part, numbers: &mut Numbers) -> Result<(), Killed> {
        let (bytes, digest) = (part.bytes(), part.digest());
        let head = self.request("HEAD", &self.path(&format!("blobs/{digest}")), &[], b"")?;
        if head.status == 200 {
            return Ok(());
        }
        assert_eq!(head.status, 404, "{digest}");
        let mut target = self.path("blobs/uploads/");
        if numbers.below(3) == 0 {
            let from = repository(numbers.below(WORKERS), numbers.index(REPOSITORIES));
            target.push_str(&format!("?mount={digest}&from={from}"));
        }
        let opened = self.request("POST", &target, &[], b"")?;
        if opened.status == 201 {
            return Ok(());
        }
        let mut session = opened.expect_status(202).location();
        let mut rest = &bytes[..];
        if numbers.below(3) == 0 {
            let (first, second) = bytes.split_at(bytes.len() / 2);
            let chunk = self.request("PATCH", &session, &[OCTETS], first)?;
            session = chunk.expect_status(202).location();
            rest = second;
        }
        let closed = self.request("PUT", &closing(&session, &digest), &[OCTETS], rest)?;
        closed.expect_status(201);
        Ok(())
    }
}

fn repository(worker: u64, number: usize) -> String {
    format!("soak/worker-{worker}/{number}")
}

impl Worker {
    pub(crate) fn new(number: u64, place: Place) -> Self {
        Self {
            number,
            place,
            numbers: Numbers(number + 100),
            models: vec![Model::default(); REPOSITORIES],
            made: 0,
        }
    }

    /// Checks everything, and then works until the server is killed. Meanwhile, collections may remove what has no tag.
    pub(crate) fn work(&mut self, address: SocketAddr, told: &Sender<Progress>, untagged: bool) -> Killed {
        if let Err(killed) = self.check(address) {
            return killed;
        }
        for model in &mut self.models {
            model.loses_untagged = untagged;
            model.give_up_untagged();
        }
        // If nobody listens, the soak has failed elsewhere and kills the server.
        _ = told.send(Progress::Checked);
        loop {
            let number = self.numbers.index(REPOSITORIES);
            let acted = self.act(number, address);
            self.models[number].give_up_untagged();
            match acted {
                Ok(operation) => _ = told.send(Progress::Acknowledged(operation)),
                Err(killed) => return killed,
            }
        }
    }

    /// Works until that is over, while any operation may remain unanswered, and be performed later.
    pub(crate) fn work_on(
        &mut self,
        address: SocketAddr,
        told: &Sender<Progress>,
        untagged: bool,
        is_over: &AtomicBool,
    ) {
        for model in &mut self.models {
            model.loses_untagged = untagged;
            model.may_return = untagged;
            model.give_up_untagged();
        }
        while !is_over.load(Ordering::SeqCst) {
            let number = self.numbers.index(REPOSITORIES);
            let acted = match self.act(number, address) {
                Ok(operation) => Progress::Acknowledged(operation),
                Err(Killed) => {
                    self.models[number].unanswered();
                    Progress::Unanswered
                }
            };
            self.models[number].give_up_untagged();
            _ = told.send(acted);
        }
    }

    /// Performs one operation. It is another one than was chosen if there is nothing for that.
    fn act(&mut self, number: usize, address: SocketAddr) -> Result<Operation, Killed> {
        let place = self.place.clone();
        let session = Session {
            place: &place,
            address,
            name: repository(self.number, number),
        };
        let other = (number + 1) % REPOSITORIES;
        let images = self.models[other].there(|document| !document.blobs.is_empty());
        let image = images
            .first()
            .map(|digest| self.models[other].document(digest).clone());
        let mut acting = Acting {
            session: &session,
            model: &mut self.models[number],
            numbers: &mut self.numbers,
            made: &mut self.made,
            worker: self.number,
            deletes_blobs: number == 0,
        };
        acting.model.begin();
        let is_full = acting.model.documents.len() > MANY;
        match acting.numbers.below(if is_full { 200 } else { 100 }) {
            0..15 => acting.push_image(),
            15..18 => acting.mount_image(image, &repository(self.number, other)),
            18..20 => acting.delete_blob(),
            20..30 => acting.push_build(),
            30..40 => acting.push_index(),
            40..50 => acting.push_referrer(),
            50..60 => acting.move_tag(),
            60..68 => acting.delete_tag(),
            68..72 => acting.restore(),
            72..88 => acting.pull(),
            _ => acting.delete_manifest(),
        }
    }

    /// Asserts that everything acknowledged is there, and settles what was unknown.
    pub(crate) fn check(&mut self, address: SocketAddr) -> Result<(), Killed> {
        for (number, model) in self.models.iter_mut().enumerate() {
            let session = Session {
                place: &self.place,
                address,
                name: repository(self.number, number),
            };
            check(&session, model)?;
        }
        Ok(())
    }

    /// Lists referrers in each repository.
    pub(crate) fn list_referrers(&self, address: SocketAddr) {
        for number in 0..self.models.len() {
            let session = Session {
                place: &self.place,
                address,
                name: repository(self.number, number),
            };
            let target = session.path(&format!("referrers/{}", sha256(b"")));
            let answer = session.request("GET", &target, &[], b"");
            answer.expect("nobody kills it").expect_status(200);
        }
    }

    /// Asserts that everything with a tag is there.
    pub(crate) fn check_tags(&mut self, address: SocketAddr) -> Result<(), Killed> {
        for (number, model) in self.models.iter().enumerate() {
            let session = Session {
                place: &self.place,
                address,
                name: repository(self.number, number),
            };
            for (tag, targets) in &model.tags {
                if let Some(Some(digest)) = targets.first() {
                    let found = session.manifest(tag)?.expect_status(200);
                    assert_eq!(sha256(&found.body).to_string(), *digest, "{tag}");
                    for digest in model.closure(digest) {
                        check_whole(&session, model.document(&digest))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Asserts that a manifest is there with its blobs.
pub(crate) fn check_whole(session: &Session<'_>, document: &Document) -> Result<(), Killed> {
    let digest = document.digest();
    let found = session.manifest(&digest)?;
    assert!(
        found.status == 200 && found.body == document.bytes,
        "{}@{digest} is lost: {}",
        session.name,
        found.status
    );
    for part in &document.blobs {
        session.check_blob(*part)?;
    }
    Ok(())
}

fn check(session: &Session<'_>, model: &mut Model) -> Result<(), Killed> {
    let name = &session.name;
    for digest in model.documents.keys().cloned().collect::<Vec<_>>() {
        // A manifest that has been gone for long is forgotten meanwhile.
        let Some((document, state)) = model.documents.get(&digest) else {
            continue;
        };
        let found = session.manifest(&digest)?;
        match (state, found.status) {
            (State::There | State::Unknown, 200) => check_whole(session, document)?,
            (State::Gone | State::Unknown, 404) => {}
            _ => panic!("{name}@{digest} is {state:?}: {}", found.status),
        }
        if !document.is_build {
            match found.status {
                200 => model.found(&digest),
                _ => model.missed(&digest),
            }
        }
    }
    for (tag, targets) in &mut model.tags {
        let found = session.manifest(tag)?;
        let target = match found.status {
            200 => Some(sha256(&found.body).to_string()),
            404 => None,
            other => panic!("{name}:{tag}: {other}"),
        };
        assert!(
            targets.contains(&target),
            "{name}:{tag} points at {target:?}, not at {targets:?}"
        );
        *targets = [target].into();
    }
    model.settled();
    for (tag, digest) in model.kept_builds() {
        let found = session.manifest(tag)?;
        assert!(
            found.status == 200 && sha256(&found.body).to_string() == digest,
            "{name}:{tag} is lost: {}",
            found.status
        );
        check_whole(session, model.document(digest))?;
    }
    model.forget_old_builds();
    for subject in model.there(|_| true) {
        check_referrers(session, model, &subject)?;
    }
    Ok(())
}

fn check_referrers(session: &Session<'_>, model: &Model, subject: &str) -> Result<(), Killed> {
    let answer = session.request("GET", &session.path(&format!("referrers/{subject}")), &[], b"")?;
    let index: Value = serde_json::from_slice(&answer.expect_status(200).body).expect("an index");
    let listed = index["manifests"].as_array().expect("a list");
    let listed: BTreeSet<&str> = listed
        .iter()
        .map(|manifest| manifest["digest"].as_str().expect("a digest"))
        .collect();
    let expected = model.there(|document| document.subject.as_deref() == Some(subject));
    let expected: BTreeSet<&str> = expected.iter().map(|digest| &**digest).collect();
    let listed: BTreeSet<&str> = listed
        .into_iter()
        .filter(|digest| !model.is_unknown(digest))
        .collect();
    assert_eq!(listed, expected, "the referrers of {}@{subject}", session.name);
    Ok(())
}
