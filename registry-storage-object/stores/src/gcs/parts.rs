//! [`Multipart`]: the parts of an object that has not been completed.

use super::answer::Refusal;
use crate::xml;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use std::{collections::BTreeMap, time::SystemTime};

/// Size that every part has to have except the last.
const SMALLEST: usize = 5 << 20;

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug)]
pub(super) struct Multipart {
    pub(super) key: String,
    pub(super) began: SystemTime,
    pub(super) kept: HeaderMap,
    pub(super) parts: BTreeMap<u32, Part>,
}

/// A part that has arrived.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) tag: String,
    pub(super) bytes: Bytes,
}

impl Multipart {
    /// Joins the parts in a request to complete an upload.
    pub(super) fn joined(&self, listed: &str) -> Result<Bytes, Refusal> {
        let mut joined = BytesMut::new();
        let (mut before, mut smaller) = (0, false);
        for element in xml::contents(listed, "Part") {
            let one = |name| {
                xml::contents(element, name)
                    .first()
                    .copied()
                    .ok_or(Refusal::INVALID)
            };
            let number = one("PartNumber")?.parse().map_err(|_invalid| Refusal::INVALID)?;
            let tag = xml::unescape(one("ETag")?);
            let part = self.parts.get(&number).filter(|part| part.tag == tag);
            let part = part.filter(|_| number > before).ok_or(Refusal::INVALID_PART)?;
            if smaller {
                return Err(Refusal::SMALL_PART);
            }
            (before, smaller) = (number, part.bytes.len() < SMALLEST);
            joined.extend_from_slice(&part.bytes);
        }
        if before == 0 {
            Err(Refusal::INVALID)
        } else {
            Ok(joined.freeze())
        }
    }
}
