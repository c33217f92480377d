//! Operations of a worker on a repository.

use std::collections::BTreeSet;

use registry_core::Algorithm;
use serde_json::Value;

use super::{
    Killed, Numbers,
    model::{BLOBS, DELETABLE, Document, Model, Part},
    worker::{Operation, Session, check_whole},
};
use crate::program::output_of;

/// Number of tags of a repository, without builds.
const TAGS: u64 = 8;
/// Number of pushes of an image until a collection that began before no longer refuses it.
const TRIES: usize = 10;

/// One operation on one repository.
pub(crate) struct Acting<'a> {
    pub(crate) session: &'a Session<'a>,
    pub(crate) model: &'a mut Model,
    pub(crate) numbers: &'a mut Numbers,
    pub(crate) made: &'a mut u64,
    pub(crate) worker: u64,
    /// True if blobs are deleted in the repository, so that none of its images has them.
    pub(crate) deletes_blobs: bool,
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

    pub(crate) fn push_image(&mut self) -> Result<Operation, Killed> {
        let document = Document::image(&self.seed(), self.some_blobs(), None);
        let tag = self.tag();
        self.push(&document, Some(&tag))?;
        Ok(Operation::PushImage)
    }

    /// Mounts the blobs of an image of another repository, and pushes it under a tag.
    pub(crate) fn mount_image(&mut self, image: Option<Document>, from: &str) -> Result<Operation, Killed> {
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
        self.push(&image, Some(&tag))?;
        Ok(Operation::MountImage)
    }

    /// Pushes and deletes a blob that no image of this repository has, but images of others.
    pub(crate) fn delete_blob(&mut self) -> Result<Operation, Killed> {
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
        // What is pushed or mounted late is there again, or has gone before.
        if self.model.has_late {
            return Ok(Operation::DeleteBlob);
        }
        answer.expect_status(202);
        let answer = self.session.request("GET", &target, &[], b"")?;
        answer.expect_status(404);
        Ok(Operation::DeleteBlob)
    }

    pub(crate) fn push_build(&mut self) -> Result<Operation, Killed> {
        let mut document = Document::image(&self.seed(), self.some_blobs(), None);
        document.is_build = true;
        let tag = format!("build-{}", self.made);
        self.push(&document, Some(&tag))?;
        Ok(Operation::PushBuild)
    }

    pub(crate) fn push_index(&mut self) -> Result<Operation, Killed> {
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
        self.push(&document, Some(&tag))?;
        Ok(Operation::PushIndex)
    }

    pub(crate) fn push_referrer(&mut self) -> Result<Operation, Killed> {
        let subjects = self.model.there(|document| document.subject.is_none());
        let Some(subject) = self.choose(&subjects) else {
            return self.push_image();
        };
        let subject = (subject.clone(), self.model.size(&subject));
        let document = Document::image(&self.seed(), self.some_blobs(), Some(subject));
        self.push(&document, None)?;
        Ok(Operation::PushReferrer)
    }

    pub(crate) fn move_tag(&mut self) -> Result<Operation, Killed> {
        let there = self.model.there(|_| true);
        let Some(digest) = self.choose(&there) else {
            return self.push_image();
        };
        let document = self.model.document(&digest).clone();
        let tag = self.tag();
        self.push(&document, Some(&tag))?;
        Ok(Operation::MoveTag)
    }

    pub(crate) fn delete_tag(&mut self) -> Result<Operation, Killed> {
        let tag = self.tag();
        let target = self.session.path(&format!("manifests/{tag}"));
        self.model.begin_tag_deletion(&tag);
        let answer = self.session.request("DELETE", &target, &[], b"")?;
        assert!([202, 404].contains(&answer.status), "{target}: {}", answer.status);
        self.model.tag_deleted(&tag);
        Ok(Operation::DeleteTag)
    }

    pub(crate) fn delete_manifest(&mut self) -> Result<Operation, Killed> {
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
        Ok(Operation::DeleteManifest)
    }

    /// Restores a manifest, if its record was not emptied from the trash.
    pub(crate) fn restore(&mut self) -> Result<Operation, Killed> {
        let Some(digest) = self.model.last_deleted() else {
            return self.push_image();
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
                return Ok(Operation::RefusedRestore);
            }
        };
        let restored: Value = serde_json::from_str(printed.text()).expect("a line of JSON");
        let tags = restored["tags"].as_array().expect("a list").iter();
        let tags: Vec<String> = tags.map(|tag| tag.as_str().expect("a tag").to_owned()).collect();
        *self.model = before;
        self.model.restored(&digest, &tags);
        Ok(Operation::Restore)
    }

    pub(crate) fn pull(&mut self) -> Result<Operation, Killed> {
        let there = self.model.there(|_| true);
        let Some(digest) = self.choose(&there) else {
            return self.push_image();
        };
        for digest in self.model.closure(&digest) {
            check_whole(self.session, self.model.document(&digest))?;
        }
        Ok(Operation::Pull)
    }
}
