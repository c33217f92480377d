//! A worker: a client of repositories of its own, with a model of what was acknowledged.

use std::{collections::BTreeSet, net::SocketAddr, sync::mpsc::Sender};

use registry_core::Algorithm;
use serde_json::Value;

use super::{
    Killed, Numbers, Place, WORKERS,
    model::{BLOBS, DELETABLE, Document, Model, Part, State},
};
use crate::{
    http::{self, MANIFEST_TYPES, Response},
    image::sha256,
    program::output_of,
    server::{OCTETS, closing},
};

/// Number of repositories of a worker.
const REPOSITORIES: usize = 2;
/// Number of tags of a repository, without builds.
const TAGS: u64 = 8;
/// Number of manifests from which on more are deleted than pushed.
const MANY: usize = 40;
/// Number of pushes of an image until a collection that began before no longer refuses it.
const TRIES: usize = 10;

/// News of a worker.
pub(super) enum Progress {
    /// Everything acknowledged is there.
    Checked,
    /// The server has answered an operation.
    Acknowledged,
    Restored,
}

pub(super) struct Worker {
    number: u64,
    place: Place,
    numbers: Numbers,
    models: Vec<Model>,
    /// Number of documents that it has made.
    made: u64,
}

/// A connection of a worker to one server process.
struct Session<'a> {
    place: &'a Place,
    address: SocketAddr,
    /// Name of the repository.
    name: String,
}

impl Session<'_> {
    fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Killed> {
        match http::try_request(self.address, method, target, headers, body) {
            Ok(response) if response.status < 500 => Ok(response),
            _ if self.place.is_killed() => Err(Killed),
            Ok(response) => panic!(
                "{method} {target}: {} {}",
                response.status,
                String::from_utf8_lossy(&response.body)
            ),
            Err(error) => panic!("{method} {target}: {error}"),
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    fn manifest(&self, reference: &str) -> Result<Response, Killed> {
        let target = self.path(&format!("manifests/{reference}"));
        self.request("GET", &target, &[("Accept", MANIFEST_TYPES)], b"")
    }

    /// Asserts that a blob is there, byte for byte.
    fn check_blob(&self, part: Part) -> Result<(), Killed> {
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
    fn ensure_blob(&self, part: Part, numbers: &mut Numbers) -> Result<(), Killed> {
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
    pub(super) fn new(number: u64, place: Place) -> Self {
        Self {
            number,
            place,
            numbers: Numbers(number + 100),
            models: vec![Model::default(); REPOSITORIES],
            made: 0,
        }
    }

    /// Checks everything, and then works until the server is killed. Meanwhile, collections may remove what has no tag.
    pub(super) fn work(&mut self, address: SocketAddr, told: &Sender<Progress>, untagged: bool) -> Killed {
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
                Ok(progress) => _ = told.send(progress),
                Err(killed) => return killed,
            }
        }
    }

    /// Performs one operation.
    fn act(&mut self, number: usize, address: SocketAddr) -> Result<Progress, Killed> {
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
        let is_full = acting.model.documents.len() > MANY;
        match acting.numbers.below(if is_full { 200 } else { 100 }) {
            0..15 => acting.push_image()?,
            15..18 => acting.mount_image(image, &repository(self.number, other))?,
            18..20 => acting.delete_blob()?,
            20..30 => acting.push_build()?,
            30..40 => acting.push_index()?,
            40..50 => acting.push_referrer()?,
            50..60 => acting.move_tag()?,
            60..68 => acting.delete_tag()?,
            68..72 => return acting.restore(),
            72..88 => acting.pull()?,
            _ => acting.delete_manifest()?,
        }
        Ok(Progress::Acknowledged)
    }

    /// Asserts that everything acknowledged is there, and settles what was unknown.
    pub(super) fn check(&mut self, address: SocketAddr) -> Result<(), Killed> {
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

    /// Asserts that everything with a tag is there.
    pub(super) fn check_tags(&mut self, address: SocketAddr) -> Result<(), Killed> {
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
fn check_whole(session: &Session<'_>, document: &Document) -> Result<(), Killed> {
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
                200 => model.set(&digest, State::There),
                _ => model.gone(&digest),
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
    let expected = expected.iter().map(|digest| &**digest).collect();
    assert_eq!(listed, expected, "the referrers of {}@{subject}", session.name);
    Ok(())
}

/// One operation on one repository.
struct Acting<'a> {
    session: &'a Session<'a>,
    model: &'a mut Model,
    numbers: &'a mut Numbers,
    made: &'a mut u64,
    worker: u64,
    /// True if blobs are deleted in the repository, so that none of its images has them.
    deletes_blobs: bool,
}

impl Acting<'_> {
    fn seed(&mut self) -> String {
        *self.made += 1;
        format!("{} {}", self.worker, self.made)
    }

    fn tag(&mut self) -> String {
        format!("v{}", self.numbers.below(TAGS))
    }

    /// Chooses the blobs of an image. Their digests are of one algorithm, mostly SHA-256.
    fn some_blobs(&mut self) -> Vec<Part> {
        let algorithm = match self.numbers.below(8) {
            0 => Algorithm::Sha512,
            _ => Algorithm::Sha256,
        };
        let all = if self.deletes_blobs {
            BLOBS
        } else {
            BLOBS + DELETABLE
        };
        let count = 1 + self.numbers.index(3);
        let chosen: BTreeSet<usize> = (0..count).map(|_| self.numbers.index(all)).collect();
        let part = |number| Part { number, algorithm };
        chosen.into_iter().map(part).collect()
    }

    fn choose(&mut self, digests: &[String]) -> Option<String> {
        let index = self.numbers.index(digests.len().max(1));
        digests.get(index).cloned()
    }

    /// Pushes a manifest with its blobs, as clients do.
    fn push(&mut self, document: &Document, tag: Option<&str>) -> Result<(), Killed> {
        let digest = document.digest();
        let target = self
            .session
            .path(&format!("manifests/{}", tag.unwrap_or(&digest)));
        for _ in 0..TRIES {
            for part in &document.blobs {
                self.session.ensure_blob(*part, self.numbers)?;
            }
            self.model.begin_push(document, tag);
            let headers = [("Content-Type", document.media_type)];
            let answer = self.session.request("PUT", &target, &headers, &document.bytes)?;
            if answer.status == 201 {
                self.model.pushed(document, tag);
                return Ok(());
            }
            // A collection that somebody asked for may refuse a push once, if a deletion released what it needs.
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(
                said.contains("BLOB_UNKNOWN"),
                "{target}: {} {said}",
                answer.status
            );
        }
        panic!("{target} is refused {TRIES} times");
    }

    fn push_image(&mut self) -> Result<(), Killed> {
        let document = Document::image(&self.seed(), self.some_blobs(), None);
        let tag = self.tag();
        self.push(&document, Some(&tag))
    }

    /// Mounts the blobs of an image of another repository, and pushes it under a tag.
    fn mount_image(&mut self, image: Option<Document>, from: &str) -> Result<(), Killed> {
        let deletable = |part: &Part| part.number >= BLOBS;
        let Some(image) = image.filter(|image| image.subject.is_none() && !image.blobs.iter().any(deletable))
        else {
            return self.push_image();
        };
        for part in &image.blobs {
            let target = format!("blobs/uploads/?mount={}&from={from}", part.digest());
            let answer = self
                .session
                .request("POST", &self.session.path(&target), &[], b"")?;
            assert_eq!(answer.status, 201, "{target}");
        }
        let tag = self.tag();
        self.push(&image, Some(&tag))
    }

    /// Pushes and deletes a blob that no image of this repository has, but images of others.
    fn delete_blob(&mut self) -> Result<(), Killed> {
        if !self.deletes_blobs {
            return self.push_image();
        }
        let part = Part {
            number: BLOBS + self.numbers.index(DELETABLE),
            algorithm: Algorithm::Sha256,
        };
        self.session.ensure_blob(part, self.numbers)?;
        let target = self.session.path(&format!("blobs/{}", part.digest()));
        let answer = self.session.request("DELETE", &target, &[], b"")?;
        answer.expect_status(202);
        let answer = self.session.request("GET", &target, &[], b"")?;
        answer.expect_status(404);
        Ok(())
    }

    fn push_build(&mut self) -> Result<(), Killed> {
        let mut document = Document::image(&self.seed(), self.some_blobs(), None);
        document.is_build = true;
        let tag = format!("build-{}", self.made);
        self.push(&document, Some(&tag))
    }

    fn push_index(&mut self) -> Result<(), Killed> {
        let images = self.model.there(|document| !document.blobs.is_empty());
        let mut children = BTreeSet::new();
        for _ in 0..2 {
            children.extend(self.choose(&images));
        }
        let children: Vec<(String, usize)> = children
            .into_iter()
            .map(|digest| {
                let size = self.model.size(&digest);
                (digest, size)
            })
            .collect();
        let document = Document::index(&self.seed(), &children);
        let tag = self.tag();
        self.push(&document, Some(&tag))
    }

    fn push_referrer(&mut self) -> Result<(), Killed> {
        let subjects = self.model.there(|document| document.subject.is_none());
        let Some(subject) = self.choose(&subjects) else {
            return self.push_image();
        };
        let subject = (subject.clone(), self.model.size(&subject));
        let document = Document::image(&self.seed(), self.some_blobs(), Some(subject));
        self.push(&document, None)
    }

    fn move_tag(&mut self) -> Result<(), Killed> {
        let there = self.model.there(|_| true);
        let Some(digest) = self.choose(&there) else {
            return self.push_image();
        };
        let document = self.model.document(&digest).clone();
        let tag = self.tag();
        self.push(&document, Some(&tag))
    }

    fn delete_tag(&mut self) -> Result<(), Killed> {
        let tag = self.tag();
        let target = self.session.path(&format!("manifests/{tag}"));
        self.model.begin_tag_deletion(&tag);
        let answer = self.session.request("DELETE", &target, &[], b"")?;
        assert!([202, 404].contains(&answer.status), "{target}: {}", answer.status);
        self.model.tag_deleted(&tag);
        Ok(())
    }

    fn delete_manifest(&mut self) -> Result<(), Killed> {
        let mut there = self.model.there(|_| true);
        there.retain(|digest| self.model.is_free(digest));
        let Some(digest) = self.choose(&there) else {
            return self.push_image();
        };
        let target = self.session.path(&format!("manifests/{digest}"));
        self.model.begin_deletion(&digest);
        let answer = self.session.request("DELETE", &target, &[], b"")?;
        answer.expect_status(202);
        self.model.deleted(&digest);
        Ok(())
    }

    /// Restores a manifest, if its record was not emptied from the trash.
    fn restore(&mut self) -> Result<Progress, Killed> {
        let Some(digest) = self.model.last_deleted() else {
            self.push_image()?;
            return Ok(Progress::Acknowledged);
        };
        let before = self.model.clone();
        self.model.begin_restore(&digest);
        let image = format!("{}@{digest}", self.session.name);
        let done = output_of(self.session.place.command(&["restore", &image, "--json"]));
        let printed = match done {
            Ok(printed) => printed,
            Err(_) if self.session.place.is_killed() => return Err(Killed),
            Err(said) => {
                let reasons = ["there is no record", "content is gone", "points at"];
                assert!(
                    reasons.iter().any(|reason| said.contains(reason)),
                    "restore {image}: {said}"
                );
                *self.model = before;
                return Ok(Progress::Acknowledged);
            }
        };
        let restored: Value = serde_json::from_str(printed.text()).expect("a line of JSON");
        let tags = restored["tags"].as_array().expect("a list").iter();
        let tags: Vec<String> = tags.map(|tag| tag.as_str().expect("a tag").to_owned()).collect();
        *self.model = before;
        self.model.restored(&digest, &tags);
        Ok(Progress::Restored)
    }

    fn pull(&mut self) -> Result<(), Killed> {
        let there = self.model.there(|_| true);
        let Some(digest) = self.choose(&there) else {
            return self.push_image();
        };
        for digest in self.model.closure(&digest) {
            check_whole(self.session, self.model.document(&digest))?;
        }
        Ok(())
    }
}
